"""The same stacks of layers unpacked by every driver and by other tools, entry by entry.

What each shows must be the same: kind, mode, owner, time, size, content, target, names of one
file, device, attributes.  Our drivers agree to the nanosecond; other tools are compared by whole
seconds, and not in the times of directories that no layer describes.  What differs nevertheless is
listed in ``testdata/trees/differs.yaml``; a path that stands there and agrees is a fault, too.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocitool import Store
from ocitool.drivers import select
from ocitool.drivers.conformance.harness import run_inside
from ocitool.image.archive.archive import load
from ocitool.image.rootfs_tar import export_tar
from ocitool.image.store_content import local_image
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.writer import TarWriter
from ocitool.plugins import BUILT_IN
from tests.fixtures import stacks
from tests.fixtures.programs import CHECKOUT
from tests.fixtures.tree_listing import LOOK, Listing, look
from tests.fixtures.trees import new_directory, remove_tree

RECIPES = CHECKOUT / "testdata/trees"
# libyaml does not read the surrogates of names that are not UTF-8.
STACKS = yaml.safe_load((RECIPES / "stacks.yaml").read_text())
PROGRAMS = yaml.safe_load((RECIPES / "programs.yaml").read_text())
DIFFERS: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
    (RECIPES / "differs.yaml").read_text()
)
CASES = [*STACKS, *PROGRAMS]
DRIVERS = [*BUILT_IN["ocitool.drivers"]]

pytestmark = pytest.mark.usefixtures("root_only", "wide_umask")

#: They give every tree a top of their own, whatever its layers say of it.
ENGINES = ("docker", "podman", "export")

#: What an engine puts into every container.
MOUNT_POINTS = ("busybox", ".dockerenv", "dev", "etc", "proc", "sys")


@pytest.fixture(scope="module")
def wide_umask():
    """What other tools make of a missing directory depends on it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def layers() -> Callable[[str], list[bytes]]:
    """Return a function that makes the tars of a case, once."""
    known: dict[str, list[bytes]] = {}

    def make(case: str) -> list[bytes]:
        if case not in known:
            if case in STACKS:
                known[case] = [stacks.layer(recipe) for recipe in STACKS[case]]
            else:
                known[case] = [stacks.layer_by(recipe) for recipe in PROGRAMS[case]]
        return known[case]

    return make


@pytest.fixture(scope="module")
def layout(session_tree, layers) -> Callable[[str], Path]:
    """Return a function that puts a case into an OCI layout, once."""
    top = new_directory(session_tree, "trees")  # podman names the image after it

    def make(case: str) -> Path:
        place = top / case
        if not place.exists():
            stacks.write_layout(place, "case", layers(case))
        return place

    return make


@pytest.fixture(scope="module")
def ours(session_tree, layout, request) -> Callable[[str, str], Listing]:
    """Return a function that says what a sandbox sees of a case with one of our drivers."""
    known: dict[tuple[str, str], Listing] = {}
    roots: dict[str, Path] = {}

    def root_of(driver: str) -> Path:
        if driver not in roots:
            parent = request.getfixturevalue("btrfs") if driver == "btrfs" else session_tree
            roots[driver] = Path(tempfile.mkdtemp(prefix="t", dir=parent))
        return roots[driver]

    def unpack(driver: str, case: str) -> Listing:
        if (driver, case) not in known:
            root = root_of(driver)
            support = select.probe(driver, f"{root}/probe")
            if not support.ok:
                pytest.skip(f"needs {driver}: {support.reason}")
            archive = root / f"{case}.tar"
            stacks.archive_of(layout(case), archive)
            with Store.open(f"{root}/store", driver=driver) as store:
                with open(archive, "rb") as stream:
                    (loaded,) = load(stream, into=store)
                mounts = store.layers.view(local_image(store, str(loaded.id)).layers)
                known[driver, case] = run_inside(mounts, LOOK)
            archive.unlink()
        return known[driver, case]

    yield unpack
    for driver, root in roots.items():
        if driver != "btrfs":  # its layers are read-only, and go with their disk
            remove_tree(root)


