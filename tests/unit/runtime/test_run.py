"""Exit codes, signals, streams and the program's surroundings."""

from __future__ import annotations

import os
import select
import shutil
import signal

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import Mount, Rlimit, Stdio, get_isolation
from ocitool_runtime.errors import StepRefused, StillRunning


@pytest.mark.parametrize("code", [0, 1, 42, 125, 255])
def test_the_exit_code_is_the_programs(run, code):
    ended = run(f"exit {code}").exit
    assert (ended.code, ended.signal, ended.error) == (code, 0, "")


def test_a_signal_is_128_and_its_number(make):
    process = get_isolation().start(make(("sleep", "1000")), Stdio())
    process.kill(signal.SIGKILL)
    ended = process.wait(60)
    assert (ended.code, ended.signal) == (137, signal.SIGKILL)
    assert process.wait(0) is ended
    process.kill(signal.SIGTERM)  # too late, and no error


@pytest.mark.slow
def test_a_program_that_is_not_there_is_127(run):
    ended = run(("nowhere",)).exit
    assert (ended.code, ended.error) == (
        127,
        "exec nowhere: executable file not found in $PATH",
    )
    assert run(("/bin/nowhere",)).exit.error == "exec /bin/nowhere: no such file or directory"


@pytest.mark.slow
def test_a_program_that_cannot_be_executed_is_126(run):
    ended = run(("/etc/passwd",)).exit
    assert (ended.code, ended.error) == (126, "exec /etc/passwd: permission denied")
    assert run(("/bin",)).code == 126


@pytest.mark.slow
def test_a_file_system_that_is_mounted_noexec_is_the_reason(image, run, tmp_path):
    shutil.copy(image / "bin/true", tmp_path)
    volume = Mount(type="bind", source=str(tmp_path), target="/tmp", options=("ro", "noexec"))
    reason = "exec /tmp/true: permission denied (its file system is mounted noexec)"
    ended = run(("/tmp/true",), mounts=(volume,)).exit
    assert (ended.code, ended.error) == (126, reason)
    tree = tmp_path / "tree"
    shutil.copytree(image, tree, symlinks=True)
    store = Mount(type="bind", source=str(tree), options=("noexec",))
    ended = run(("true",), rootfs=(store,)).exit
    reason = "permission denied (the store, choose another by --root, is mounted noexec)"
    assert (ended.code, ended.error) == (126, f"exec true: {reason}")


def test_a_script_without_its_interpreter_has_an_error_of_its_own(image, run, scratch):
    (scratch / "upper").mkdir()
    (scratch / "upper/script").write_text("#!/no/such/shell\n")
    (scratch / "upper/script").chmod(0o755)
    ended = run(("/script",)).exit
    assert ended.code == 127
    assert "interpreter or loader" in ended.error


def test_streams_pass_straight_through(run):
    ran = run("cat; echo to stderr >&2", stdin="to stdin\n")
    assert (ran.out, ran.err) == ("to stdin\n", "to stderr\n")


def test_a_pipe_ends_with_the_program_not_with_the_shim(make):
    read, write = os.pipe()
    process = get_isolation().start(
        make("echo hello; exec >/dev/null; sleep 1000"), Stdio(stdin=0, stdout=write, stderr=2)
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "hello\n"
    with pytest.raises(StillRunning):
        process.wait(0)
    process.close()


def test_the_environment_is_what_was_given(run):
    out = run(("env",), env=("PATH=/bin", "A=1", "A=2", "B=a=b", "C=")).ok()
    assert sorted(out.splitlines()) == ["A=2", "B=a=b", "C=", "HOME=/root", "PATH=/bin"]


@pytest.mark.slow
def test_a_path_is_there_without_being_given(run):
    assert run("echo $PATH", env=()).ok() == (
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    )
    assert run(("true",), env=("PATH=",), cwd="/bin").code == 127  # never from the current folder


@pytest.mark.slow
def test_home_comes_from_passwd_unless_it_is_set(run):
    assert run("echo $HOME", user="ann").ok() == "/home/ann\n"
    assert run("echo $HOME", user="ann", env=("PATH=/bin", "HOME=/x")).ok() == "/x\n"
    assert run("echo $HOME", user="1234").ok() == "/\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "0 0 0 10"),
        ("ann", "7 8 8 10 11"),
        ("7", "7 8 8 10 11"),
        ("ann:audio", "7 11 11"),
        ("ann:12", "7 12 12"),
        ("1234", "1234 0 0"),
        ("1234:8", "1234 8 8"),
    ],
)
def test_users_are_resolved_as_docker_does(run, user, expected):
    uid, gid, *groups = expected.split()
    out = run("id -u; id -g; id -G", user=user).ok().split()
    assert out[:2] == [uid, gid]
    assert set(out[2:]) == set(groups)


@pytest.mark.parametrize("user", ["bob", "ann:nogroup", "99999999999", "4294967295"])
def test_an_unknown_user_is_an_error(run, user):
    with pytest.raises(StepRefused) as caught:
        run("true", user=user)
    reasons = {"bob": "find user bob", "ann:nogroup": "find group nogroup"}
    assert reasons.get(user, f"ID {user} is greater than") in str(caught.value)


def test_a_missing_working_directory_is_made(run):
    ran = run("pwd; stat -c '%u %a' /deep/er", cwd="/deep/er", user="ann")
    assert ran.ok() == "/deep/er\n0 755\n"
    assert (ran.upper / "deep/er").is_dir()


def test_a_working_directory_that_is_a_file_is_an_error(run):
    with pytest.raises(StepRefused, match="working directory"):
        run("true", cwd="/etc/passwd")


