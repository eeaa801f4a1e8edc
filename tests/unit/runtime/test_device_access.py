"""Devices of the host stay closed, whoever made their nodes and wherever they lie."""

from __future__ import annotations

import os
import stat

import pytest

from ocitool_runtime import Mount
from tests.fixtures.programs import execute
from tests.unit.runtime.conftest import overlay

#: The loop driver's control and the first loop device: who opens them can read the host's files.
NODES = {"character": ("c", 10, 237), "block": ("b", 7, 0)}
PATHS = ("/x", "/tmp/x", "/dev/x", "/dev/shm/x", "/dev/pts/x", "/dev/mqueue/x", "/t/x", "/v/x")
OPENED = 'for path in $PATHS; do (exec 3<"$path") 2>/dev/null && echo "$path opened"; done; true'
MADE = 'for path in $PATHS; do mknod "$path" $NODE 2>/dev/null; done; ' + OPENED


@pytest.fixture
def volumes(tmp_path):
    tmp_path.chmod(0o777)
    return (
        Mount(type="bind", source=str(tmp_path), target="/v", options=("rbind",)),
        Mount(type="tmpfs", target="/t", options=("mode=1777",)),
    )


@pytest.fixture
def disk(tmp_path_factory):
    """The number of a loop device with content, and the file that it shows."""
    image = tmp_path_factory.mktemp("disk") / "image"
    image.write_bytes(bytes(1 << 20))
    made = execute(["losetup", "--find", "--show", image])
    if made.code != 0:
        pytest.skip(f"needs a loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield os.stat(device).st_rdev, image
    execute(["losetup", "--detach", device]).ok()


def environment(kind="character", paths=PATHS):
    node, major, minor = NODES[kind]
    return ("PATH=/bin", f"PATHS={' '.join(paths)}", f"NODE={node} {major} {minor}")


def test_the_attack_would_work_outside_of_a_sandbox(root_only, tmp_path):
    """Else the tests below could not fail."""
    for name, (node, major, minor) in NODES.items():
        kind = stat.S_IFCHR if node == "c" else stat.S_IFBLK
        os.mknod(tmp_path / name, kind | 0o666, os.makedev(major, minor))
        os.close(os.open(tmp_path / name, os.O_RDONLY | os.O_NONBLOCK))


@pytest.mark.parametrize("kind", NODES)
@pytest.mark.parametrize("user", ["", "ann"])
def test_devices_that_a_container_makes_cannot_be_opened(run, volumes, kind, user):
    ran = run(MADE, env=environment(kind), mounts=volumes, user=user)
    assert ran.ok() == ""


@pytest.mark.usefixtures("root_only")
def test_root_may_still_make_them(run, volumes):
    """As docker allows it: builds do, and what they make becomes part of a layer."""
    script = "mknod /x b 7 0 && mknod /dev/x c 10 237 && stat -c '%F %t %T' /x /dev/x"
    out = run(script, mounts=volumes).ok()
    assert out == "block special file 7 0\ncharacter special file a ed\n"


@pytest.mark.slow
@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("user", ["", "ann"])
def test_devices_that_an_image_or_a_volume_brings_cannot_be_opened(
    make, run, image, scratch, tmp_path, volumes, user
):
    layer = scratch / "layer"
    (layer / "dev").mkdir(parents=True)
    for directory in (layer, layer / "dev", tmp_path):
        for name, (node, major, minor) in NODES.items():
            kind = stat.S_IFCHR if node == "c" else stat.S_IFBLK
            os.mknod(directory / name, kind, os.makedev(major, minor))
            (directory / name).chmod(0o666)
    paths = [f"{top}/{name}" for top in ("", "/dev", "/v", "/w") for name in NODES]
    only = Mount(type="bind", source=str(tmp_path / "block"), target="/w/block")
    given = {
        "rootfs": (overlay(scratch, layer, image),),
        "mounts": (*volumes, only),
        "env": environment(paths=paths),
        "user": user,
    }
    seen = "for path in $PATHS; do test -e $path && echo $path; done"
    assert "/character\n/block\n" in run(seen, **given).ok()
    assert run(OPENED, **given).ok() == ""


@pytest.mark.slow
@pytest.mark.usefixtures("root_only")
def test_a_disk_of_the_host_is_not_written_to(run, disk, volumes):
    number, image = disk
    node = f"b {os.major(number)} {os.minor(number)}"
    script = f'for path in $PATHS; do mknod $path {node} 2>/dev/null; echo P > "$path"; done; true'
    run(script, env=environment(), mounts=volumes)
    os.sync()
    assert not any(image.read_bytes())


@pytest.mark.slow
@pytest.mark.usefixtures("root_only")
def test_more_capabilities_open_no_more_devices(make, run, volumes, own_cgroup):
    """Whoever may mount can mount without nodev: then the device filter is what holds."""
    script = (
        "mount -t tmpfs none /tmp && mknod /tmp/x c 10 237 && mknod /tmp/null c 1 3 && "
        "echo works > /tmp/null && echo made; (exec 3< /tmp/x) 2>/dev/null && echo opened; true"
    )
    every = ("CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_DAC_OVERRIDE")
    assert run(script, capabilities=every).ok() == "made\n"


def test_the_devices_of_docker_work(run):
    script = """
    echo x > /dev/null && cat /dev/null
    for name in zero full random urandom; do cat /dev/$name | (read -r -N 1 x; true); done
    for name in null zero full random urandom tty
    do stat -c '%n %F %a %t:%T' /dev/$name; test -c /dev/$name || echo missing; done
    (exec 3<>/dev/ptmx) && echo ptmx
    """
    assert run(script).ok().splitlines() == [
        f"/dev/{name} character special file 666 {number}"
        for name, number in (
            ("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"),
            ("urandom", "1:9"), ("tty", "5:0"),
        )
    ] + ["ptmx"]  # fmt: skip


def test_a_device_can_be_asked_for_by_the_library(run, tmp_path, own_cgroup):
    """The option ``dev`` of a mount; docker's list still holds where there is a filter."""
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    volume = Mount(type="bind", source=str(tmp_path), target="/v", options=("dev",))
    assert run("echo x > /v/null && echo works", mounts=(volume,)).ok() == "works\n"
