"""Whose a store is: root keeps out of the stores of other users, and says what to do instead."""

from __future__ import annotations

import os

import pytest

from ocitool import Store
from ocitool.errors import StoreError
from tests.fixtures.commands import failed
from tests.fixtures.stores import files_below

OTHER = 54_321


@pytest.fixture
def theirs(root_only, store_root):
    """The store of another user."""
    Store.open(str(store_root)).close()
    for top, directories, files in os.walk(store_root):
        for name in (".", *directories, *files):
            os.chown(f"{top}/{name}", OTHER, OTHER)
    return store_root


def opened(root):
    Store.open(str(root)).close()


@pytest.mark.slow
def test_root_does_not_use_the_store_of_another(theirs, run_cli):
    before = files_below(theirs)
    for words in (("images",), ("import", "-", "a:1"), ("system", "check"), ("registry", "serve")):
        done = run_cli(*words, root=theirs, stdin="\0" * 1024)
        failed(done, 1, f"Error: {theirs}: directory belongs to the user {OTHER}, ")
        assert f"OCITOOL_TRUSTED_OWNER={OTHER}" in done.stderr
    assert files_below(theirs) == before


def test_root_makes_no_store_in_the_directory_of_another(root_only, store_root):
    os.chown(store_root, OTHER, OTHER)
    with pytest.raises(StoreError, match="belongs to the user"):
        opened(store_root)
    assert os.listdir(store_root) == []
    opened(store_root / "own")  # what root makes is root's


@pytest.mark.slow
def test_an_owner_that_is_trusted_by_name_is_used(theirs, run_cli):
    run_cli("images", root=theirs, env={"OCITOOL_TRUSTED_OWNER": str(OTHER)}).ok()
    failed(run_cli("images", root=theirs, env={"OCITOOL_TRUSTED_OWNER": "1"}), 1, "belongs to")
    wrong = run_cli("images", root=theirs, env={"OCITOOL_TRUSTED_OWNER": "yes"})
    failed(wrong, 1, "OCITOOL_TRUSTED_OWNER: invalid user ID 'yes'")


def test_the_store_of_another_is_read_below_ones_own(theirs, tmp_path, run_cli):
    root = tmp_path / "mine"
    before = files_below(theirs)
    run_cli("images", root=root, env={"OCITOOL_SHARED_STORES": str(theirs)}).ok()
    assert files_below(theirs) == before


@pytest.mark.slow
def test_an_ordinary_user_uses_its_own_and_may_read_roots(ordinary_user, store_root, run_cli):
    opened(store_root)
    store_root.chmod(0o755)
    run_cli("images", root=store_root, user=ordinary_user).ok()
    run_cli("images", root=ordinary_user.home / "own-store", user=ordinary_user).ok()


@pytest.mark.slow
def test_a_link_of_another_is_not_followed(root_only, store_root, tmp_path, ordinary_user, run_cli):
    opened(store_root)
    link = tmp_path / "link"
    link.symlink_to(store_root)
    opened(link)
    os.lchown(link, OTHER, OTHER)
    with pytest.raises(StoreError, match="is a symbolic link of the user 54321") as caught:
        opened(link)
    assert str(store_root) in caught.value.hint


def test_a_store_that_all_may_write_to_is_refused(store_root):
    opened(store_root)
    for mode in (0o777, 0o1777, 0o702):
        store_root.chmod(mode)
        with pytest.raises(StoreError, match="writable by all users") as caught:
            opened(store_root)
        assert f"chmod o-w {store_root}" in caught.value.hint
    store_root.chmod(0o770)  # a group is chosen, and storage systems set it on volumes
    opened(store_root)


def test_an_empty_directory_that_all_may_write_to_is_closed(store_root):
    store_root.chmod(0o777)
    opened(store_root)
    assert store_root.stat().st_mode & 0o777 == 0o700
