"""System calls that the kernel may ask to repeat."""

from __future__ import annotations

import errno
import os

import pytest

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.syscalls import Refused


@pytest.fixture
def interrupted(monkeypatch):
    """Let so many calls fail as if something was renamed meanwhile; return those that were made."""
    real = syscalls._call
    made = []

    def interrupt(times, number=errno.EAGAIN):
        def call(name, *arguments, **options):
            made.append(name)
            if len(made) <= times:
                raise Refused(number, name, "interrupted")
            return real(name, *arguments, **options)

        monkeypatch.setattr(syscalls, "_call", call)
        return made

    return interrupt


@pytest.fixture
def root(tmp_path):
    (tmp_path / "d").mkdir()
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def test_a_path_is_opened_although_something_is_renamed_meanwhile(root, interrupted):
    made = interrupted(100)
    os.close(syscalls.open_in_root(root, "d/../d"))
    assert len(made) == 101


def test_a_path_is_not_tried_for_ever(root, interrupted):
    made = interrupted(10**6)
    with pytest.raises(Refused) as caught:
        syscalls.open_in_root(root, "d")
    assert caught.value.errno == errno.EAGAIN
    assert len(made) == 128


def test_other_errors_are_raised_at_once(root, interrupted):
    made = interrupted(1, errno.EACCES)
    with pytest.raises(Refused):
        syscalls.open_in_root(root, "d")
    assert len(made) == 1
