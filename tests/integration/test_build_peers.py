"""The same small Dockerfiles built by ocitool, docker's BuildKit and buildah, and compared.

Trees (type, mode, owner, content, link, xattrs) and configurations must be equal but for the
cases of ``testdata/builds/differs.yaml``; a case that stands there and agrees is a fault, too.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures import images
from tests.fixtures.builds import CASES, DIFFERS, RECIPES

#: buildah leaves the mount points of a RUN in the layer, and scratch without a directory.
MOUNT_POINTS = ("etc/hostname", "etc/hosts", "etc/resolv.conf", "run")

Built = tuple[dict[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def context(root_only, session_tree) -> Path:
    """The context that all cases share."""
    top = session_tree / "builds-context"
    top.mkdir()
    images.lay_out(yaml.safe_load((RECIPES / "context.yaml").read_text()), top)
    return top


@pytest.fixture(scope="module")
def dockerfile(busybox_base, session_tree):
    """Return a function that writes a case's Dockerfile, on a base that is at hand."""
    folder = session_tree / "builds-dockerfiles"
    folder.mkdir()

    def write(case: str) -> Path:
        text = CASES[case].replace("busybox:base", busybox_base)
        path = folder / case
        path.write_text(f"ARG BASE={busybox_base}\n{text}" if "$BASE" in text else text)
        return path

    return write


@pytest.fixture(scope="module")
def ours(run_cli, session_tree, context, dockerfile):
    """Return a function that builds a case with ocitool, once."""
    store = session_tree / "builds-store"
    known: dict[str, Built] = {}

    def build(case: str) -> Built:
        if case not in known:
            tag = f"cases/{case}:1"
            run_cli("build", "-q", "-t", tag, "-f", dockerfile(case), context, root=store).ok()
            index = json.loads((store / "oci/index.json").read_text())
            digests = [entry["digest"] for entry in index["manifests"] if tag in str(entry)]
            config, layers = images.layout_image(store / "oci", digests[0])
            known[case] = images.tree(layers), images.configuration(config)
        return known[case]

    return build


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_docker(case, ours, docker, context, dockerfile):
    kit = {"DOCKER_BUILDKIT": "1"}
    words = ("-q", "-t", f"cases-{case}", "-f", dockerfile(case), context)
    if docker("build", *words, env=kit, check=case not in DIFFERS["docker"]).returncode != 0:
        return  # the reason says that it refuses the file
    archive = context.parent / f"docker-{case}.tar"
    try:
        docker("save", "-o", archive, f"cases-{case}")
    finally:
        docker("image", "rm", "-f", f"cases-{case}")
    with tarfile.open(archive) as tar:
        config, layers = _saved(tar)
    archive.unlink()
    theirs = images.tree(layers), images.configuration(config)
    _compare(case, "docker", ours(case), theirs)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_buildah(case, ours, buildah, context, dockerfile, tmp_path):
    identity = "--identity-label=false"
    words = ("-q", "--layers", identity, "-t", f"cases-{case}", "-f", dockerfile(case), context)
    if buildah("build", *words, check=case not in DIFFERS["buildah"]).returncode != 0:
        return  # as above
    buildah("push", "-q", "-D", f"cases-{case}", f"dir:{tmp_path}")
    config, layers = images.directory_image(tmp_path)
    tree, fields = images.tree(layers), images.configuration(config)
    mine, wanted = ours(case)
    for path in MOUNT_POINTS:
        if path not in mine:
            tree.pop(path, None)
    if wanted.get("WorkingDir") == "/":
        fields.setdefault("WorkingDir", "/")
    _compare(case, "buildah", (mine, wanted), (tree, fields))


def _saved(tar: tarfile.TarFile) -> tuple[dict[str, Any], list[bytes]]:
    def member(name: str) -> bytes:
        file = tar.extractfile(name)
        assert isinstance(file, io.BufferedReader)
        return file.read()

    manifest = json.loads(member("manifest.json"))[0]
    return json.loads(member(manifest["Config"])), [member(name) for name in manifest["Layers"]]


def _compare(case: str, peer: str, ours: Built, theirs: Built) -> None:
    reason = DIFFERS[peer].get(case)
    if reason is None:
        assert ours == theirs
    else:
        assert ours != theirs, f"{case} agrees by now: take it out of differs.yaml"


def test_the_list_of_differences_names_cases():
    named = {case for cases in DIFFERS.values() for case in cases}
    assert named <= CASES.keys()
    assert len(CASES) >= 150
