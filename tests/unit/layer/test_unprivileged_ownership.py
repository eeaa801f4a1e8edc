"""Modes that would close a file to its owner, where no capability opens it all the same."""

from __future__ import annotations

import os
import stat

import pytest

from ocitool.layer.ownership import MODE, UnprivilegedOwnership, XattrOwnership


@pytest.fixture
def closed(tmp_path):
    """A tree with a file and directories that their owner may not open."""
    top = tmp_path / "tree"
    (top / "shut").mkdir(parents=True)
    for path, mode in ((top / "none", 0), (top / "setuid", 0o4111), (top / "open", 0o644)):
        path.write_text("content")
        path.chmod(mode)
    (top / "link").symlink_to("none")
    (top / "shut").chmod(0o555)
    top.chmod(0o500)
    try:
        os.setxattr(tmp_path, MODE, b"0")
    except OSError as error:
        pytest.skip(f"needs extended attributes of users: {error}")
    return top


def modes(top):
    names = ("none", "setuid", "open", "shut")
    return [XattrOwnership().mode(str(top / name), os.lstat(top / name)) for name in names]


def test_a_tree_is_opened_and_keeps_its_modes(closed):
    before = modes(closed)
    UnprivilegedOwnership().open_tree(str(closed))
    assert modes(closed) == before == [0, 0o4111, 0o644, 0o555]  # in every form with xattrs
    real = [stat.S_IMODE(os.lstat(closed / name).st_mode) for name in ("none", "setuid", "shut")]
    assert real == [0o600, 0o4711, 0o755]
    assert MODE not in os.listxattr(closed / "open")
    state = UnprivilegedOwnership().effective(str(closed / "shut"), os.lstat(closed / "shut"))
    assert stat.S_ISDIR(state.st_mode)
    assert (stat.S_IMODE(state.st_mode), state.st_uid) == (0o555, 0)


def test_a_record_counts_for_the_mode_that_it_was_written_with(closed):
    UnprivilegedOwnership().open_tree(str(closed))
    (closed / "none").chmod(0o640)  # by a program
    assert modes(closed)[0] == 0o640


@pytest.mark.parametrize("record", [b"", b"9", b"-1", b"17777", b"0x1"])
def test_a_malformed_record_is_none(closed, record):
    os.chmod(closed / "open", 0o600)
    os.setxattr(closed / "open", MODE, record)
    assert modes(closed)[2] == 0o600


def test_a_mode_that_is_open_removes_the_record(closed):
    owners = UnprivilegedOwnership()
    closed.chmod(0o700)
    with open(closed / "new", "wb") as file:
        owners.set_mode(file.fileno(), 0o400)
        path, state = str(closed / "new"), os.fstat(file.fileno())
        assert (stat.S_IMODE(state.st_mode), owners.mode(path, state)) == (0o600, 0o400)
        owners.set_mode(file.fileno(), 0o600)
        assert owners.mode(path, os.fstat(file.fileno())) == 0o600
