"""``ocitool run``: what goes in, what comes out, and how it says no."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios

import pytest

from ocitool.oci.platform import this_platform
from tests.fixtures.programs import python_environment

pytestmark = pytest.mark.usefixtures("containers")


@pytest.fixture
def run(run_cli, tools_store):
    """Return a function that runs ``ocitool run --rm WORDS``."""
    return lambda *words, **how: run_cli("run", "--rm", *words, root=tools_store, **how)


def begin(root, *words, **streams):
    """Start ``ocitool run --rm WORDS`` and leave it running."""
    return subprocess.Popen(
        [sys.executable, "-m", "ocitool", "--root", root, "run", "--rm", *words],
        env=python_environment(),
        text=True,
        **streams,
    )


def shell(run, script, *options):
    return run(*options, "tools:1", "sh", "-c", script).ok().stdout


# -- streams, exit codes and signals -------------------------------------------------------


def test_streams_and_the_exit_code_pass_through(run):
    words = ("-i", "--network", "host", "tools:1", "sh", "-c", "cat; echo err >&2; exit 42")
    done = run(*words, stdin="given\n")
    assert (done.code, done.stdout, done.stderr) == (42, "given\n", "err\n")


def test_without_i_stdin_is_empty(run):
    assert run("tools:1", "cat", stdin="given\n").ok().stdout == ""


def test_words_behind_the_image_are_the_commands(run):
    assert run("tools:1", "sh", "-c", "echo $0 $*", "--name", "-e", "--help").ok().stdout == (
        "--name -e --help\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(tools_store, number):
    script = f"trap 'exit 77' {int(number)}; echo ready; while :; do sleep 0.01; done"
    running = begin(tools_store, "tools:1", "sh", "-c", script, stdout=subprocess.PIPE)
    with running:
        assert running.stdout.readline() == "ready\n"
        running.send_signal(number)
    assert running.returncode == 77


def test_a_command_that_a_signal_ends(run):
    done = run("--init", "tools:1", "sh", "-c", "kill -9 $$")
    assert done.code == 137


def test_nothing_stays(run, tools_store):
    run("--name", "ended", "tools:1", "touch", "/new").ok()
    assert os.listdir(tools_store / "containers") == []
    assert "new" not in run("tools:1", "ls", "/").ok().stdout


# -- a terminal ----------------------------------------------------------------------------


def test_a_terminal(tools_store, screen):
    streams = {"stdin": screen.inner, "stdout": screen.inner, "stderr": screen.inner}
    words = ("-it", "-e", "PS1=$ ", "tools:1", "sh")
    running = begin(tools_store, *words, start_new_session=True, **streams)
    screen.until("$ ")
    screen.type("stty size; echo $TERM\n")
    screen.until("33 99")
    screen.until("xterm")
    screen.size(50, 120)
    running.send_signal(signal.SIGWINCH)  # the kernel tells only a controlling terminal's group
    screen.type("while [ \"$(stty size)\" != '50 120' ]; do :; done; echo re''sized\n")
    screen.until("resized")
    screen.type("sh -c \"echo be''gun; exec sleep 1000\"\n")
    screen.until("begun")
    screen.type("\x03")  # Ctrl-C ends the command in the container, not the container
    screen.until("$ ")
    screen.type("echo status-$?; exit 9\n")
    screen.until("status-130")
    assert running.wait(60) == 9


@pytest.mark.parametrize("options", [(), ("-i",)])
def test_the_third_ctrl_c_ends_a_command_that_does_not_end(tools_store, screen, options):
    """As docker's client, which leaves the container to the engine; here it is killed."""
    script = "trap 'echo got it' INT TERM; echo ready; while :; do sleep 0.01; done"
    streams = {"stdin": screen.inner, "stdout": screen.inner, "stderr": screen.inner}
    running = begin(
        tools_store, *options, "tools:1", "sh", "-c", script, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(screen.inner, termios.TIOCSCTTY, 0), **streams,
    )  # fmt: skip
    screen.until("ready")
    for _ in range(2):  # another one before the first was handled would be lost
        screen.type("\x03")
        screen.until("got it")
    screen.type("\x03")
    screen.until("Error: got 3 SIGTERM/SIGINTs, forcefully exiting")
    assert running.wait(60) == 1
    assert os.listdir(tools_store / "containers") == []


