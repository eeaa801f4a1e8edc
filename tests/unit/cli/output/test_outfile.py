"""The file that a command writes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from ocitool.cli.errors import describe
from ocitool.cli.output.outfile import archive_to
from ocitool.errors import NotFound
from ocitool.image.archive import outfile
from tests.fixtures.programs import python_environment

FORMS = ["unnamed", "named"]


@pytest.fixture(params=FORMS, autouse=True)
def form(request, monkeypatch):
    """With files that have no name until they are whole, and without."""
    if request.param == "named":
        monkeypatch.setattr(outfile, "_DESCRIPTORS", "/nowhere")
    return request.param


@pytest.mark.parametrize("before", [None, b"old"])
def test_the_file_exists_once_it_is_complete(tmp_path, before):
    path = tmp_path / "out.tar"
    if before is not None:
        path.write_bytes(before)
    with archive_to(str(path)) as write:
        write(b"new ")
        assert (path.read_bytes() if path.exists() else None) == before
        write(b"content")
    assert path.read_bytes() == b"new content"
    assert os.listdir(tmp_path) == ["out.tar"]


@pytest.mark.parametrize("replaced", [None, 0o644, 0o444])
def test_it_is_private_as_dockers(tmp_path, replaced):
    path = tmp_path / "f"
    if replaced is not None:
        path.write_bytes(b"old")
        path.chmod(replaced)
    before = os.umask(0)
    try:
        with archive_to(str(path)) as write:
            write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failure_keeps_the_old_file(tmp_path, before):
    path = tmp_path / "out.tar"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(ZeroDivisionError), archive_to(str(path)) as write:
        write(b"half")
        raise ZeroDivisionError
    assert (path.read_bytes() if path.exists() else None) == before
    assert len(os.listdir(tmp_path)) == (before is not None)


def test_a_symlink_is_kept(tmp_path):
    (tmp_path / "link").symlink_to("real")
    with archive_to(str(tmp_path / "link")) as write:
        write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"


def test_a_device_and_a_pipe_are_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with archive_to(str(tmp_path / "pipe")) as write:
        write(b"through")
    reader.join()
    assert read == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "null").symlink_to(os.devnull)
    with archive_to(str(tmp_path / "null")) as write:
        write(b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_pipe_without_a_name_is_written_to(tmp_path):
    reader, writer = os.pipe()
    (tmp_path / "link").symlink_to(f"/proc/self/fd/{writer}")  # as /dev/stdout is one
    for path in (f"/dev/fd/{writer}", str(tmp_path / "link")):
        with archive_to(path) as write:
            write(b"through")
        assert os.read(reader, 100) == b"through"
    os.close(reader)
    os.close(writer)


def test_a_failed_rename_leaves_nothing(tmp_path, monkeypatch):
    """A file that is mounted over, or another's in a sticky directory."""
    (tmp_path / "out").write_bytes(b"old")

    def refuse(source, target):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(os, "rename", refuse)
    with (
        pytest.raises(NotFound, match="cannot write the archive: Device or resource busy"),
        archive_to(str(tmp_path / "out")) as write,
    ):
        write(b"new")
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["no/where", ".", "nowhere/"])
def test_a_failure_to_write_is_reported(tmp_path, name):
    with (
        pytest.raises(NotFound, match="cannot write the archive"),
        archive_to(f"{tmp_path}/{name}"),
    ):
        pass
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_leaves_nothing(tmp_path, form):
    if form == "named":
        pytest.skip("where files need names, one is left")
    code = (
        "import os, signal, sys\n"
        "from ocitool.cli.output.outfile import archive_to\n"
        "with archive_to(sys.argv[1]) as write:\n"
        "    write(b'x' * 100000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    assert subprocess.run(command, env=python_environment(), check=False).returncode == -9
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_reported_once():
    with pytest.raises(NotFound) as caught, archive_to("/dev/full") as write:
        write(b"x")
    text = describe(caught.value)
    assert text == "Error: /dev/full: cannot write the archive: No space left on device\n"
