"""Files in memory and sockets of a sandbox: who may read them, and what they leave behind."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import Mount, Stdio, get_isolation
from ocitool_runtime.errors import StepRefused

READ_ONLY = ("ro", "nosuid", "noexec")
HOST = tuple(
    Mount(type="bind", source=path, target=path, options=("ro",))
    for path in ("/usr", "/lib", "/lib64", os.path.dirname(os.path.realpath(sys.executable)))
    if os.path.isdir(path)
)


def file(target: str, content: bytes = b"content\n", *options: str) -> Mount:
    return Mount(type="file", target=target, content=content, options=(*READ_ONLY, *options))


def left(ran) -> list[str]:
    """Return what a run has left in the writable layer, except /etc, where files are mounted."""
    found = sorted(str(path.relative_to(ran.upper)) for path in ran.upper.rglob("*"))
    return [name for name in found if name != "etc"]


def test_a_file_has_content_owner_and_mode_and_leaves_nothing(run):
    ran = run(
        "cat /run/secrets/a; stat -c '%a %u %g %s' /run/secrets/a /etc/b",
        mounts=(file("/run/secrets/a"), file("/etc/b", b"", "mode=0640", "uid=7", "gid=8")),
    )
    assert ran.ok() == "content\n600 0 0 8\n640 7 8 0\n"
    assert left(ran) == []


def test_a_file_covers_one_of_the_image(run, image):
    ran = run("cat /etc/passwd", mounts=(file("/etc/passwd"),))
    assert ran.ok() == "content\n" and left(ran) == []


@pytest.mark.slow
def test_a_file_can_be_read_by_whom_its_mode_says(run):
    mounts = (file("/a", b"a", "mode=0400", "uid=7"), file("/b", b"b", "mode=0400"))
    assert run("cat /a", user="ann", mounts=mounts).ok() == "a"
    refused = run("cat /b", user="ann", mounts=mounts)
    assert refused.code == 1 and "denied" in refused.err and refused.out == ""


def test_a_file_cannot_be_changed_or_removed(run):
    script = (
        "for tried in 'echo x > /s/a' 'rm /s/a' 'chmod 777 /s/a' 'ln -f /bin/sh /s/a'; do"
        '  sh -c "$tried" 2>/dev/null && echo "$tried"; done; cat /s/a'
    )
    assert run(script, mounts=(file("/s/a"),)).ok() == "content\n"


def test_a_file_on_a_tmpfs_and_one_below_another_mount(run):
    tmpfs = Mount(type="tmpfs", target="/t")
    assert run("cat /t/x/a", mounts=(tmpfs, file("/t/x/a"))).ok() == "content\n"


@pytest.mark.slow
def test_a_link_of_the_image_leads_to_the_images_own_file(run):
    script = "mkdir /real && ln -s /real /link"
    assert run(script).ok() == ""
    ran = run("cat /real/etc/a", mounts=(file("/link/etc/a"),))  # the same writable layer
    assert ran.ok() == "content\n" and left(ran) == ["link", "real"]


def test_a_file_that_cannot_be_mounted_is_an_error_without_its_content(run):
    with pytest.raises(StepRefused, match="mount volumes") as caught:
        run("true", mounts=(file("/bin", b"topsecret"),))
    assert "topsecret" not in f"{caught.value}{caught.value.hint}"
    assert "topsecret" not in repr(file("/bin", b"topsecret"))


def test_a_mount_point_that_cannot_be_made_is_named_whole(run, tmp_path):
    volume = Mount(type="bind", source=str(tmp_path), target="/v", options=("ro",))
    with pytest.raises(StepRefused, match=r"/v/x/y: Read-only file system") as caught:
        run("true", mounts=(volume, file("/v/x/y")))
    assert "read-only and lacks this mount point" in caught.value.hint


@pytest.mark.parametrize("option", ["size=1", "mode=9", "uid=root", "suid=1", "subpath=/x"])
def test_unknown_options_are_refused(run, option):
    with pytest.raises(SandboxError, match="unknown option"):
        run("true", mounts=(file("/a", b"", option),))


def test_only_a_socket_has_a_descriptor(run):
    for wrong in (Mount(type="socket", target="/a"), Mount(type="file", target="/a", socket=0)):
        with pytest.raises(SandboxError, match="needs a descriptor"):
            run("true", mounts=(wrong,))


# -- sockets -----------------------------------------------------------------------------------

CLIENT = """
import os, socket, stat
state = os.stat("/run/agent")
with socket.socket(socket.AF_UNIX) as end:
    end.connect("/run/agent")
    end.sendall(b"question")
    print(stat.S_ISSOCK(state.st_mode), oct(state.st_mode & 0o777), state.st_uid, end.recv(100))
"""


def ask(make, user: str = "", *options: str) -> tuple[int, str]:
    """Run the client with an answering socket; return its exit code and what it printed."""
    python = os.path.realpath(sys.executable)
    with socket.socket(socket.AF_UNIX) as server, tempfile.TemporaryFile("w+") as out:
        mount = Mount(type="socket", target="/run/agent", socket=server.fileno(), options=options)
        sandbox = make((python, "-I", "-S", "-c", CLIENT), user=user, mounts=(*HOST, mount))
        process = get_isolation().start(sandbox, Stdio(stdout=out.fileno(), stderr=out.fileno()))

        def serve() -> None:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                if client.recv(100) == b"question":
                    client.sendall(b"answer")

        thread = threading.Thread(target=serve)
        thread.start()
        code = process.wait(60).code
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        out.seek(0)
        return code, out.read()


@pytest.mark.slow
def test_a_socket_is_served_by_the_caller(make, scratch):
    assert ask(make) == (0, "True 0o600 0 b'answer'\n")
    assert not list((scratch / "upper").rglob("agent"))


@pytest.mark.slow
def test_a_socket_has_an_owner_and_a_mode(make):
    assert ask(make, "ann", "uid=7", "mode=0600") == (0, "True 0o600 7 b'answer'\n")
    code, text = ask(make, "ann", "mode=0600")
    assert code == 1 and "PermissionError" in text