def test_a_terminal_needs_one_here(run):
    done = run("-it", "tools:1", "true", stdin="")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the input device is not a TTY\n")


# -- options -------------------------------------------------------------------------------


def test_variables(run):
    words = ("-e", "GIVEN=a=b", "-e", "MINE", "-e", "NOBODYS", "-e", "EMPTY=", "--hostname", "box")
    done = run(*words, "tools:1", "env", env={"MINE": "from outside"}).ok()
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found.pop("HOME")
    assert found == {
        "PATH": "/bin", "FROM": "image", "GIVEN": "a=b", "MINE": "from outside", "EMPTY": "",
        "HOSTNAME": "box",
    }  # fmt: skip


def test_a_host_folder(run, store_root):
    (store_root / "file").write_text("content\n")
    script = "cat /data/file; echo more > /data/new && echo written"
    assert shell(run, script, "-v", f"{store_root}:/data") == "content\nwritten\n"
    assert (store_root / "new").read_text() == "more\n"
    done = run("-v", f"{store_root}:/data:ro", "tools:1", "sh", "-c", script)
    assert done.code != 0
    assert done.stdout == "content\n"


def test_a_working_directory(run):
    assert shell(run, "pwd", "-w", "/made/for/this") == "/made/for/this\n"


@pytest.mark.parametrize(
    ("user", "ids"), [("ann", "7 8"), ("7", "7 8"), ("ann:wheel", "7 10"), ("12:34", "12 34")]
)
def test_a_user(run, user, ids):
    assert shell(run, "echo $(id -u) $(id -g)", "-u", user) == f"{ids}\n"


def test_digits_are_an_id_and_never_a_name(run_cli, tools_store, tmp_path):
    """CVE-2016-3697: an image's line for a user called 1000 must not make root of it."""
    (tmp_path / "Dockerfile").write_text(
        "FROM tools:1\nRUN echo 1000:x:0:0::/:/bin/sh >> /etc/passwd"
        " && echo 2000:x:0: >> /etc/group && chmod 777 /tmp\n"
        "USER 1000\nWORKDIR /made\nRUN id -u > /tmp/step && id -g >> /tmp/step\n"
        "USER ann:2000\nRUN id -u > /tmp/step2 && id -g >> /tmp/step2\n"
    )
    run_cli("build", "-q", "-t", "digits:1", tmp_path, root=tools_store).ok()

    def said(script, *options):
        words = ("run", "--rm", *options, "digits:1", "sh", "-c", script)
        return run_cli(*words, root=tools_store).ok().stdout.split()

    assert said("cat /tmp/step /tmp/step2") == ["1000", "0", "7", "2000"]
    assert said("stat -c %u /made") == ["1000"]
    assert said("id -u; id -g", "-u", "1000") == ["1000", "0"]
    assert said("id -u; id -g", "-u", "ann:2000") == ["7", "2000"]
    run_cli("rmi", "digits:1", root=tools_store).ok()


def test_an_entrypoint(run):
    assert run("--entrypoint", "ls", "tools:1", "/etc/passwd").ok().stdout == "/etc/passwd\n"
    assert run("--entrypoint", "", "tools:1", "pwd").ok().stdout == "/\n"


def test_a_tree_that_is_read_only(run):
    script = "touch /file 2>/dev/null || echo refused; touch /scratch/file && echo written"
    options = ("--read-only", "--tmpfs", "/scratch")
    assert shell(run, script, *options) == "refused\nwritten\n"


def test_a_tmpfs_with_options(run):
    line = shell(run, "cat /proc/self/mounts", "--tmpfs", "/t:size=1m,mode=0700,exec")
    (mount,) = [each for each in line.splitlines() if " /t " in each]
    options = mount.split()[3].split(",")
    assert {"size=1024k", "mode=700", "nosuid", "nodev"} <= set(options)
    assert "noexec" not in options


