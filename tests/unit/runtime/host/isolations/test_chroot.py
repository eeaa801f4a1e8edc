"""Programs isolated by chroot alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import Mount, Sandbox, Stdio, get_isolation
from ocitool_runtime.defaults import Resources
from ocitool_runtime.host.isolations.chroot import Chroot
from tests.fixtures.deadlines import within

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def top(image, scratch):
    """A copy of the tools' tree, as a snapshot of plain directories."""
    top = scratch / "snapshot" / "fs"
    shutil.copytree(image, top, symlinks=True)
    return top


def fields_of(status):
    return dict(line.split(":", 1) for line in status.splitlines() if ":" in line)


@pytest.fixture
def run(top):
    """Return a function that runs a script in the tree; gives (how it ended, stdout, stderr)."""
    isolation = get_isolation("chroot")
    support = isolation.probe()
    if not support.ok:
        pytest.skip(support.reason)

    def run(script, **fields):
        reading, writing = os.pipe()  # as RUN has it: a file that is opened again begins anew
        os.fchmod(writing, 0o666)
        with (
            open(reading, encoding="utf-8") as out,
            open(writing, "w") as end,
            tempfile.TemporaryFile("w+") as err,
        ):
            sandbox = Sandbox(**{
                "rootfs": (Mount(type="bind", source=str(top)),),
                "args": ("sh", "-c", script),
                "env": ("PATH=/bin",),
                **fields,
            })  # fmt: skip
            with open(os.devnull) as null:
                stdio = Stdio(stdin=null.fileno(), stdout=end.fileno(), stderr=err.fileno())
                ended = isolation.start(sandbox, stdio).wait(60)
            end.close()
            err.seek(0)
            return ended, out.read(), err.read()

    return run


@pytest.fixture
def says(run):
    """Return a function that gives what a script prints."""

    def says(script, **fields):
        ended, out, err = run(script, **fields)
        assert (ended.code, err) == (0, ""), (ended, out, err)
        return out

    return says


@pytest.mark.slow
def test_its_root_is_the_tree(says, top):
    assert says("pwd; echo made > /file; ls /etc/passwd") == "/\n/etc/passwd\n"
    assert (top / "file").read_text() == "made\n"
    assert sorted(os.listdir(top.parent)) == ["fs"]
    assert not any((top / name).exists() for name in ("dev", "proc", "sys", "etc/hosts"))


@pytest.mark.slow
def test_exit_codes(run):
    assert run("exit 7")[0].code == 7
    assert run("kill -9 $$")[0].code == 137
    assert run("", args=("nowhere",))[0].code == 127
    assert run("", args=("/etc/passwd",))[0].code == 126


@pytest.mark.slow
@pytest.mark.parametrize("user", ["", "ann"])
def test_devices_and_streams(says, user):
    script = (
        "echo x > /dev/null && cat /dev/null && echo out > /dev/stdout"
        " && echo in | cat /dev/stdin && echo five 5>&1 >/dev/fd/5"
    )
    assert says(script, user=user).split() == ["out", "in", "five"]


@pytest.mark.slow
@pytest.mark.parametrize("user", ["", "ann"])
def test_proc_is_the_programs_own(says, user):
    status = fields_of(says("cat /proc/self/status", user=user))
    assert status["Uid"].split()[0] == ("7" if user else "0")
    assert says("readlink /proc/self/exe", user=user).startswith("/bin/")
    assert says("readlink /proc/self", user=user).strip().isdecimal()
    assert says("echo $$; cat /proc/$$/stat; true", user=user).split()[2] == "(sh)"
    processors = Path("/proc/cpuinfo").read_text().count("processor\t")
    assert says("cat /proc/cpuinfo", user=user).count("processor\t") == processors
    assert says("cat /proc/mounts")


@pytest.mark.slow
@pytest.mark.parametrize("user", ["", "ann"])
def test_its_files_can_be_looked_at(run, says, user):
    assert run("ls -l /proc/self/fd", user=user)[1].count(" -> ") >= 3
    script = "test -r /proc/self/status && test -d /proc/$$/fd && test ! -e /proc/none && echo yes"
    assert says(script, user=user) == "yes\n"
    assert says("stat -c '%F %a' /proc/self/status", user=user) == "regular empty file 444\n"
    assert says("stat -c %F /proc/self/exe /dev/null", user=user).splitlines() == [
        "symbolic link", "character special file"
    ]  # fmt: skip


@pytest.mark.slow
def test_its_user_and_privileges(says):
    assert says("id -u; id -g", user="ann").split() == ["7", "8"]
    fields = fields_of(says("cat /proc/self/status"))
    assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")
    assert int(fields["CapEff"], 16) & ~0xA80425FB == 0  # docker's default set


def test_the_working_directory_is_made(says, top):
    assert says("pwd", cwd="/a/b") == "/a/b\n"
    assert (top / "a/b").stat().st_uid == 0


