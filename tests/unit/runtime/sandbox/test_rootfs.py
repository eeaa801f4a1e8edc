"""Roots, volumes, read-only trees, and that no mount point stays behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ocitool.errors import SandboxError, SetupFailed
from ocitool_runtime import Mount, Stdio, get_isolation
from tests.fixtures.programs import execute
from tests.unit.runtime.conftest import finish, overlay


def listing(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_writes_go_to_the_upper_directory_and_nothing_else_does(run):
    ran = run("echo new > /new; rm /etc/group")
    ran.ok()
    assert listing(ran.upper) == ["etc", "etc/group", "new"]


def test_no_trace_of_mount_points(run, scratch, tmp_path):
    (tmp_path / "file").write_text("")
    volumes = (
        Mount(type="bind", source=str(tmp_path), target="/a/b/c"),
        Mount(type="bind", source=str(tmp_path / "file"), target="/run/secrets/key"),
        Mount(type="tmpfs", target="/cache"),
    )
    (scratch / "upper").mkdir()
    os.utime(scratch / "upper", ns=(10**18, 10**18))
    ran = run("true", mounts=volumes, hostname="box")
    ran.ok()
    assert [name for name in listing(ran.upper) if name != "etc"] == []
    assert ran.upper.stat().st_mtime_ns == 10**18


def test_the_times_of_a_directory_with_mount_points_are_restored(run, image):
    before = (image / "etc").stat().st_mtime_ns
    ran = run("true", hostname="box")
    copied = ran.upper / "etc"
    assert not copied.exists() or copied.stat().st_mtime_ns == before


def test_what_a_program_puts_into_a_mount_point_stays(run):
    """The cleaner removes what it made, not what stands there now (CVE-2024-23652)."""
    ran = run(
        "mkdir /etc/kept; touch /etc/kept/file", mounts=(Mount(type="tmpfs", target="/etc/x"),)
    )
    ran.ok()
    assert [n for n in listing(ran.upper) if n != "etc"] == ["etc/kept", "etc/kept/file"]
    assert not (ran.upper / "etc/x").exists()


def test_mount_points_go_after_a_failed_start_too(run, scratch):
    with pytest.raises(SetupFailed):
        run("true", user="nobody-knows")
    assert [name for name in listing(scratch / "upper") if name != "etc"] == []


@pytest.mark.slow
def test_a_writable_directory_as_root(run, image, scratch):
    """As the driver vfs gives it; what is mounted within leaves no trace in it either."""
    tree = scratch / "tree"
    shutil.copytree(image, tree, symlinks=True)
    before = listing(tree)
    ran = run("echo x > /new; test -d /proc/1", rootfs=(Mount(type="bind", source=str(tree)),))
    ran.ok()
    assert listing(tree) == sorted([*before, "new"])


def test_a_read_only_directory_without_mount_points(run, image):
    bind = Mount(type="bind", source=str(image), options=("ro",))
    with pytest.raises(SetupFailed) as caught:
        run("true", rootfs=(bind,))
    assert "read-only" in caught.value.hint  # no /proc in it, and no way to make one


def test_one_layer_without_upper_is_shown_read_only(run, image, scratch):
    for name in ("proc", "dev", "sys"):
        (scratch / "top" / name).mkdir(parents=True)
    (scratch / "top/etc").mkdir()
    for name in ("hosts", "resolv.conf"):
        (scratch / "top/etc" / name).touch()
    layers = Mount(type="overlay", lower=(str(scratch / "top"), str(image)), options=userxattr())
    assert run("touch /x || cat /etc/passwd", rootfs=(layers,)).ok().startswith("root:")


def userxattr():
    return () if os.geteuid() == 0 else ("userxattr",)


def test_a_read_only_root(run):
    ran = run(
        "touch /x && exit 9; touch /dev/shm/y && touch /tmp/t/z",
        readonly=True,
        mounts=(Mount(type="tmpfs", target="/tmp/t"),),
    )
    ran.ok()
    assert [name for name in listing(ran.upper) if name not in ("etc", "tmp")] == []


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, 60, 300, 450])
def test_many_layers(image, scratch, make, layers):
    lower = []
    for number in range(layers):
        path = scratch / f"layer-with-a-name-that-is-not-short-{number:04}" / "contents"
        path.mkdir(parents=True)
        (path / f"from-{number}").touch()
        lower.append(path)
    root = overlay(scratch, *lower, image)
    ran = finish(make("ls -d /from-* | wc -l", rootfs=(root,)), scratch)
    assert int(ran.ok()) == layers


def test_binds(run, tmp_path):
    (tmp_path / "file").write_text("old\n")
    tmp_path.chmod(0o777)
    (tmp_path / "file").chmod(0o666)
    source = str(tmp_path)
    ran = run(
        "cat /rw/file /ro/file /one; touch /ro/x || touch /rw/x; echo new > /rw/file; "
        "echo no > /one || cat /one",
        mounts=(
            Mount(type="bind", source=source, target="/rw", options=("rbind", "rw")),
            Mount(type="bind", source=source, target="/ro", options=("ro",)),
            Mount(type="bind", source=f"{source}/file", target="/one", options=("bind", "ro")),
        ),
    )
    assert ran.ok() == "old\nold\nold\nnew\n"
    assert (tmp_path / "x").exists()


def test_a_later_volume_stands_in_an_earlier_one(run, tmp_path):
    (tmp_path / "inner").mkdir()
    ran = run(
        "touch /v/inner/x; ls /v",
        mounts=(
            Mount(type="bind", source=str(tmp_path), target="/v"),
            Mount(type="tmpfs", target="/v/inner", options=("size=1m", "mode=1777")),
        ),
    )
    assert ran.ok() == "inner\n"
    assert list((tmp_path / "inner").iterdir()) == []


def test_part_of_another_tree(run, image, tmp_path):
    stage = Mount(
        type="overlay",
        lower=(str(image), str(tmp_path)),
        options=(*userxattr(), "ro", "subpath=/etc/passwd"),
        target="/from",
    )
    part = Mount(type="bind", source=str(image), target="/bound", options=("subpath=etc",))
    assert run("cat /from; ls /bound", mounts=(stage, part)).ok().startswith("root:")


@pytest.mark.slow
def test_files_of_the_sandbox(run):
    ran = run("cat /etc/hosts; echo x >> /etc/resolv.conf", hosts=("10.0.0.1\tdb",), hostname="me")
    assert "127.0.0.1\tlocalhost" in ran.ok()
    assert "10.0.0.1\tdb" in ran.out
    assert "127.0.0.1\tme" in ran.out
    resolv = Path("/etc/resolv.conf")
    host = resolv.read_text() if resolv.exists() else ""
    for network in ("host", "none"):
        ran = run("cat /etc/resolv.conf; echo changed > /etc/resolv.conf", network=network)
        assert ran.ok() == host
        assert host == (resolv.read_text() if resolv.exists() else "")


def test_a_volume_on_etc_hosts_wins(run, tmp_path):
    (tmp_path / "hosts").write_text("mine\n")
    volume = Mount(type="bind", source=str(tmp_path / "hosts"), target="/etc/hosts")
    assert run("cat /etc/hosts", mounts=(volume,)).ok() == "mine\n"


@pytest.mark.parametrize(
    "mount",
    [
        Mount(type="nfs", source="/x", target="/x"),
        Mount(type="proc", target="/x"),
        Mount(type="bind", source="/tmp", target="relative"),
        Mount(type="bind", source="relative", target="/x"),
        Mount(type="bind", target="/x"),
        Mount(type="bind", source="/tmp", target="/x", options=("shared",)),
        Mount(type="bind", source="/tmp", target="/x", options=("ro,upperdir=/etc",)),
        Mount(type="tmpfs", target="/x", options=("size=1m,exec",)),
        Mount(type="overlay", lower=("/tmp",), upper="/tmp", target="/x"),
        Mount(type="overlay", lower=("/tmp",), target="/x", options=("lowerdir=/etc",)),
    ],
)
def test_unknown_mounts_and_options_are_refused(make, mount):
    """Nothing passes through to the kernel unread (CVE-2024-9407)."""
    with pytest.raises(SandboxError):
        get_isolation().start(make("true", mounts=(mount,)), Stdio())


def test_a_volume_that_is_not_there_is_named(run):
    with pytest.raises(SetupFailed, match="/no/such/folder"):
        run("true", mounts=(Mount(type="bind", source="/no/such/folder", target="/x"),))


@pytest.mark.parametrize("source", ["/", "/.", "/tmp/..", "/proc/self/root"])
def test_a_volume_of_the_hosts_root_shows_the_host(run, tmp_path, source):
    """Not the container's own root, which lies on the host's in the sandbox's namespace."""
    for place in (tmp_path, *list(tmp_path.parents)[:-2]):
        place.chmod(0o755)
    (tmp_path / "mark").write_text("of the host\n")
    volume = Mount(type="bind", source=source, target="/host", options=("rbind", "ro"))
    root = f"/host{tmp_path}"
    script = f"cat {root}/mark; stat -c %i /host; ls -d /host/proc/self /host/dev/null; ls /host"
    mark, inode, *others = run(script, mounts=(volume,)).ok().splitlines()
    assert (mark, int(inode)) == ("of the host", os.stat("/").st_ino)
    assert others[:2] == ["/host/dev/null", "/host/proc/self"]  # with what is mounted on it
    assert sorted(others[2:]) == sorted(name for name in os.listdir("/") if name[0] != ".")


