"""Archives between us and the others: each loads what the other has saved."""

from __future__ import annotations

import json
import subprocess

import pytest

from ocitool import Store
from ocitool.drivers.samples import directory, file
from ocitool.image.local import local_image
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
    assert done.stdout == f"Loaded image: {NAME}\n"
    with Store.open(str(root)) as store:
        loaded = local_image(store, NAME)
        assert diff_ids(loaded) == diff_ids(image)
        loaded.source.fetch(loaded.manifest.config)
    assert run_cli("system", "check", root=root).ok().stdout == "The store is whole.\n"
    assert (root / "tmp").is_dir()
    assert list((root / "tmp").iterdir()) == []


def test_docker_loads_and_saves(docker, image, archive, run_cli, tmp_path):
    assert "archived:1" in docker("load", "-i", archive).stdout
    try:
        told = json.loads(docker("image", "inspect", "archived:1").stdout)[0]
        assert told["RootFS"]["Layers"] == diff_ids(image)
        back = tmp_path / "docker.tar"
        with open(back, "wb") as out:
            subprocess.run(docker.command("save", "archived:1"), stdout=out, check=True)
        load_again(run_cli, back, tmp_path, image)
    finally:
        docker("image", "rm", "-f", "archived:1")


def test_podman_loads_and_saves(podman, image, archive, run_cli, tmp_path):
    podman("load", "-i", archive)
    try:
        told = json.loads(podman("image", "inspect", NAME).stdout)[0]
        assert told["RootFS"]["Layers"] == diff_ids(image)
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
    told = skopeo("inspect", "--config", f"{kind}:{archive}").stdout
    assert json.loads(told)["rootfs"]["diff_ids"] == diff_ids(image)
    back = tmp_path / "skopeo.tar"
    skopeo("copy", f"oci-archive:{archive}", f"{kind}:{back}:{NAME}")
    load_again(run_cli, back, tmp_path, image)


def test_a_compressed_archive_is_loaded(image, archive, run_cli, tmp_path):
    subprocess.run(["gzip", str(archive)], check=True)
    load_again(run_cli, f"{archive}.gz", tmp_path, image)
