"""What others read of what `build --output` writes, and the engines that get an image."""

from __future__ import annotations

import io
import json
import os
import secrets
import stat
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import images

RECIPE = {
    "f": {"text": "content\n", "mode": 0o640},
    "d/a": "a\n",
    "d/link": {"link": "a"},
    "d/sub": {"mode": 0o700},
    "d/sub/c": "c\n",
}
LINES = "COPY --chown=7:8 f /x/\nCOPY d /d/\nENV A=1\n"


pytestmark = pytest.mark.slow


def few(values: Iterable[str], *always: str) -> list[Any]:
    """Return *values* as parameters: those of *always*, and the others in campaigns alone."""
    marks = {value: () if value in always else pytest.mark.campaign for value in values}
    return [pytest.param(value, marks=mark) for value, mark in marks.items()]


@pytest.fixture
def context(tmp_path, busybox_base):
    top = tmp_path / "context"
    top.mkdir()
    images.lay_out(RECIPE, top)
    (top / "Dockerfile").write_text(f"FROM {busybox_base}\n{LINES}CMD cat /x/f\n")
    return top


@pytest.fixture
def build(run_cli, store_root, context):
    """Build the context; returns what was printed."""

    def run(*words, **options):
        return run_cli("build", *words, context, root=store_root, **options).ok().stdout

    return run


