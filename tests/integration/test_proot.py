"""The plugin in testdata/proot-plugin, used by a user without subordinate IDs who names it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fixtures.programs import execute
from tests.fixtures.proot import DRIVER, EPOCH, PLUGIN, write_context
from tests.fixtures.trees import remove_tree

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def images(plugged, rangeless_user, busybox_base):
    """A store of the user, with an image."""
    root = rangeless_user.home / "proot-store"
    plugged.run("-m", "ocitool", "--root", root, *DRIVER, "pull", "-q", busybox_base).ok()
    yield root
    remove_tree(root)


@pytest.fixture
def run(plugged, images, busybox_base):
    """Return a function that runs a command in the image."""

    def run(*command, options=(), **more):
        words = ("--root", images, *DRIVER, "--isolation", "proot", "run", "--rm", *options)
        return plugged.run("-m", "ocitool", *words, busybox_base, *command, **more)

    return run


# -- a user who names it ------------------------------------------------------------------------


def test_info_lists_it(plugged, images):
    shown = plugged.run("-m", "ocitool", "--root", images, "info").ok().stdout
    assert "IsolationProot:      supported\n" in shown
    assert "Containers:          supported (namespaces)\n" in shown  # which come first


@pytest.mark.parametrize(
    ("mount", "option", "named"),
    [
        ("secret,id=a", "--secret=id=a,env=HOME", "files in memory, as of RUN --mount=type=secret"),
        ("ssh", "--ssh=default=KEY", "sockets, as of RUN --mount=type=ssh"),
    ],
)
def test_secrets_and_agents_are_refused_by_name(
    plugged, rangeless_user, images, busybox_base, mount, option, named
):
    context = rangeless_user.home / "proot-secrets"
    context.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as agent:
        if not (context / "agent").exists():
            agent.bind(str(context / "agent"))
    (context / "Dockerfile").write_text(f"FROM {busybox_base}\nRUN --mount=type={mount} true\n")
    words = ("--root", images, *DRIVER, "--isolation", "proot", "build", "-q")
    option = option.replace("KEY", str(context / "agent"))
    done = plugged.run("-m", "ocitool", *words, option, context)
    assert done.code == 125, done
    assert f"isolation by PRoot does not support {named}" in done.stderr
    assert "--isolation namespaces or chroot" in done.stderr


def test_mounts_are_directories_that_leave_nothing(plugged, rangeless_user, images, busybox_base):
    context = rangeless_user.home / "proot-mounts"
    (context / "d").mkdir(parents=True, exist_ok=True)
    (context / "d/f").write_text("of the context\n")
    (context / "Dockerfile").write_text(
        f"""FROM {busybox_base} AS made
RUN mkdir /o && echo of the stage > /o/f
FROM {busybox_base}
RUN --mount=source=d,target=/in --mount=from=made,source=o,target=/o/deep \\
    --mount=type=tmpfs,target=/t --mount=type=cache,target=/c \\
    cat /in/f /o/deep/f > /got && cp /in/f /t/f && cp /t/f /c/f
