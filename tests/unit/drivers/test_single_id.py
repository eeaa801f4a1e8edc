"""Drivers that keep owners in xattrs: their names, who has them, and what they cannot keep."""

from __future__ import annotations

import os
import struct

import pytest

from ocitool.drivers import select
from ocitool.drivers.conformance.layers import file, tar
from ocitool.drivers.rootless import single_id
from ocitool.errors import DriverUnavailable, LayerError

pytestmark = pytest.mark.slow


def test_the_name_says_it():
    assert single_id.named("overlay") == "overlay.aside"
    assert single_id.named("overlay.aside") == "overlay.aside"
    assert single_id.plugin("overlay.aside") == single_id.plugin("overlay") == "overlay"
    assert single_id.is_aside("vfs.aside")
    assert not single_id.is_aside("vfs")


def test_who_has_ids_may_not_choose_it(tmp_path):
    if single_id.reason():
        pytest.skip(single_id.reason())
    with pytest.raises(DriverUnavailable, match="for users with a single ID") as caught:
        select.choose(str(tmp_path), "vfs.aside")
    assert caught.value.hint == "use --driver vfs"


def test_who_has_none_gets_it_for_every_name(tmp_path, monkeypatch, user_namespaces):
    monkeypatch.setattr(single_id, "reason", lambda: "there are no ranges")
    choice = select.choose(str(tmp_path), "vfs")
    assert choice.name == "vfs.aside"
    assert "extended attributes: there are no ranges" in choice.reason
    assert os.listdir(tmp_path) == ["vfs.aside"]
    assert os.listdir(tmp_path / choice.name) == []


def test_a_file_system_without_xattrs_is_the_reason(tmp_path, monkeypatch, user_namespaces):
    def refuse(*arguments, **options):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(single_id, "reason", lambda: "there are no ranges")
    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(DriverUnavailable, match="not support user extended attributes") as caught:
        select.choose(str(tmp_path), "vfs")
    assert "there are no ranges" in caught.value.message
    assert caught.value.hint == single_id.WITHOUT


def test_layers_stay_within_reach_of_who_was_given_ids(tmp_path, user_namespaces):
    """A collection makes the driver by its name, whatever this user is by then."""
    driver = select.make("vfs.aside", str(tmp_path))
    try:
        assert driver.name == "vfs.aside"
        driver.begin("t", ())
        driver.apply("t", (), tar([file("f", b"1", (33, 44))]))
        driver.commit("t", "a" * 64)
        assert os.getxattr(tmp_path / "layers" / ("a" * 64) / "fs/f", "user.ocitool.owner") == (
            b"33:44"
        )
        driver.remove("a" * 64)
        assert [*driver.layers(), *driver.trees()] == []
    finally:
        driver.close()


def test_an_access_list_of_other_ids_is_refused_by_name(tmp_path, user_namespaces):
    entries = [(1, 6, -1), (2, 4, 33), (4, 4, -1), (16, 6, -1), (32, 4, -1)]  # tag, bits, id
    rows = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    listed = file("f", b"", (7, 7), xattrs={"system.posix_acl_access": struct.pack("<I", 2) + rows})
    driver = select.make("vfs.aside", str(tmp_path))
    try:
        driver.begin("t", ())
        with pytest.raises(LayerError, match="its ACL contains IDs") as caught:
            driver.apply("t", (), tar([listed]))
        assert caught.value.where == "f"
        driver.discard("t")
    finally:
        driver.close()