def members(tar: bytes) -> dict[str, tuple[object, ...]]:
    """Return what a tar of a file system has, without what an engine adds to a container."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {
            each.name: (each.type, each.mode & 0o7777, each.uid, each.gid, each.size, each.linkname,
                        0 if each.isdir() else each.mtime)
            for each in opened
            if each.name not in (".dockerenv", "etc/mtab", "etc/hosts", "etc/hostname",
                                 "etc/resolv.conf", "dev/console", "dev/pts", "dev/shm")
        }  # fmt: skip


def test_the_files_are_those_that_docker_exports(build, docker, tmp_path):
    build("-o", f"type=tar,dest={tmp_path}/ours.tar", "-o", f"type=docker,dest={tmp_path}/i.tar",
          "-t", "outputs:1")  # fmt: skip
    docker("load", "-i", tmp_path / "i.tar")
    container = docker("create", "outputs:1").stdout.strip()
    try:
        docker("export", "-o", tmp_path / "theirs.tar", container)
    finally:
        docker("rm", container)
        docker("rmi", "outputs:1")
    ours = members((tmp_path / "ours.tar").read_bytes())
    theirs = members((tmp_path / "theirs.tar").read_bytes())
    assert ours["x/f"][:4] == (b"0", 0o640, 7, 8)
    assert {name: theirs.get(name) for name in ours} == ours
    # Docker makes the directories that it mounts on.
    assert theirs.keys() - ours.keys() <= {"dev", "etc", "proc", "sys"}


def prepared(top: Path) -> Path:
    """Return a directory that has some of what is written to it, in other forms."""
    images.lay_out(
        {
            "d/a/inner": "a directory where a file comes\n",
            "d/sub": "a file where a directory comes\n",
            "d/kept": {"text": "kept\n", "mode": 0o600},
            "x": {"mode": 0o700},
            "bin": {"link": "elsewhere"},
            "elsewhere/kept": "kept\n",
        },
        top,
    )
    return top


def listed(top: Path) -> dict[str, tuple[object, ...]]:
    """Return what is in a directory; times of files, and none of directories."""
    found = {}
    for path in top.rglob("*"):
        state = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        link = os.readlink(path) if stat.S_ISLNK(state.st_mode) else ""
        mtime = 0 if stat.S_ISDIR(state.st_mode) else int(state.st_mtime)
        found[str(path.relative_to(top))] = (
            state.st_mode, state.st_uid, state.st_gid, state.st_nlink, mtime, content, link,
        )  # fmt: skip
    return found


def test_files_are_merged_as_buildkit_does(build, docker, context, tmp_path):
    (context / "f").chmod(0o4755)
    os.link(context / "d/a", context / "d/b")
    for path in context.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    ours, theirs = (prepared(tmp_path / name) for name in ("ours", "theirs"))
    build("-o", ours)
    kit = {"DOCKER_BUILDKIT": "1"}
    # A cached COPY would have the times of an earlier test's files.
    docker("build", "--no-cache", "-o", theirs, context, env=kit)
    assert listed(ours) == listed(theirs)
    assert (ours / "d/sub/c").exists() and (ours / "elsewhere/kept").exists()
    build("-o", f"type=tar,dest={tmp_path}/ours.tar")
    docker("build", "--no-cache", "-o", f"type=tar,dest={tmp_path}/theirs.tar", context, env=kit)
    ours_tar, theirs_tar = (members((tmp_path / f"{each}.tar").read_bytes()) for each in
                            ("ours", "theirs"))  # fmt: skip
    assert ours_tar == theirs_tar


FORMS = {
    "gzip": "",
    "zstd": ",compression=zstd",
    "all zstd": ",compression=zstd,force-compression=true,compression-level=7",
    "estargz": ",compression=estargz",
    "uncompressed": ",compression=uncompressed,force-compression=true",
}


@pytest.mark.usefixtures("root_only")  # umoci gives files away
@pytest.mark.parametrize("form", few(FORMS, "zstd", "estargz"))
def test_a_layout_is_read_by_skopeo_and_umoci(build, skopeo, umoci, tmp_path, form):
    text = f"type=oci,tar=false,dest={tmp_path}/l,name=x:1{FORMS[form]}"
    printed = build("-o", text, "-o", f"type=oci,dest={tmp_path}/o.tar,name=x:1{FORMS[form]}")
    digest = printed.partition("Digest ")[2].split()[0]
    for name in (f"oci:{tmp_path}/l:1", f"oci-archive:{tmp_path}/o.tar:1"):
        assert json.loads(skopeo("inspect", name).stdout)["Digest"] == digest
    skopeo("copy", f"oci:{tmp_path}/l:1", f"dir:{tmp_path}/d")
    if "zstd" in form:  # umoci of Debian 12 has no zstd
        return
    umoci("unpack", "--image", f"{tmp_path}/l:1", tmp_path / "bundle")
    file = tmp_path / "bundle/rootfs/x/f"
    state = file.stat()
    assert (file.read_text(), state.st_uid, state.st_gid) == ("content\n", 7, 8)


@pytest.mark.parametrize("form", few(FORMS, "all zstd"))
def test_an_archive_is_loaded_by_podman(build, podman, tmp_path, form):
    build("-o", f"type=docker,dest={tmp_path}/d.tar,name=outputs:{form[:3]}{FORMS[form]}")
    podman("load", "-i", tmp_path / "d.tar")
    name = f"localhost/outputs:{form[:3]}"
    found = podman("run", "--rm", f"docker.io/library/outputs:{form[:3]}").stdout
    assert found == "content\n", name
    podman("rmi", f"docker.io/library/outputs:{form[:3]}")


OPTIONS = ("--squash", "--squash-all", "--format docker", "--timestamp 1", "--compression-level 1")


@pytest.mark.parametrize("option", few(OPTIONS, "--squash"))
def test_docker_runs_what_it_is_given_by_its_socket(build, docker, option):
    words = option.split()
    name = f"outputs-{words[0].strip('-')}:1"
    printed = build("--load", "-t", name, *words)
    try:
        assert f"Tagged {name}\nLoaded {name} into docker ({os.environ['DOCKER_HOST']})" in printed
        assert docker("run", "--rm", name).stdout == "content\n"
        document = json.loads(docker("image", "inspect", name).stdout)[0]
        assert f"Image {document['Id']}\n" in printed
        layers = {"--squash": 2, "--squash-all": 1}.get(words[0], 3)
        assert len(document["RootFS"]["Layers"]) == layers
    finally:
        docker("rmi", "-f", name)


def test_docker_refuses_layers_that_it_cannot_read(run_cli, store_root, context, docker):
    words = ("-o", "type=docker,name=outputs:zstd,compression=zstd")
    done = run_cli("build", *words, context, root=store_root)
    if done.code == 0:
        docker("rmi", "outputs:zstd")
        pytest.skip("this docker reads zstd")
    assert "docker" in done.stderr and "cannot load the image: " in done.stderr
    assert "hint: docker reads layers compressed with zstd since version 23" in done.stderr


def test_a_registry_gets_each_form(build, skopeo, registry):
    name = f"{registry}/outputs-{secrets.token_hex(4)}"
    build("--push", "-t", f"{name}:oci", "--compression-format", "zstd")
    build("--push", "-t", f"{name}:docker", "--format", "docker", "--squash")
    printed = build("-o", f"type=registry,name={name},push-by-digest=true,annotation.a=b")
    pushed = printed.partition("Pushed ")[2].split()[0]

    def raw(reference):
        words = ("inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
        return json.loads(skopeo(*words).stdout)

    ends = [each["mediaType"].rpartition(".")[2] for each in raw(f"{name}:oci")["layers"]]
    assert ends == ["tar+gzip", "tar+zstd", "tar+zstd"]
    docker_manifest = raw(f"{name}:docker")
    assert docker_manifest["mediaType"].startswith("application/vnd.docker.distribution.manifest")
    assert len(docker_manifest["layers"]) == 2
    assert "@sha256:" in pushed and raw(pushed)["annotations"] == {"a": "b"}


def test_docker_pulls_and_runs_docker_media_types(build, docker, registry):
    name = f"{registry}/outputs-{secrets.token_hex(4)}:pulled"
    build("--push", "-t", name, "--format", "docker")
    docker("pull", name)
    try:
        assert docker("run", "--rm", name).stdout == "content\n"
    finally:
        docker("rmi", "-f", name)


def test_squashed_layers_are_those_of_buildah(build, buildah, podman, context, tmp_path):
    """The same members as `buildah build --squash --timestamp`, and the same times."""
    build("--squash", "--timestamp", "1000", "-o", f"type=docker,dest={tmp_path}/ours.tar,name=x:1")
    name = "localhost/squashed:1"
    buildah("build", "--squash", "--timestamp", "1000", "-t", name, context)
    subprocess.run(podman.command("save", "-o", tmp_path / "theirs.tar", name), check=True)
    ours, theirs = (top_layer(tmp_path / each) for each in ("ours.tar", "theirs.tar"))
    assert {member.mtime for member in ours} == {1000}
    assert {member.mtime for member in theirs} == {1000}
    found = {each.name.rstrip("/"): (each.type, each.mode, each.uid, each.gid) for each in ours}
    # buildah's --squash has the base image's files in the layer, too.
    expected = {each.name.rstrip("/"): (each.type, each.mode, each.uid, each.gid)
                for each in theirs}  # fmt: skip
    assert found.keys() <= expected.keys()
    assert {name: expected[name] for name in found} == found


def top_layer(archive) -> list[tarfile.TarInfo]:
    with tarfile.open(archive) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        layer = tar.extractfile(json.load(file)[0]["Layers"][-1])
        assert layer is not None
        plain = images.plain(layer.read())
    return tarfile.open(fileobj=io.BytesIO(plain)).getmembers()
