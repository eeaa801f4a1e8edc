"""The directory of a store: made whole, refused where it is not ours, locked among processes."""

from __future__ import annotations

import os
import signal
import stat

import pytest

from ocitool import Store
from ocitool.errors import StoreError, StoreLocked, StoreVersion
from ocitool.store.directory.atomic import write_new_file
from tests.fixtures.stores import files_below, finish, start


def opened(root):
    Store.open(str(root)).close()


def test_a_store_is_made_where_nothing_is(tmp_path):
    root = tmp_path / "a" / "store"
    opened(root)
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
    assert (root / "format").read_text() == "1\n"
    assert files_below(root) == ["format", "oci/index.json", "oci/oci-layout"]
    opened(root)


@pytest.mark.parametrize("text", [b"2\n", b"", b"\xff\xfe" * 400, b"1.5"])
def test_another_format_is_refused_and_left(tmp_path, text):
    opened(tmp_path)
    (tmp_path / "format").write_bytes(text)
    with pytest.raises(StoreVersion) as caught:
        opened(tmp_path)
    assert "newer ocitool" in caught.value.hint
    assert len(str(caught.value)) < 300
    assert (tmp_path / "format").read_bytes() == text


def test_a_directory_of_others_is_refused_and_left(tmp_path):
    (tmp_path / "precious").write_text("mine")
    before = os.stat(tmp_path).st_mode
    with pytest.raises(StoreError, match="'precious'") as caught:
        opened(tmp_path)
    assert "new directory" in caught.value.hint
    assert os.listdir(tmp_path) == ["precious"]
    assert os.stat(tmp_path).st_mode == before


@pytest.mark.parametrize("root", ["/proc/store", "{}/file", "{}/file/store"])
def test_a_root_that_cannot_be_is_reported(tmp_path, root):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        opened(root.format(tmp_path))
    assert caught.value.hint


@pytest.mark.slow
def test_a_store_of_somebody_else_is_reported(ordinary_user, store_root, run_cli):
    opened(store_root)
    done = run_cli("images", root=store_root, user=ordinary_user)
    assert (done.code, done.stdout) == (1, "")
    assert "Permission denied" in done.stderr
    assert "--root" in done.stderr
    os.chmod(store_root, 0o755)  # readable, but nothing can be written
    assert run_cli("images", "-q", root=store_root, user=ordinary_user).ok().stdout == ""
    done = run_cli("import", "-", "a:1", root=store_root, user=ordinary_user, stdin="\0" * 1024)
    assert done.code == 1
    assert "hint: use --root" in done.stderr
    assert "Traceback" not in done.stderr


OPEN = "import sys; from ocitool import Store; Store.open(sys.argv[1]).database.rows('SELECT 1')"


@pytest.mark.slow
def test_a_store_may_be_made_by_many_at_once(tmp_path):
    for at in range(3):
        root = tmp_path / str(at)
        finish(*[start(OPEN, root) for _ in range(6)])
        opened(root)


COUNT = """
import sys
from ocitool.store.directory.layout import Layout
layout = Layout(sys.argv[1])
for _ in range(40):
    with layout.lock("count"):
        with open(sys.argv[2], "r+") as file:
            number = int(file.read())
            file.seek(0)
            file.write(str(number + 1))
"""


@pytest.mark.slow
def test_a_lock_is_held_by_one(store, tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    finish(*[start(COUNT, store.layout.root, counter) for _ in range(5)])
    assert counter.read_text() == "200"
    assert files_below(store.layout.locks) == []


def test_a_lock_that_is_held_is_reported(store):
    with store.layout.lock("x"):
        with pytest.raises(StoreLocked, match="'x'"), store.layout.lock("x", patience=0):
            pass
        with store.layout.lock("y", patience=0):
            pass
    with store.layout.lock("x", patience=0):
        pass


HOLD = """
import sys
from ocitool.store.directory.layout import Layout
with Layout(sys.argv[1]).lock("x"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free(store):
    holder = start(HOLD, store.layout.root)
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreLocked), store.layout.lock("x", patience=0):
            pass
        holder.send_signal(signal.SIGKILL)
    with store.layout.lock("x", patience=0):
        pass
    assert files_below(store.layout.locks) == []


def test_a_new_file_takes_no_others_place(tmp_path):
    write_new_file(str(tmp_path / "f"), b"first")
    write_new_file(str(tmp_path / "f"), b"second")
    assert (tmp_path / "f").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["f"]