@pytest.mark.campaign
@pytest.mark.parametrize("driver", [name for name in DRIVERS if name != "vfs"])
@pytest.mark.parametrize("case", CASES)
def test_our_drivers_agree(case, driver, ours):
    mine, other = ours("vfs", case), ours(driver, case)
    if not _rooted(case):  # then it is as old as the directory that was unpacked into
        mine["."]["time"] = other["."]["time"] = 0
    peer = driver if driver == "btrfs" else "overlays"
    _check(case, peer, _differences(mine, other))


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_gnu_tar(case, layers, ours, tmp_path):
    (data,) = _alone(case, layers)
    _compare(case, "tar", ours("vfs", case), data and _extracted(data, tmp_path / "out"), layers)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_our_writer_says_the_same(case, layers, ours, tmp_path):
    (data,) = _alone(case, layers)
    out = io.BytesIO()
    reader, writer = TarReader(io.BytesIO(data)), TarWriter(out.write)
    for entry in reader:
        writer.add(entry)
        writer.content(reader.read())
    writer.close()
    found = _extracted(out.getvalue(), tmp_path / "out")
    _compare(case, "tar", ours("vfs", case), found, layers)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_our_export_is_the_tree(case, layout, ours, layers, tmp_path):
    archive, out = tmp_path / "image.tar", io.BytesIO()
    stacks.archive_of(layout(case), archive)
    with Store.open(str(tmp_path / "store"), driver="vfs") as store:
        with open(archive, "rb") as stream:
            (loaded,) = load(stream, into=store)
        export_tar(local_image(store, str(loaded.id)), store, out.write)
    found = _extracted(out.getvalue(), tmp_path / "out")
    _compare(case, "export", ours("vfs", case), found, layers)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_umoci(case, layout, ours, layers, umoci, tmp_path):
    words = ("raw", "unpack", "--image", f"{layout(case)}:case")
    done = umoci(*words, tmp_path / "out", check=False)
    found = look(tmp_path / "out") if done.returncode == 0 else None
    _compare(case, "umoci", ours("vfs", case), found, layers)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_podman(case, layout, ours, layers, podman):
    done = podman("pull", "-q", f"oci:{layout(case)}:case", check=False)
    found = None
    if done.returncode == 0:
        image = done.stdout.strip()
        try:
            found = look(podman("image", "mount", image).stdout.strip())
        finally:
            podman("image", "unmount", "--force", image)
            podman("rmi", "-f", image)
    elif "*" not in DIFFERS["podman"].get(case, {}):
        pytest.fail(done.stderr)
    _compare(case, "podman", ours("vfs", case), found, layers)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES)
def test_as_docker(case, layout, ours, layers, docker, skopeo, busybox_program, tmp_path):
    archive = tmp_path / "image.tar"
    name = f"trees-{case}:1"
    skopeo("copy", "-q", f"oci:{layout(case)}:case", f"docker-archive:{archive}:{name}")
    bind = f"{busybox_program}:/busybox:ro"
    made, found = "", None
    if docker("load", "-q", "-i", archive, check=False).returncode:
        return _compare(case, "docker", ours("vfs", case), None, layers)
    try:
        made = docker("run", "-d", "-v", bind, name, "/busybox", "sleep", "300").stdout.strip()
        pid = docker("inspect", "-f", "{{.State.Pid}}", made).stdout.strip()
        found = look(f"/proc/{pid}/root")
    finally:
        if made:
            docker("rm", "-f", made)
        docker("image", "rm", "-f", name)
    return _compare(case, "docker", ours("vfs", case), found, layers)


def _alone(case: str, layers: Callable[[str], list[bytes]]) -> list[bytes]:
    found = layers(case)
    if len(found) > 1 or any(".wh." in name for name in _names(found[0])):
        pytest.skip("tar knows a single layer, and no whiteouts")
    return found


def _names(data: bytes) -> list[str]:
    return [entry.path for entry in TarReader(io.BytesIO(data))]


def _extracted(data: bytes, place: Path) -> Listing | None:
    """Return what GNU tar unpacks, None if it refuses a member."""
    place.mkdir(mode=0o755)
    command = ["tar", "-x", "-p", "--same-owner", "--numeric-owner", "--xattrs"]
    done = subprocess.run([*command, "--xattrs-include=*", "-C", place], input=data)
    return None if done.returncode else look(place)


def _compare(
    case: str,
    peer: str,
    ours: Listing,
    theirs: Listing | None,
    layers: Callable[[str], list[bytes]],
) -> None:
    """Compare what we show with what *peer* shows, None if it refuses the image."""
    if theirs is None:
        _check(case, peer, {"*": {}})
        return
    mine, found = _seconds(ours), _seconds(theirs)
    for mount_point in MOUNT_POINTS:
        if mount_point not in mine:
            found = {p: f for p, f in found.items() if f"{p}/".partition("/")[0] != mount_point}
    described = {path for data in layers(case) for path in _names(data)}
    for path in {*mine} & {*found} - described:
        mine[path]["time"] = found[path]["time"] = 0
    if not _rooted(case) or peer in ENGINES:
        mine["."] = found["."] = {}
    _check(case, peer, _differences(mine, found))


def _check(case: str, peer: str, differs: dict[str, dict[str, Any]]) -> None:
    listed = DIFFERS.get(peer, {}).get(case, {})
    unlisted = {path: differs[path] for path in differs.keys() - listed.keys()}
    assert not unlisted, json.dumps(unlisted, indent=1)
    assert differs.keys() == listed.keys(), "some agree by now: take them out of differs.yaml"


def _differences(mine: Listing, other: Listing) -> dict[str, dict[str, Any]]:
    """Return what is not the same: by path what is listed of each, ours first."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted({*mine, *other}):
        one, two = mine.get(path, {}), other.get(path, {})
        if one != two:
            keys = {key for key in {*one, *two} if one.get(key) != two.get(key)}
            found[path] = {key: [one.get(key), two.get(key)] for key in sorted(keys)}
    return found


def _seconds(listing: Listing) -> Listing:
    return {path: {**each, "time": each["time"] // 10**9} for path, each in listing.items()}


def _rooted(case: str) -> str:
    """Return whether a case says what the top of its tree is, as ``"."``."""
    if case in PROGRAMS:
        return "."
    return "." if any("." in member for layer in STACKS[case] for member in layer) else ""


def test_the_list_of_differences_names_cases():
    assert {case for cases in DIFFERS.values() for case in cases} <= {*CASES}
    assert len(CASES) >= 40