@pytest.mark.slow
def test_hosts_and_resolv_conf(says, top):
    (top / "etc/hosts").write_text("of the image\n")
    assert "10.1.1.1 other\n" in says("cat /etc/hosts", hosts=("10.1.1.1 other",))
    assert (top / "etc/hosts").read_text() == "of the image\n"


@pytest.mark.slow
def test_what_is_left_running_is_ended(run, top):
    ended, _, _ = run("sh -c 'sleep 1000 & sleep 1000' & (sleep 1000 &) ; exit 3")
    assert ended.code == 3
    left = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            left += [name] if os.readlink(f"/proc/{name}/root") == str(top) else []
        except OSError:
            continue
    assert left == []


def test_it_ends_with_the_host_process(top):
    process = get_isolation("chroot").start(
        Sandbox(rootfs=(Mount(type="bind", source=str(top)),), args=("/bin/sleep", "1000")),
        Stdio(),
    )
    process.close()
    assert not (top / "proc").exists()


@pytest.mark.slow
def test_it_warns_once_where_nobody_asked_for_it(top):
    sandbox = Sandbox(rootfs=(Mount(type="bind", source=str(top)),), args=("/bin/true",))
    fallback, named = Chroot(fallback=True), get_isolation("chroot")
    first, second, asked = (
        each.start(sandbox, Stdio()).wait() for each in (fallback,) * 2 + (named,)
    )
    assert "does not isolate them from this process" in first.warnings[0]
    assert (second.warnings, asked.warnings) == ((), ())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"network": "none"}, "does not support network 'none'"),
        ({"network": "private"}, "does not support network 'private'"),
        ({"mounts": (Mount(type="tmpfs", target="/x"),)}, "does not support volumes"),
        ({"mounts": (Mount(type="bind", source="/etc", target="/x"),)}, "does not support volumes"),
        ({"resources": Resources(memory=64 << 20)}, "does not support resource limits"),
        ({"readonly": True}, "a root directory that is writable and not mounted"),
        ({"rootfs": (Mount(type="overlay", lower=("/a",)),)}, "writable and not mounted"),
        ({"rootfs": (Mount(type="bind", source="/proc/self/root"),)}, "of this machine"),
    ],
)
def test_what_it_cannot_do_is_refused(run, fields, said):
    with pytest.raises(SandboxError, match=said):
        run("true", **fields)


@pytest.mark.slow
def test_a_caller_that_dies_while_it_waits_stops_nobody(says):
    script = "for i in 1 2 3 4 5 6 7 8 9; do (cat /proc/self/maps >/dev/null & kill -9 $!); done"
    assert says(f"{script} 2>/dev/null; cat /proc/self/status").startswith("Name:")


@pytest.mark.slow
def test_pipes_without_a_writer_do_not_block_the_others(says):
    script = "mkfifo /f; cat /f & sleep 0.1; cat /proc/self/status; echo done > /f; wait"
    began = time.monotonic()
    assert says(script).split()[-1] == "done"
    assert time.monotonic() - began < 30


def placed(target, content=b"topsecret", *options):
    return Mount(type="file", target=target, content=content, options=("ro", *options))


def test_files_have_owner_and_mode_and_are_gone_afterwards(says, run, top):
    mounts = (
        placed("/run/secrets/a", b"a", "mode=0400", "uid=7", "gid=8"),
        placed("/run/secrets/b", b"b", "mode=0400"),
    )
    script = "stat -c '%a %u %g' /run/secrets/a; cat /run/secrets/*"
    assert says(script, mounts=mounts) == "400 7 8\nab"
    ended, out, err = run("cat /run/secrets/a /run/secrets/b", user="ann", mounts=mounts)
    assert (ended.code, out) == (1, "a") and "denied" in err
    assert not (top / "run").exists() and os.listdir(top.parent) == ["fs"]


@pytest.mark.slow
def test_files_are_gone_also_when_the_caller_is_killed(top):
    """The shim sees that, and ends the program."""
    script = (
        "import os, sys; from ocitool_runtime import Mount, Sandbox, Stdio, get_isolation\n"
        "mount = Mount(type='file', target='/run/x', content=b'topsecret', options=('ro',))\n"
        "sandbox = Sandbox(rootfs=(Mount(type='bind', source=sys.argv[1]),), mounts=(mount,),"
        " args=('sh', '-c', 'echo begun; sleep 1000'), env=('PATH=/bin',))\n"
        "get_isolation('chroot').start(sandbox, Stdio()).wait()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, top],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.read(6) == b"begun\n"
    assert (top / "run/x").read_bytes() == b"topsecret"
    process.kill()
    process.wait()
    assert process.stdout.read() == b""  # the program has ended
    process.stdout.close()
    with within(30):
        while (top / "run").exists():
            time.sleep(0.01)