RUN --mount=type=cache,target=/c cat /c/f >> /got && ls -d /in /o /t >> /got 2>/dev/null || true
RUN cat /got
"""
    )
    words = ("--root", images, *DRIVER, "--isolation", "proot", "build", "--progress=plain")
    done = plugged.run("-m", "ocitool", *words, context).ok()
    lines = done.stderr.rpartition("RUN cat /got\n")[2].splitlines()
    shown = [line.split(" ", 2)[2] for line in lines[:3]]
    assert shown == ["of the context", "of the stage", "of the context"]
    assert "DONE" in lines[3]  # no mount point was left


@pytest.mark.campaign
def test_the_image_is_that_of_namespaces(plugged, rangeless_user, proot_expected, busybox_base):
    home = rangeless_user.home / "proot-build"
    try:
        context = write_context(home / "context", busybox_base)
        os.chown(home, rangeless_user.uid, rangeless_user.gid)
        words = ("--root", home / "store", *DRIVER, "--isolation", "proot", "build", "-q")
        env = plugged.env | EPOCH
        built = plugged.run("-m", "ocitool", *words, "-t", "a:1", context, env=env).ok()
        assert built.stderr == ""  # who asks for it knows what it is
        assert built.stdout == proot_expected
        plugged.run("-m", "ocitool", "--root", home / "store", "system", "check").ok()
    finally:
        remove_tree(home)


def test_programs_see_the_container_alone(run, tmp_path):
    here = os.path.abspath(__file__)
    script = (
        f"test -e {here}; echo $?; cat {here} 2>/dev/null; echo $?; pwd; id -u; env; ls -A /dev"
    )
    options = ("-e", "LD_PRELOAD=/nothing.so", "-w", "/made/here")
    shown = run("sh", "-c", script, options=options).ok()
    assert shown.stderr == ""
    seen, read, cwd, uid, *rest = shown.stdout.splitlines()
    assert (seen, read, cwd, uid) == ("1", "1", "/made/here", "0")
    at = rest.index("fd")
    assert {line.partition("=")[0] for line in rest[:at]} == {
        "HOME", "HOSTNAME", "LD_PRELOAD", "PATH", "PWD", "SHLVL",
    }  # fmt: skip
    assert "HOME=/root" in rest
    names = "full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert rest[at + 1 :] == names.split()


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        (("sh", "-c", "exit 3"), 3, ""),
        (("sh", "-c", "kill -TERM $$"), 143, ""),
        (("sh", "-c", "sh -c 'exit 5'; kill -KILL $$"), 137, ""),
        (("nosuch",), 127, "exec nosuch: executable file not found in $PATH"),
        (("/no/such",), 127, "exec /no/such: no such file or directory"),
        (("/etc",), 126, "exec /etc: permission denied"),
        (("/etc/passwd",), 126, "exec /etc/passwd: permission denied"),
    ],
    ids=["exit", "signal", "signal after exit", "missing", "no path", "directory", "no program"],
)
def test_exit_codes_and_texts_are_those_of_other_isolations(run, command, code, text):
    done = run(*command)
    assert done.code == code, done
    assert text in done.stderr
    assert bool(text) == bool(done.stderr)


def test_a_program_whose_interpreter_is_missing_is_named(run, rangeless_user):
    volume = Path(tempfile.mkdtemp(dir=rangeless_user.home))
    volume.chmod(0o755)
    script = volume / "script"
    script.write_text("#!/nowhere\n")
    script.chmod(0o755)
    done = run("/vol/script", options=("-v", f"{volume}:/vol"))
    assert done.code == 127
    remove_tree(volume)


def test_what_a_program_leaves_running_is_killed(run):
    # A copy that lived on would hold the pipe open that is read to its end here.
    done = run("sh", "-c", "trap '' TERM QUIT HUP; sleep 1000 & echo $!; exit 4")
    assert done.code == 4
    assert not os.path.exists(f"/proc/{done.stdout.strip()}")


def test_volumes_are_written_and_leave_no_mount_point(run, rangeless_user):
    volume = Path(tempfile.mkdtemp(dir=rangeless_user.home))
    os.chown(volume, rangeless_user.uid, rangeless_user.gid)
    script = "echo written > file; mkdir ../deep; cat /file; ls /a"
    file = volume / "only"
    file.write_text("a file\n")
    options = ("-v", f"{volume}:/a/b", "-v", f"{file}:/file", "-v", "/a/own", "-w", "/a/b/c")
    shown = run("sh", "-c", script, options=options).ok()
    assert shown.stdout == "a file\nb\nown\n"
    assert (volume / "c/file").read_text() == "written\n"
    assert (volume / "deep").is_dir()
    remove_tree(volume)


def test_limits_and_hosts_are_set(run):
    options = ("--ulimit", "nofile=64", "--add-host", "a:1.2.3.4", "--dns", "9.9.9.9")
    shown = run("sh", "-c", "ulimit -n; cat /etc/hosts /etc/resolv.conf", options=options).ok()
    assert shown.stdout.startswith("64\n")
    assert "1.2.3.4\ta\n" in shown.stdout
    assert "nameserver 9.9.9.9\n" in shown.stdout


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("-t",), "a terminal"),
        (("--read-only",), "a read-only root"),
        (("--network", "none"), "network 'none'"),
        (("--shm-size", "1m"), "--shm-size"),
        (("--memory", "64m"), "limits of resources"),
        (("--cap-add", "SYS_ADMIN"), "capabilities (CAP_SYS_ADMIN)"),
        (("--group-add", "7"), "further groups"),
        (("--tmpfs", "/x"), "mounts of type tmpfs"),
        (("-v", "/usr:/x:ro"), "the option ro of volumes"),
        (("-u", "7"), "cannot become user 7: PRoot has no other than root"),
        (("-w", "/etc/passwd"), "cannot enter the working directory /etc/passwd: Not a directory"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, tuple) else "",
)
def test_what_proot_cannot_do_is_refused_by_name(run, options, what):
    done = run("true", options=options)
    assert done.code == 125
    assert what in done.stderr


def test_other_drivers_are_refused_by_name(plugged, images, busybox_base):
    words = ("--root", images, "--driver", "overlay", "--isolation", "proot", "run", "--rm")
    done = plugged.run("-m", "ocitool", *words, busybox_base, "true")
    assert done.code == 125
    assert "hint: use --driver vfs" in done.stderr


@pytest.mark.parametrize("shim", [False, True], ids=["ocitool", "the shim"])
def test_a_kill_ends_all(plugged, rangeless_user, images, busybox_base, shim):
    words = ("--root", images, *DRIVER, "--isolation", "proot", "run", "--rm", busybox_base)
    script = "trap '' TERM QUIT HUP; sleep 1000 & echo $!; wait"
    who = {"user": rangeless_user.uid, "group": rangeless_user.gid, "extra_groups": ()}
    process = subprocess.Popen(
        [plugged.python, "-m", "ocitool", *map(str, words), "sh", "-c", script],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=plugged.env,
        cwd=rangeless_user.home,
        **who,
    )
    try:
        left = int(process.stdout.readline())
        handle = os.pidfd_open(left)
        os.kill(_shim_of(process.pid) if shim else process.pid, signal.SIGKILL)
        rest, _ = process.communicate(timeout=60)  # nobody has its pipe any more
        assert rest == b""
        assert select.select([handle], [], [], 60)[0]  # and it has ended
        os.close(handle)
    finally:
        process.kill()
        process.wait()


def _shim_of(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [c for c in children if b"proot_shim" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return int(found[0])


# -- the probe ----------------------------------------------------------------------------------

PROBE = """
import os, sys
import ocitool_isolation_proot as plugin
if sys.argv[1] == "unfiltered":
    plugin.make_filter = lambda machine: b""
