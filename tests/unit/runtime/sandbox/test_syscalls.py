"""System calls that the kernel may ask to repeat."""

from __future__ import annotations

import os
import threading

import pytest

from ocitool_runtime.sandbox import syscalls


@pytest.fixture
def renaming(tmp_path):
    """A directory next to which a file is renamed all the time."""
    (tmp_path / "top/d").mkdir(parents=True)
    (tmp_path / "a").touch()
    done = threading.Event()

    def rename():
        while not done.is_set():
            os.rename(tmp_path / "a", tmp_path / "b")
            os.rename(tmp_path / "b", tmp_path / "a")

    thread = threading.Thread(target=rename)
    thread.start()
    yield tmp_path / "top"
    done.set()
    thread.join()


def test_a_path_with_dots_is_opened_whatever_is_renamed_meanwhile(renaming):
    root = os.open(renaming, os.O_PATH)
    try:
        for _ in range(2000):
            os.close(syscalls.open_in_root(root, "d/../" * 300 + "d"))
    finally:
        os.close(root)
