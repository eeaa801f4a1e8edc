"""The same small Dockerfiles built by ocitool, docker's BuildKit and buildah, and compared.

No image is read by code of ours: skopeo brings each into an OCI layout and says its digest and
configuration, umoci unpacks it and says what became of it (``tests/fixtures/other_readers.py``).
Trees (type, mode, owner, content, link, number of names, xattrs, times that are not those of the
build), configurations and, of docker's, histories must be equal except in the cases of
``testdata/builds/differs.yaml``; a case that stands there and agrees is a fault, too.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import images
from tests.fixtures.builds import CASES, DIFFERS, RECIPES
from tests.fixtures.other_readers import ReadImage, read_image
from tests.fixtures.tables import read_table

#: buildah leaves the mount points of a RUN in the layer, and scratch without a directory.
MOUNT_POINTS = ("etc/hostname", "etc/hosts", "etc/resolv.conf", "run")

#: How old the files of the context are: a time that is kept is seen.
CONTEXT_TIME = 1_000_000_000  # seconds


@pytest.fixture(scope="module")
def context(root_only, umoci, skopeo, session_tree) -> Path:
    """The context that all cases share."""
    top = session_tree / "builds-context"
    top.mkdir()
    images.lay_out(read_table(RECIPES / "context.yaml"), top)
    for path in (*top.rglob("*"), top):
        os.utime(path, (CONTEXT_TIME, CONTEXT_TIME), follow_symlinks=False)
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
    known: dict[str, ReadImage] = {}

    def build(case: str) -> ReadImage:
        if case not in known:
            said = session_tree / "metadata.json"
            words = ("-q", "-t", f"cases/{case}:1", "--metadata-file", said, "-f", dockerfile(case))
            run_cli("build", *words, context, root=store).ok()
            source = f"oci:{store}/oci:docker.io/cases/{case}:1"
            read = known[case] = read_image(source, session_tree)
            metadata = json.loads(said.read_text())
            assert metadata["containerimage.digest"] == read.digest
            assert metadata["containerimage.config.digest"] == read.config_digest
        return known[case]

    return build


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_docker(case, ours, docker, context, dockerfile):
    kit = {"DOCKER_BUILDKIT": "1"}
    words = ("-q", "--no-cache", "-t", f"cases-{case}", "-f", dockerfile(case), context)
    if docker("build", *words, env=kit, check=case not in DIFFERS["docker"]).returncode != 0:
        return  # the reason says that it refuses the file
    archive = context.parent / f"docker-{case}.tar"
    try:
        docker("save", "-o", archive, f"cases-{case}")
        theirs = read_image(f"docker-archive:{archive}", context.parent)
    finally:
        docker("image", "rm", "-f", f"cases-{case}")
        archive.unlink(missing_ok=True)
    mine = ours(case)
    _compare(case, "docker", _said(mine) | _history(mine), _said(theirs) | _history(theirs))


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_buildah(case, ours, buildah, context, dockerfile, tmp_path):
    identity = "--identity-label=false"
    words = ("-q", "--layers", identity, "-t", f"cases-{case}", "-f", dockerfile(case), context)
    if buildah("build", *words, check=case not in DIFFERS["buildah"]).returncode != 0:
        return  # as above
    buildah("push", "-q", "-D", f"cases-{case}", f"dir:{tmp_path}")
    mine = _said(ours(case))
    theirs = _said(read_image(f"dir:{tmp_path}", context.parent))
    for path in MOUNT_POINTS:
        if f"{path} type" not in mine:
            theirs = {key: value for key, value in theirs.items() if key.split()[0] != path}
    if mine.get("config WorkingDir") == "/":
        theirs.setdefault("config WorkingDir", "/")
    _compare(case, "buildah", mine, theirs)


def _said(image: ReadImage) -> dict[str, Any]:
    """Return the entries of the tree, with times that can be the same, and of the config."""
    said: dict[str, Any] = {}
    for path, entry in image.tree.items():
        said |= {f"{path} {key}": value for key, value in entry.items()}
        if entry["type"] == "dir":  # what old builders put into one makes it new
            del said[f"{path} time"]
        elif int(entry["time"]) > CONTEXT_TIME:
            said[f"{path} time"] = "of the build"
    fields = images.configuration(image.config)
    return said | {f"config {name}": value for name, value in fields.items()}


#: What the engine's old BuildKit leaves out of a text: flags of COPY, arguments of RUN.
_NEW_WORDS = re.compile(r" --ch(own|mod)=\S+|(?<=^RUN )\|.*?(?=/bin/sh)")
#: Instructions whose text it has in another form.
_NEW_FORMS = ("ARG", "EXPOSE", "HEALTHCHECK", "WORKDIR")


def _history(image: ReadImage) -> dict[str, Any]:
    """Return what made each layer, or none; BuildKit's mark is its own."""
    said: dict[str, Any] = {}
    for at, entry in enumerate(image.config["history"]):
        text = _NEW_WORDS.sub("", entry.get("created_by", "").removesuffix(" # buildkit"))
        word = text.partition(" ")[0]
        said[f"history {at}"] = word if word in _NEW_FORMS else text
        said[f"history {at} has no layer"] = entry.get("empty_layer", False)
    return said


def _compare(case: str, peer: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    both = {key: (ours.get(key), theirs.get(key)) for key in ours | theirs}
    differences = {key: two for key, two in both.items() if two[0] != two[1]}
    if case in DIFFERS[peer]:
        assert differences, f"{case} agrees by now: take it out of differs.yaml"
    else:
        assert not differences


def test_the_list_of_differences_names_cases():
    named = {case for cases in DIFFERS.values() for case in cases}
    assert named <= CASES.keys()
    assert len(CASES) >= 150
