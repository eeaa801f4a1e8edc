"""Programs that open their own streams again, as /dev/stdout: another user than the caller's."""

from __future__ import annotations

import os
import pty
import socket
import stat

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import get_isolation, run_foreground

BOTH = "echo out >/dev/stdout; echo err >/dev/stderr; echo more >> /proc/self/fd/1"
USERS = ["", "ann", "65534:65534"]


@pytest.fixture
def foreground(make):
    """Return a function that runs a script in the foreground on these descriptors."""

    def foreground(script, user, stdin=None, **streams):
        words = {"stdin": 0 if stdin is None else stdin, "interactive": stdin is not None}
        return run_foreground(get_isolation(), make(script, user=user), **words, **streams)

    return foreground


@pytest.fixture
def file(tmp_path):
    """Open a file that the caller alone may open."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("user", USERS)
def test_of_a_pipe(foreground, user):
    read, write = os.pipe()
    assert foreground(BOTH, user, stdout=write, stderr=write).code == 0
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "out\nerr\nmore\n"


@pytest.mark.parametrize("user", USERS)
def test_of_a_file(foreground, file, tmp_path, user):
    """It stays as it is: neither its owner nor its mode changes."""
    before = os.fstat(file)
    assert foreground("echo first; " + BOTH.replace(">/", ">>/"), user,
                      stdout=file, stderr=file).code == 0  # fmt: skip
    lines = (tmp_path / "file").read_text().split()
    assert sorted(lines) == ["err", "first", "more", "out"]
    after = os.fstat(file)
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


@pytest.mark.parametrize("user", USERS)
def test_of_a_socket(foreground, user):
    """A service that systemd starts has such: nobody can open it, not even root."""
    ours, theirs = socket.socketpair()
    fd = theirs.fileno()
    assert foreground(BOTH, user, stdout=fd, stderr=fd).code == 0
    theirs.close()
    with ours.makefile() as stream:
        assert stream.read() == "out\nerr\nmore\n"
    ours.close()


@pytest.mark.parametrize("user", USERS)
def test_of_a_terminal(foreground, user):
    outer, inner = pty.openpty()
    os.set_blocking(inner, False)  # as other programs leave terminals
    assert foreground(BOTH, user, stdout=inner, stderr=inner).code == 0
    assert os.read(outer, 100) == b"out\r\nerr\r\nmore\r\n"
    assert stat.S_IMODE(os.fstat(inner).st_mode) & stat.S_IWOTH == 0
    os.close(inner)
    os.close(outer)


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
def test_of_stdin(foreground, file, user):
    os.write(file, b"given\n")
    os.lseek(file, 0, os.SEEK_SET)
    read, write = os.pipe()
    assert foreground("cat /dev/stdin", user, stdin=file, stdout=write, stderr=write).code == 0
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "given\n"
    assert foreground("exit 0 </dev/null", user, stdin=file, stdout=2).code == 0


@pytest.mark.slow
def test_much_output_is_whole_when_the_program_ends(foreground, file, tmp_path):
    script = "head -c 3000000 /dev/zero; sleep 1000 & exit 3"
    assert foreground(script, "ann", stdout=file, stderr=file).code == 3
    assert (tmp_path / "file").stat().st_size == 3_000_000


def test_a_program_learns_that_the_reader_is_gone(foreground, file):
    """By SIGPIPE, which PID 1 ignores, and EPIPE."""
    ours, theirs = socket.socketpair()
    ours.close()
    ended = foreground("while echo y; do :; done", "ann", stdout=theirs.fileno(), stderr=file)
    assert ended.code == 0  # the loop has ended
    theirs.close()


def test_output_that_cannot_be_written_is_an_error(foreground, file):
    readonly = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    with pytest.raises(SandboxError, match="cannot write the output of the program: Bad file"):
        foreground("while echo y; do :; done", "ann", stdout=readonly, stderr=file)
    os.close(readonly)