def test_a_host_name(run):
    script = "echo $(hostname) $(cat /etc/hostname)"
    assert shell(run, script, "-h", "box.example") == "box.example box.example\n"
    own = shell(run, 'test "$(hostname)" = "$HOSTNAME" && hostname', "--network", "none")
    assert len(own.strip()) == 12  # the container's id
    assert shell(run, "hostname", "--network", "host").strip() == os.uname().nodename
    assert shell(run, "hostname").strip() != os.uname().nodename


def test_no_network(run):
    addresses = shell(run, "cat /proc/net/dev", "--network", "none").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in addresses] == ["lo"]


def test_a_file_with_variables(run, tmp_path):
    (tmp_path / "env").write_text("A=file\n# comment\nB=file\nMINE\n")
    words = ("--env-file", str(tmp_path / "env"), "-e", "B=option")
    done = run(*words, "tools:1", "env", env={"MINE": "caller's"}).ok()
    assert {"A=file", "B=option", "MINE=caller's", "FROM=image"} <= set(done.stdout.splitlines())


def test_the_file_with_the_id(run, tmp_path):
    path = tmp_path / "id"
    name = shell(run, "hostname", "--cidfile", str(path), "--network", "none").strip()
    assert len(path.read_text()) == 64
    assert path.read_text().startswith(name)
    done = run("--cidfile", str(path), "tools:1", "true")
    assert done.code == 125
    assert f"the container ID file {path} exists" in done.stderr
    path.unlink()
    assert run("--cidfile", str(path), "--cap-add", "foo", "tools:1", "true").code == 125
    assert not path.exists()


def test_labels_are_in_the_state(tools_store):
    words = ("--label", "a=b", "-l", "c", "-i", "tools:1", "sh", "-c", "echo ready; cat")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with begin(tools_store, *words, **pipes) as running:
        assert running.stdout.readline() == "ready\n"
        states = (tools_store / "containers").glob("*/container.json")
        assert {"a": "b", "c": ""} in [json.loads(path.read_text())["labels"] for path in states]
        running.stdin.close()


def test_the_platform_of_an_image_that_is_another_one(run):
    done = run("--pull", "never", "--platform", "linux/s390x", "tools:1", "true")
    assert done.code == 125
    assert "wanted linux/s390x, actual" in done.stderr


# -- refusals ------------------------------------------------------------------------------


def test_a_name_that_is_in_use(run, tools_store):
    words = ("--name", "first", "-i", "tools:1", "sh", "-c", "echo ready; cat")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with begin(tools_store, *words, **pipes) as running:
        assert running.stdout.readline() == "ready\n"
        done = run("--name", "first", "tools:1", "true")
        assert done.code == 125
        assert 'the container name "first" is already in use by' in done.stderr
        running.stdin.close()
    assert running.returncode == 0
    run("--name", "first", "tools:1", "true").ok()


