"""Temporary directories: those of processes that were killed are removed, and no others."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from ocitool.layer.locks import temporary_directory
from tests.fixtures.programs import python_environment

WORK = """
import os, sys, time
from ocitool.layer.locks import temporary_directory
with temporary_directory(sys.argv[1], "work-") as path:
    open(f"{path}/file", "w").close()
    os.mkdir(f"{path}/closed", 0)
    print(path, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def top(tmp_path):
    """The directory of all temporary files."""
    return tmp_path


def test_it_is_removed_afterwards(top):
    with temporary_directory(str(top), "work-") as path:
        assert os.listdir(top) == [os.path.basename(path)]
        assert os.stat(path).st_mode & 0o777 == 0o700
    assert os.listdir(top) == []


def test_that_of_a_killed_process_is_removed_by_the_next(top):
    worker = subprocess.Popen(
        [sys.executable, "-c", WORK, str(top)],
        env=python_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        left = worker.stdout.readline().rstrip()
        with temporary_directory(str(top), "work-"):
            assert os.path.isfile(f"{left}/file")  # it is in use
        worker.kill()
    assert os.path.isfile(f"{left}/file")
    with temporary_directory(str(top), "work-") as path:
        assert os.listdir(top) == [os.path.basename(path)]


def test_no_other_directory_is_removed(top):
    outside = top / "outside"
    outside.mkdir()
    (top / "work-link").symlink_to(outside)
    (top / "other").mkdir()
    (top / "work-file").write_text("")
    before = sorted(os.listdir(top))
    with temporary_directory(str(top), "work-"):
        pass
    assert sorted(os.listdir(top)) == before


def test_those_of_other_users_stay(top, root_only):
    other = top / "work-other"
    other.mkdir(mode=0o777)
    os.chown(other, 12345, 12345)
    with temporary_directory(str(top), "work-"):
        pass
    assert other.exists()


def test_a_directory_that_can_only_be_written_to(top, monkeypatch):
    """As /tmp of some machines, with mode 1733."""

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with monkeypatch.context() as patched:
        patched.setattr("ocitool.layer.locks.os.listdir", refuse)
        with temporary_directory(str(top), "work-") as path:
            assert os.path.isdir(path)
    assert os.listdir(top) == []