@pytest.mark.slow
def test_umask_and_hostname(run):
    assert run("umask; hostname; cat /etc/hostname", hostname="kiste").ok() == (
        "0022\nkiste\nkiste\n"
    )
    assert run("umask", umask=0o077).ok() == "0077\n"


def test_limits_are_set(run):
    limits = (Rlimit(name="nofile", soft=100, hard=200),)
    assert run("ulimit -Sn; ulimit -Hn", rlimits=limits).ok() == "100\n200\n"


def test_a_limit_that_the_kernel_refuses_is_an_error(run):
    """More open files than fs.nr_open are EPERM for everybody (setrlimit(2))."""
    limits = (Rlimit(name="nofile", soft=1 << 40, hard=1 << 40),)
    with pytest.raises(StepRefused, match="cannot set the resource limits: nofile is above"):
        run("true", rlimits=limits)


@pytest.mark.slow
def test_further_groups(run):
    ids = run("id -G", user="ann", groups=("77", "audio")).ok().split()
    assert {"8", "10", "11", "77"} == set(ids)
    with pytest.raises(StepRefused, match="unable to find group nobodys"):
        run("true", groups=("nobodys",))


@pytest.mark.slow
def test_name_servers_replace_the_hosts(run):
    for network in ("host", "none"):
        lines = run("cat /etc/resolv.conf", network=network, dns=("1.2.3.4", "::1")).ok()
        servers = [line for line in lines.splitlines() if line.startswith("nameserver")]
        assert servers == ["nameserver 1.2.3.4", "nameserver ::1"]


@pytest.mark.slow
def test_the_shell_is_pid_1_without_init_and_not_with_it(run):
    assert run("echo $$").ok() == "1\n"
    assert run("echo $$", init=True).ok() != "1\n"


@pytest.mark.slow
def test_init_passes_exit_codes_and_signals_on(run, make):
    assert run("exit 7", init=True).code == 7
    assert run("kill -KILL $$", init=True).code == 137
    # The program has no handler for it: as PID 1 itself it would ignore the signal.
    process = get_isolation().start(make(("sleep", "1000"), init=True), Stdio())
    process.kill(signal.SIGTERM)
    assert process.wait(60).code == 143


@pytest.mark.parametrize(("init", "end"), [(True, "gone"), (False, "zombie")])
def test_init_reaps_orphans(make, init, end):
    script = """
    watch() {
        while [ ! -s /tmp/pid ]; do :; done
        read orphan < /tmp/pid
        while [ -e /proc/$orphan ]; do
            while read key value; do
                case "$1 $key $value" in "zombie State: Z"*) echo zombie; return; esac
            done < /proc/$orphan/status
        done 2>/dev/null
        echo gone
    }
    watch %s &
    (sh -c 'wait_for_tail() { while read comm < /proc/1/comm; [ $comm = sh ]; do :; done; }
        wait_for_tail; echo $$ > /tmp/pid' &)
    exec tail -f /dev/null
    """
    read, write = os.pipe()
    sandbox = make(script % end, init=init)
    process = get_isolation().start(sandbox, Stdio(stdin=0, stdout=write, stderr=2))
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.readline() == f"{end}\n"
    process.close()


def test_a_process_ends_with_its_last_reference(make):
    process = get_isolation().start(make(("sleep", "1000")), Stdio())
    handle = os.pidfd_open(process.pid)
    del process
    assert select.select([handle], [], [], 60)[0]
    os.close(handle)


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "mine"},
        {"cwd": "relative"},
        {"env": ("NOVALUE",)},
        {"capabilities": ("CAP_FLY",)},
        {"rlimits": (Rlimit(name="unknown", soft=1, hard=1),)},
        {"init": True, "capabilities": ("CAP_SYS_PTRACE",)},
        {"args": ("a\0b",)},
        {"args": ()},
        {"rootfs": ()},
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_starts(make, fields):
    with pytest.raises(SandboxError):
        get_isolation().start(make("true", **fields), Stdio())


LONG = "a" * 100_000


@pytest.mark.parametrize(
    ("args", "fields", "text"),
    [
        (("sh", "-c", "x" * 140_000), {}, "argument list too long"),
        (("ls", *[LONG] * 40), {}, "argument list too long"),
        (("true",), {"env": ("PATH=/bin", *(f"V{n}={LONG}" for n in range(40)))}, "too long"),
        (("true",), {"env": ("PATH=/bin", f"V={'x' * 140_000}")}, "argument list too long"),
        ((f"/bin/{LONG}",), {}, "file name too long"),
        ((LONG,), {}, "file name too long"),
        (("/bin/" + "d/" * 100_000 + "x",), {}, "file name too long"),
    ],
)
def test_what_the_kernel_finds_too_long_cannot_be_executed(run, args, fields, text):
    """execve(2): one argument has 128 KiB at most, all of them with the environment 2 MiB."""
    ended = run(args, **fields).exit
    assert ended.code == 126
    assert text in ended.error
    assert len(ended.error) < 1000


@pytest.mark.parametrize(
    "fields",
    [{"cwd": "/" + "d/" * 100_000}, {"cwd": f"/{LONG}"}, {"user": LONG}, {"user": "é" * 90_000}],
)
def test_what_is_too_long_elsewhere_is_an_error_that_fits_on_a_screen(run, fields):
    with pytest.raises(SandboxError) as caught:
        run("true", **fields)
    assert "marshal" not in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_no_directory_is_made_for_a_working_directory_that_is_too_long(run, scratch):
    with pytest.raises(SandboxError, match="too long: 4096 bytes"):
        run("true", cwd=("/directory" * 500)[:4096])
    assert list((scratch / "upper").iterdir()) == []