def test_the_root_may_be_mounted_after_and_beneath_others(run, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "mark").write_text("mine\n")
    mounts = (
        Mount(type="bind", source=str(tmp_path), target="/v"),
        Mount(type="bind", source="/", target="/v/host", options=("rbind", "ro")),
        Mount(type="tmpfs", target="/v/host/tmp", options=("mode=1777",)),
    )
    out = run("cat /v/mark; ls /v/host/tmp; stat -c %i /v/host", mounts=mounts).ok()
    assert out == f"mine\n{os.stat('/').st_ino}\n"


@pytest.mark.slow
def test_a_volume_that_is_a_mount_point(run, root_only, tmp_path):
    """Alone it is that mount; with what is mounted on it only as rbind."""
    inner = tmp_path / "inner"
    execute(["mount", "-t", "tmpfs", "-o", "mode=755", "none", tmp_path]).ok()
    try:
        inner.mkdir()
        execute(["mount", "-t", "tmpfs", "-o", "mode=755", "none", inner]).ok()
        (inner / "mark").touch()
        for option, shown in (("bind", ""), ("rbind", "mark\n")):
            volume = Mount(type="bind", source=str(tmp_path), target="/v", options=(option,))
            assert run("ls /v/inner", mounts=(volume,)).ok() == shown
    finally:
        execute(["umount", "--recursive", tmp_path]).ok()


@pytest.mark.slow
def test_a_read_only_root_covers_the_files_of_the_sandbox(run):
    names = "/etc/hosts /etc/hostname /etc/resolv.conf"
    script = f"for name in {names}; do (echo x >> $name) 2>/dev/null && echo $name; done; true"
    assert run(script, hostname="me").ok().split() == names.split()
    assert run(script, hostname="me", readonly=True).ok() == ""