else:
    os.environ["PATH"] = sys.argv[1] + ":" + os.environ["PATH"]
support = plugin.Proot().probe()
print(support.ok, support.reason)
"""


def test_a_call_that_is_not_translated_is_named(plugged, proot):
    said = plugged.run("-c", PROBE, "unfiltered").ok().stdout
    if said.startswith("True"):
        pytest.skip("this PRoot translates statx by itself")
    assert f"{proot} does not work here: " in said
    assert "statx sees a file that is not in the container" in said
    assert "open sees" not in said


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ('shift 9; exec "$@"', "open sees a file that is not in the container"),
        ("echo it is broken >&2; exit 1", "it is broken; cannot start PRoot: it ended before"),
    ],
    ids=["translates nothing", "fails"],
)
def test_a_proot_that_does_not_work_is_refused_with_what_fails(
    plugged, rangeless_user, script, text
):
    place = Path(tempfile.mkdtemp(dir=rangeless_user.home))
    place.chmod(0o755)
    program = place / "proot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    said = plugged.run("-c", PROBE, place).ok().stdout
    assert said.startswith(f"False {program} does not work here: ")
    assert text in said
    remove_tree(place)


def test_root_is_refused(plugged, root_only):
    env = {**plugged.env, "PYTHONPATH": os.pathsep.join((str(plugged.site), *plugged.paths))}
    code = "import ocitool_isolation_proot as p; print(p.Proot().probe().reason)"
    done = execute([plugged.python, "-c", code], env=env).ok()
    assert done.stdout == "PRoot is for users other than root\n"


# -- machine code -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "prefix"), [("x86_64", ""), ("aarch64", "aarch64-linux-gnu-")], ids=str
)
def test_the_init_is_what_its_source_says(tmp_path, machine, prefix):
    assembler, objcopy = f"{prefix}as", f"{prefix}objcopy"
    if os.uname().machine == machine:
        assembler, objcopy = "as", "objcopy"
    if shutil.which(assembler) is None or (not prefix and os.uname().machine != machine):
        pytest.skip(f"needs an assembler for {machine}")
    execute([assembler, "-o", tmp_path / "o", PLUGIN / f"init-{machine}.S"]).ok()
    execute([objcopy, "-O", "binary", "-j", ".text", tmp_path / "o", tmp_path / "b"]).ok()
    code = "import ocitool_isolation_proot_machine as m, sys; print(m._CODE[sys.argv[1]].hex())"
    env = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    shown = execute([sys.executable, "-c", code, machine], env=env).ok()
    assert shown.stdout.strip() == (tmp_path / "b").read_bytes().hex()