def test_a_name_of_one_that_was_killed_is_free(run, tools_store):
    words = ("--name", "killed", "-i", "tools:1", "sh", "-c", "echo ready; cat")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with begin(tools_store, *words, **pipes) as running:
        assert running.stdout.readline() == "ready\n"
        running.kill()
    run("--name", "killed", "tools:1", "true").ok()


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (125, ("127.0.0.1:1/none:1", "true"), "127.0.0.1:1"),
        (127, ("tools:1", "nowhere"), "executable file not found in $PATH"),
        (127, ("tools:1", "/no/where"), "no such file or directory"),
        (126, ("tools:1", "/etc/passwd"), "permission denied"),
        (126, ("tools:1", "x" * 130_000), "file name too long"),
        (125, ("--net", "mine", "tools:1", "true"), "--network mine is not supported"),
        (125, ("-u", "nobody-here", "tools:1", "true"), "nobody-here"),
        (
            125,
            ("-w", "relative", "tools:1", "true"),
            "'relative' is invalid, it needs to be an absolute path",
        ),
        (125, ("-v", "named:/data", "tools:1", "true"), "named volumes"),
        (125, ("-v", "/no/where:/data", "tools:1", "true"), "/no/where: no such file or directory"),
        (125, ("-v", "/:/", "tools:1", "true"), "destination can't be '/'"),
        (125, ("--tmpfs", "data", "tools:1", "true"), "must be absolute"),
        (125, ("--name", "!", "tools:1", "true"), "invalid container name"),
        (125, ("-e", "=x", "tools:1", "true"), "invalid environment variable"),
        (125, ("-p", "80:80", "tools:1"), "-p is not supported: ports cannot be published"),
        (125, ("--detach", "tools:1"), "--detach is not supported: containers run in the fore"),
        (125, ("-dit", "tools:1"), "-d is not supported"),
        (125, ("--stop-signal", "TERM", "tools:1"), "--stop-signal is not supported"),
        (125, ("--privileged", "tools:1", "true"), "--privileged is not supported"),
        (125, ("--bogus", "tools:1"), "unknown flag: --bogus"),
        (125, ("--read-only=maybe", "tools:1"), "expected 'true' or 'false'"),
        (125, ("--shm-size", "x", "tools:1", "true"), "invalid size 'x'"),
        (125, ("--label", "=c", "tools:1", "true"), "the name is empty"),
        (125, ("--pull", "often", "tools:1", "true"), "invalid pull option: 'often'"),
        (125, ("--pull", "never", "none:1", "true"), "no such image: none:1"),
        (125, ("127.0.0.1:1/none:1", "true"), "pulling 127.0.0.1:1/none:1: GET http"),
        (125, ("--platform", "bogus/", "tools:1", "true"), "invalid platform 'bogus/'"),
        (125, ("--ulimit", "bogus=1", "tools:1", "true"), "invalid ulimit type: bogus"),
        (125, ("--cap-add", "foo", "tools:1", "true"), "unknown capability: 'foo'"),
        (125, ("--security-opt", "bogus", "tools:1", "true"), "bogus is not supported"),
        (125, ("--add-host", "a", "tools:1", "true"), "invalid host 'a'"),
        (125, ("--dns", "a", "tools:1", "true"), "invalid IP address: 'a'"),
        (125, ("--env-file", "/no/where", "tools:1", "true"), "/no/where"),
        (125, ("--mount", "type=bind", "tools:1", "true"), "target is required"),
        (125, ("--group-add", "nobodys", "tools:1", "true"), "unable to find group nobodys"),
        (125, (), "missing argument 'IMAGE'"),
    ],
)
def test_refusals(run, code, words, said):
    done = run(*words)
    assert done.code == code, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_container_that_is_to_be_kept(run_cli, tools_store):
    done = run_cli("run", "tools:1", "true", root=tools_store)
    assert done.code == 125
    assert "hint: add --rm" in done.stderr


def test_an_image_without_a_command(run_cli, store_root, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    run_cli("build", "-t", "bare:1", tmp_path, root=store_root).ok()
    done = run_cli("run", "--rm", "bare:1", root=store_root)
    assert done.code == 125
    assert "no command specified, and the image has none" in done.stderr
    config = json.loads(run_cli("inspect", "bare:1", root=store_root).ok().stdout)[0]["Config"]
    assert (config["Cmd"], config["Entrypoint"]) == (None, None)


# -- platforms -----------------------------------------------------------------------------


def test_the_platform_that_the_image_has(run):
    here = str(this_platform())
    done = run("--platform", here, "tools:1", "true").ok()
    assert done.stderr == ""


def test_another_platform_than_the_image_has_is_not_run(run, run_cli, tools_store):
    """As docker: the image of the store is not taken, and its registry is asked."""
    name, other = "127.0.0.1:9/app:1", "linux/s390x"
    run_cli("tag", "tools:1", name, root=tools_store).ok()
    done = run("--platform", other, name, "true")
    assert (done.code, done.stdout) == (125, "")
    assert f"Unable to find image '{name}' for {other} locally" in done.stderr
    run_cli("rmi", name, root=tools_store).ok()


def test_an_unknown_platform(run):
    done = run("--platform", "bogus", "tools:1", "true")
    assert (done.code, done.stdout) == (125, "")
    assert "invalid platform 'bogus': unknown operating system or architecture" in done.stderr
