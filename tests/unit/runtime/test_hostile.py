"""Images and volumes that try to reach the host through the set-up."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from ocitool.errors import SetupFailed
from ocitool_runtime import Mount
from ocitool_runtime.sandbox import users
from tests.unit.runtime.conftest import finish, overlay


@pytest.fixture
def hostile(make, image, scratch):
    """Return a function that runs an image with one more layer, written by *change*."""

    def run(change, script="true", **fields):
        top = scratch / "top"
        top.mkdir()
        change(top)
        return finish(make(script, rootfs=(overlay(scratch, top, image),), **fields), scratch)

    return run


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("target", ["..", "/", "/etc", "/proc/self/root", "nowhere"])
def test_links_in_place_of_the_own_mounts_are_refused(hostile, name, target):
    """``/dev -> ..`` would mount over the root itself (CVE-2026-41579)."""
    with pytest.raises(SetupFailed, match=f"/{name} of the image"):
        hostile(lambda top: (top / name).symlink_to(target))


def test_a_file_in_place_of_proc_is_refused(hostile):
    with pytest.raises(SetupFailed):
        hostile(lambda top: (top / "proc").write_text(""))


@pytest.mark.parametrize("target", ["/etc/shadow", "../../../../../../etc/shadow", "/a/../../b"])
def test_links_for_files_stay_in_the_image(hostile, target):
    """The mount point of /etc/resolv.conf is looked up in the image, however it is linked."""

    def change(top):
        (top / "etc").mkdir()
        (top / "etc/resolv.conf").symlink_to(target)

    before = os.stat("/etc").st_mtime_ns
    ran = hostile(change, "cat /etc/resolv.conf", network="host")
    host = Path("/etc/resolv.conf")
    assert ran.ok() == (host.read_text() if host.exists() else "")
    assert os.stat("/etc").st_mtime_ns == before


def test_a_circle_of_links_is_an_error(hostile):
    def change(top):
        (top / "a").symlink_to("b")
        (top / "b").symlink_to("a")

    with pytest.raises(SetupFailed, match="symbolic links"):
        hostile(change, mounts=(Mount(type="tmpfs", target="/a/x"),))


@pytest.mark.parametrize("target", ["/", "/..", "/up", "/proc/sys", "/proc/self/fd/5", "/p/sys"])
def test_volumes_on_the_root_or_in_proc_are_refused(hostile, target):
    def change(top):
        (top / "up").symlink_to("..")
        (top / "p").symlink_to("/proc")

    with pytest.raises(SetupFailed):
        hostile(change, mounts=(Mount(type="tmpfs", target=target),))


@pytest.mark.slow
def test_the_source_of_a_volume_stays_in_its_tree(run, tmp_path):
    """``from=stage,source=link`` must not follow the link on the host (CVE-2024-1753)."""
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "up").symlink_to("../../../../../../../../etc")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/own").touch()
    for path in ("link", "up", "../../../../../../../etc"):
        volume = Mount(type="bind", source=str(tmp_path), target="/v", options=(f"subpath={path}",))
        assert run("ls /v", mounts=(volume,)).ok() == "own\n"


@pytest.mark.parametrize("number", range(3, 12))
def test_no_working_directory_leads_out(run, number):
    """CVE-2024-21626: WORKDIR /proc/self/fd/N."""
    with pytest.raises(SetupFailed):
        run("true", cwd=f"/proc/self/fd/{number}")


def test_a_linked_working_directory_is_made_in_the_image(hostile):
    """CVE-2026-55686: the folder behind the link is the image's, not the host's."""
    name = f"/made-by-a-link-{os.getpid()}"
    ran = hostile(lambda top: (top / "work").symlink_to(f"/../..{name}"), "pwd", cwd="/work/in")
    assert ran.ok() == f"{name}/in\n"
    assert not os.path.exists(name)


@pytest.mark.parametrize("kind", ["entry", "script", "nested", "link"])
def test_the_interpreter_of_the_host_is_not_run(hostile, kind):
    """CVE-2019-5736: #!/proc/self/exe runs the host's binary, which could then be overwritten."""

    def change(top):
        (top / "script").write_text("#!/proc/self/exe\n")
        (top / "nested").write_text("#!/script -x\n")
        (top / "link").symlink_to("/proc/self/exe")
        for name in ("script", "nested"):
            (top / name).chmod(0o755)

    args = ("/proc/self/exe",) if kind == "entry" else (f"/{kind}",)
    ran = hostile(change, args, user="")
    assert ran.code == 126
    assert "interpreter of the host" in ran.exit.error


def test_an_elf_file_with_that_interpreter_is_not_run(hostile):
    program = Path(os.path.realpath(sys.executable)).read_bytes()
    start = program.find(b"/ld-")
    begin = program.rfind(b"\0", 0, start) + 1
    end = program.find(b"\0", start)
    if start < 0 or end - begin < len("/proc/self/exe"):
        pytest.skip("needs a program with a long name of its loader")
    changed = program[:begin] + b"/proc/self/exe".ljust(end - begin, b"\0") + program[end:]

    def change(top):
        (top / "elf").write_bytes(changed)
        (top / "elf").chmod(0o755)

    assert "interpreter of the host" in hostile(change, ("/elf",)).exit.error


@pytest.mark.parametrize("kind", ["fifo", "huge", "link"])
def test_a_hostile_passwd_file_does_not_hold_the_start_up(hostile, kind):
    def change(top):
        (top / "etc").mkdir()
        passwd = top / "etc/passwd"
        if kind == "fifo":
            os.mkfifo(passwd)
        elif kind == "huge":
            with open(passwd, "wb") as file:
                file.truncate(1 << 40)
        else:
            passwd.symlink_to("/dev/zero")

    with pytest.raises(SetupFailed, match="unable to find user"):
        hostile(change, user="ann")


@pytest.mark.usefixtures("root_only")
def test_a_device_in_place_of_passwd_is_not_even_opened(tmp_path, monkeypatch):
    """In a chroot it may be one of the machine's; opening a watchdog starts it."""
    os.mknod(tmp_path / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    opened = []
    monkeypatch.setattr(os, "open", lambda *words, **_: opened.append(words) or -1)
    users.resolve("7:8", str(tmp_path / "device"), str(tmp_path / "device"))
    assert opened == []


def test_a_program_cannot_make_the_cleaner_remove_a_hosts_file(run, tmp_path):
    """CVE-2024-23652: a mount point swapped for a link."""
    (tmp_path / "precious").touch()
    ran = run(
        "rmdir /a/b 2>/dev/null; mv /a /c && ln -s /c /a; true",
        mounts=(Mount(type="bind", source=str(tmp_path), target="/a/b"),),
    )
    ran.ok()
    assert (tmp_path / "precious").exists()


def test_the_nodes_of_the_image_are_not_used(hostile):
    """CVE-2025-31133: masking binds /dev/null, which must not be the image's."""

    def change(top):
        (top / "dev").mkdir()
        (top / "dev/null").symlink_to("/proc/sysrq-trigger")
        (top / "dev/console").symlink_to("/proc/sysrq-trigger")

    ran = hostile(change, "cat /proc/timer_list; ls -l /dev/null")
    assert ran.ok().startswith("crw-rw-rw-")
