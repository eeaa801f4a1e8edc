"""Triggers that ocitool records are executed by docker and buildah, and the other way round."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import images

TRIGGERS = ["ARG WHO=nobody", "WORKDIR /w", "COPY f g/", "RUN echo $WHO > who", "USER 5"]


@pytest.fixture
def context(tmp_path, busybox_base) -> Path:
    """A context with the Dockerfile of an image that records triggers."""
    top = tmp_path / "context"
    top.mkdir()
    (top / "f").write_text("a file\n")
    lines = [f"FROM {busybox_base}", *(f"ONBUILD {each}" for each in TRIGGERS)]
    (top / "Dockerfile").write_text("\n".join(lines))
    return top


def child(context: Path, base: str) -> Path:
    """Write a Dockerfile on *base*."""
    path = context.parent / "Dockerfile.child"
    path.write_text(f"FROM {base}\nENV A=1\n")
    return path


def saved(archive: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return the config and the layers of a docker archive."""
    with tarfile.open(archive) as tar:

        def member(name: str) -> bytes:
            file = tar.extractfile(name)
            assert isinstance(file, io.BufferedReader)
            return file.read()

        (manifest,) = json.loads(member("manifest.json"))
        config: dict[str, Any] = json.loads(member(manifest["Config"]))
        return config, [member(name) for name in manifest["Layers"]]


def check(archive: Path) -> None:
    """Say whether the image of *archive* is what the triggers make, and has none left."""
    config, layers = saved(archive)
    tree = images.tree(layers)
    assert tree["w/g/f"].split()[:3] == ["0", "644", "0:0"]
    texts = [
        file.read()
        for layer in layers
        for tar in [tarfile.open(fileobj=io.BytesIO(layer))]
        if "w/who" in tar.getnames() and (file := tar.extractfile("w/who")) is not None
    ]
    assert texts == [b"me\n"]
    fields = config["config"]
    assert (fields["WorkingDir"], fields["User"]) == ("/w", "5") and "A=1" in fields["Env"]
    assert not fields.get("OnBuild")


@pytest.fixture
def built_here(run_cli, context, tmp_path) -> Path:
    """A docker archive of the image with triggers, built by ocitool."""
    store, archive = tmp_path / "store", tmp_path / "base.tar"
    run_cli("build", "-q", "-t", "onbuild-ours:1", context, root=store).ok()
    run_cli("save", "-o", archive, "onbuild-ours:1", root=store).ok()
    assert saved(archive)[0]["config"]["OnBuild"] == TRIGGERS
    return archive


def built_on(run_cli, archive: Path, context: Path, base: str) -> Path:
    """Build on the image *base* of *archive* with ocitool, twice; the second build is cached."""
    store, made = archive.parent / "store", archive.parent / "child.tar"
    run_cli("load", "-i", archive, root=store).ok()
    words = ("build", "--build-arg", "WHO=me", "-t", "child:1", "-f", child(context, base), context)
    run_cli(*words, root=store).ok()
    again = run_cli(*words, root=store).ok()
    assert again.stderr.count(" CACHED\n") == 4 and " DONE " not in again.stderr
    run_cli("save", "-o", made, "child:1", root=store).ok()
    return made


def test_docker_executes_triggers_of_ours(docker, built_here, context, tmp_path):
    made = tmp_path / "child.tar"
    file = child(context, "onbuild-ours:1")
    try:
        docker("load", "-q", "-i", built_here)
        classic = {"DOCKER_BUILDKIT": "0"}
        words = ("-q", "--build-arg", "WHO=me", "-t", "onbuild-child:1", "-f", file, context)
        docker("build", *words, env=classic)
        docker("save", "-o", made, "onbuild-child:1")
    finally:
        docker("image", "rm", "-f", "onbuild-child:1", "onbuild-ours:1", check=False)
    check(made)


def test_triggers_of_dockers_image_are_executed(docker, run_cli, context, tmp_path):
    archive = tmp_path / "base.tar"
    try:
        docker("build", "-q", "-t", "onbuild-theirs:1", context, env={"DOCKER_BUILDKIT": "0"})
        docker("save", "-o", archive, "onbuild-theirs:1")
    finally:
        docker("image", "rm", "-f", "onbuild-theirs:1", check=False)
    check(built_on(run_cli, archive, context, "onbuild-theirs:1"))


def test_buildah_executes_triggers_of_ours(buildah, built_here, context, tmp_path):
    made = tmp_path / "child.tar"
    buildah("pull", "-q", f"docker-archive:{built_here}")
    file = child(context, "localhost/onbuild-ours:1")
    buildah("build", "-q", "--build-arg", "WHO=me", "-t", "onbuild-child:1", "-f", file, context)
    buildah("push", "-q", "onbuild-child:1", f"docker-archive:{made}:onbuild-child:1")
    check(made)


def test_triggers_of_buildahs_image_are_executed(buildah, run_cli, context, tmp_path):
    archive = tmp_path / "base.tar"
    buildah("build", "-q", "-t", "onbuild-theirs:2", context)
    buildah("push", "-q", "onbuild-theirs:2", f"docker-archive:{archive}:onbuild-theirs:2")
    check(built_on(run_cli, archive, context, "localhost/onbuild-theirs:2"))
