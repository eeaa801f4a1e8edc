"""Archives between us and the others: each loads what the other has saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import directory, file
from ocitool.image.store_content import local_image
from tests.fixtures.programs import python_environment
from tests.fixtures.stores import put_image

NAME = "docker.io/library/archived:1"
LAYERS = ([directory("d"), file("d/f", b"content")], [file("g", b"more")])


@pytest.fixture
def image(store_root):
    with Store.open(str(store_root)) as store:
        return put_image(store, NAME, *LAYERS)


@pytest.fixture
def archive(image, store_root, run_cli, tmp_path):
    path = tmp_path / "saved.tar"
    run_cli("save", "-o", path, "archived:1", root=store_root).ok()
    return path


def diff_ids(image):
    return [str(layer.diff_id) for layer in image.layers]


def load_again(run_cli, path, tmp_path, image):
    """Load *path* into an empty store: it must be the image, layer by layer."""
    root = tmp_path / "again"
    done = run_cli("load", "-i", path, root=root).ok()
    assert done.stdout == "Loaded image: archived:1\n"
    with Store.open(str(root)) as store:
        loaded = local_image(store, NAME)
        assert diff_ids(loaded) == diff_ids(image)
        loaded.source.fetch(loaded.manifest.config)
    assert run_cli("system", "check", root=root).ok().stdout == "No problems found\n"
    assert (root / "tmp").is_dir()
    assert list((root / "tmp").iterdir()) == []


def test_docker_loads_and_saves(docker, image, archive, run_cli, tmp_path):
    assert "archived:1" in docker("load", "-i", archive).stdout
    try:
        output = json.loads(docker("image", "inspect", "archived:1").stdout)[0]
        assert output["RootFS"]["Layers"] == diff_ids(image)
        back = tmp_path / "docker.tar"
        with open(back, "wb") as out:
            subprocess.run(docker.command("save", "archived:1"), stdout=out, check=True)
        load_again(run_cli, back, tmp_path, image)
    finally:
        docker("image", "rm", "-f", "archived:1")


def test_podman_loads_and_saves(podman, image, archive, run_cli, tmp_path):
    podman("load", "-i", archive)
    try:
        output = json.loads(podman("image", "inspect", NAME).stdout)[0]
        assert output["RootFS"]["Layers"] == diff_ids(image)
        for kind in ("docker-archive", "oci-archive"):
            back = tmp_path / f"{kind}.tar"
            podman("save", "--format", kind, "-o", back, NAME)
            if kind == "docker-archive":
                load_again(run_cli, back, tmp_path, image)
            else:  # its name is by the specification a tag alone, or all of it
                run_cli("load", "-i", back, root=tmp_path / "oci").ok()
    finally:
        podman("image", "rm", "-f", NAME)


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_and_writes(skopeo, image, archive, run_cli, tmp_path, kind):
    output = skopeo("inspect", "--config", f"{kind}:{archive}").stdout
    assert json.loads(output)["rootfs"]["diff_ids"] == diff_ids(image)
    back = tmp_path / "skopeo.tar"
    skopeo("copy", f"oci-archive:{archive}", f"{kind}:{back}:{NAME}")
    load_again(run_cli, back, tmp_path, image)


def test_a_compressed_archive_is_loaded(image, archive, run_cli, tmp_path):
    subprocess.run(["gzip", str(archive)], check=True)
    load_again(run_cli, f"{archive}.gz", tmp_path, image)


def test_podman_imports_what_is_exported_and_the_reverse(
    podman, image, store_root, run_cli, tmp_path
):
    ours, theirs = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    run_cli("export", "-o", ours, "archived:1", root=store_root).ok()
    name = podman("import", "-q", ours).stdout.strip()
    made = ""
    try:
        made = podman("create", name, "d/f").stdout.strip()
        podman("export", "-o", theirs, made)
    finally:
        podman("rm", "-f", made, check=False)
        podman("rmi", "-f", name)
    for path in (ours, theirs):
        with tarfile.open(path) as tar:
            files = {each.name: tar.extractfile(each).read() for each in tar if each.isreg()}
        assert {"d/f": b"content", "g": b"more"}.items() <= files.items()
    output = run_cli("import", theirs, "back:1", root=store_root).ok().stdout
    assert output.startswith("sha256:")
    run_cli("export", "-o", ours, "back:1", root=store_root).ok()
    with tarfile.open(ours) as tar:
        assert tar.extractfile("d/f").read() == b"content"


def test_an_export_to_stdout_is_the_file(image, store_root, run_cli, tmp_path):
    run_cli("export", "-o", tmp_path / "file", "archived:1", root=store_root).ok()
    command = [sys.executable, "-m", "ocitool", "--root", str(store_root), "export", "archived:1"]
    piped = subprocess.run(command, stdout=subprocess.PIPE, env=python_environment(), check=True)
    assert piped.stdout == (tmp_path / "file").read_bytes()
    assert os.listdir(store_root / "tmp") == []


def test_what_is_exported_is_imported_at_the_time_asked_for(image, store_root, run_cli, tmp_path):
    path = tmp_path / "tree.tar"
    run_cli("export", "-o", path, "archived:1", root=store_root).ok()
    env = {"SOURCE_DATE_EPOCH": "86400"}
    made = [
        run_cli("import", path, name, root=store_root, env=env).ok().stdout
        for name in ("one:1", "two:1")
    ]
    assert made[0] == made[1]
    with Store.open(str(store_root)) as store:
        assert local_image(store, "one:1").config.created == "1970-01-02T00:00:00Z"
    for text in ("1.5", "-1", "999999999999", "\u0663"):
        env = {"SOURCE_DATE_EPOCH": text}
        wrong = run_cli("import", path, "x:1", root=store_root, env=env)
        assert wrong.code == 1
        assert "set a number of seconds" in wrong.stderr


def test_an_export_of_nothing_leaves_nothing(image, store_root, run_cli, tmp_path):
    done = run_cli("export", "-o", tmp_path / "out", "no-such:1", root=store_root)
    assert done.code == 1
    assert os.listdir(tmp_path) == []
