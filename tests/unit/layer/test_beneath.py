"""Trees of any depth: measured and removed with few descriptors."""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocitool.layer.beneath import Descent, remove_tree, walk

DEEP = 1100  # levels: deeper than Python calls itself


def make_deep(top: Path, levels: int = DEEP) -> None:
    """Make directories in each other, with a file in each."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)  # a path cannot say it
        os.close(fd)
        fd = below
    os.close(fd)


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Let this process open a few more descriptors, and no others."""
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 6, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_a_deep_tree_is_measured_and_removed(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    make_deep(top)
    with few_descriptors():
        states = list(walk(str(top)))
        assert sum(stat.S_ISDIR(each.st_mode) for each in states) == DEEP
        assert len(states) == 2 * DEEP
        remove_tree(str(top))
    assert os.listdir(tmp_path) == []


def test_no_link_is_followed_and_no_mode_keeps_a_directory(tmp_path):
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    top = tmp_path / "top"
    (top / "closed/inner").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "closed/inner/link").symlink_to(outside / "d")
    assert len(list(walk(str(top)))) == 4
    (top / "closed/inner").chmod(0)
    (top / "closed").chmod(0o500)
    remove_tree(str(top))
    assert os.listdir(tmp_path) == ["outside"] and os.listdir(outside) == ["d"]


def test_a_directory_that_is_moved_leads_nowhere_else(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    descent = Descent(os.open(tmp_path / "a", os.O_RDONLY))
    descent.enter(os.open("b", os.O_RDONLY, dir_fd=descent.fd))
    (tmp_path / "a/b").rename(tmp_path / "other/b")
    with pytest.raises(FileNotFoundError):
        descent.leave()
    descent.close()


@pytest.mark.slow
def test_several_remove_one_tree_at_once(tmp_path):
    top = tmp_path / "top"
    for one in range(10):
        for two in range(10):
            (top / f"{one}/{two}/x/y").mkdir(parents=True)
            (top / f"{one}/{two}/f").touch()
    failed: list[BaseException] = []

    def remove() -> None:
        try:
            remove_tree(str(top))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == [] and os.listdir(tmp_path) == []
