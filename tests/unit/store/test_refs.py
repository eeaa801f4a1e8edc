"""Names: one file that every reader of OCI layouts understands, changed by one rename."""

from __future__ import annotations

import json
import os

import pytest

from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor
from ocitool.oci.mediatypes import OCI_MANIFEST
from ocitool.store.refs import name_of
from tests.fixtures.stores import files_below, finish, start


def target(text):
    data = text.encode()
    return Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(data), size=len(data))


def names(store):
    return [(name_of(entry), entry.digest) for entry in store.refs.all()]


ONE, TWO = target("one"), target("two")


def test_a_name_points_to_one_image(store):
    assert store.refs.all() == ()
    store.refs.set("r/a:1", ONE)
    store.refs.set("r/b:1", ONE)
    assert store.refs.get("r/a:1").digest == ONE.digest
    assert store.refs.get("r/c:1") is None
    assert names(store) == [("r/a:1", ONE.digest), ("r/b:1", ONE.digest)]


def test_another_name_is_given_only_to_what_has_one(store):
    store.refs.set("r/a:1", ONE)
    assert store.refs.alias("r/b:1", ONE)
    assert names(store) == [("r/a:1", ONE.digest), ("r/b:1", ONE.digest)]
    assert not store.refs.alias("r/c:1", TWO)
    store.refs.drop([ONE.digest])
    assert not store.refs.alias("r/b:1", ONE)
    assert names(store) == []


def test_a_tag_that_moves_leaves_an_image_without_a_name(store):
    store.refs.set("r/a:1", ONE)
    store.refs.set("r/a:1", TWO)
    assert names(store) == [("", ONE.digest), ("r/a:1", TWO.digest)]
    store.refs.set("r/a:1", ONE)  # and back: what has a name again is not listed twice
    assert names(store) == [("", TWO.digest), ("r/a:1", ONE.digest)]


def test_an_image_keeps_its_other_name(store):
    store.refs.set("r/a:1", ONE)
    store.refs.set("r/b:1", ONE)
    store.refs.set("r/a:1", TWO)
    assert names(store) == [("r/b:1", ONE.digest), ("r/a:1", TWO.digest)]


def test_an_image_may_come_without_a_name(store):
    store.refs.set("", ONE)
    store.refs.set("", ONE)
    assert names(store) == [("", ONE.digest)]
    store.refs.set("r/a:1", ONE)
    store.refs.set("", ONE)
    assert names(store) == [("r/a:1", ONE.digest)]


def test_names_are_removed(store):
    store.refs.set("r/a:1", ONE)
    store.refs.set("r/b:1", ONE)
    store.refs.set("r/c:1", TWO)
    assert store.refs.remove("r/a:1")
    assert not store.refs.remove("r/a:1")
    store.refs.drop((TWO.digest,))
    assert names(store) == [("r/b:1", ONE.digest)]


def test_the_file_is_that_of_the_image_layout(store):
    store.refs.set("example.org/a:1", ONE)
    with open(f"{store.layout.oci}/index.json", "rb") as file:
        index = json.load(file)
    assert index["schemaVersion"] == 2
    (entry,) = index["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "example.org/a:1"
    assert (entry["digest"], entry["size"]) == (str(ONE.digest), ONE.size)
    with open(f"{store.layout.oci}/oci-layout", "rb") as file:
        assert json.load(file) == {"imageLayoutVersion": "1.0.0"}


@pytest.mark.parametrize("corruption", [b"", b"{", b"[]", b'{"manifests": 1}', b"\xff"])
def test_a_corrupt_file_is_reported_and_kept(store, corruption):
    store.refs.set("r/a:1", ONE)
    path = f"{store.layout.oci}/index.json"
    with open(path, "wb") as file:
        file.write(corruption)
    with pytest.raises(StoreError) as caught:
        store.refs.set("r/b:1", ONE)
    assert caught.value.where == path
    assert caught.value.hint
    with open(path, "rb") as file:
        assert file.read() == corruption


def foreign(store, *entries, **fields):
    """Write the file as another tool does: JSON on one line, its fields in another order."""
    index = {"manifests": list(entries), "schemaVersion": 2, **fields}
    with open(f"{store.layout.oci}/index.json", "w") as file:
        json.dump(index, file)


def test_entries_of_another_tool_are_images_as_any_other(store):
    note = {"org.opencontainers.image.ref.name": "r/b:1", "mine": 'a "digest":"x", too'}
    foreign(
        store,
        {"size": ONE.size, "digest": str(ONE.digest), "mediaType": OCI_MANIFEST},
        {
            **TWO.to_json(),
            "annotations": note,
            "platform": {"os": "linux", "architecture": "s390x"},
        },
    )
    assert names(store) == [("", ONE.digest), ("r/b:1", TWO.digest)]
    assert store.refs.names() == [("", str(ONE.digest)), ("r/b:1", str(TWO.digest))]
    store.refs.set("r/a:1", ONE)
    assert names(store) == [("r/b:1", TWO.digest), ("r/a:1", ONE.digest)]
    kept = store.refs.get("r/b:1")
    assert kept.annotations == note  # what we did not write stays
    assert str(kept.platform) == "linux/s390x"
    assert store.refs.pointing(TWO.digest) == (kept,)


def test_a_look_up_parses_the_entry_that_it_finds_and_no_other(store):
    store.refs.set("r/a:1", ONE)
    store.refs.set("r/b:1", TWO)
    path = f"{store.layout.oci}/index.json"
    with open(path, "rb") as file:
        raw = file.read()
    with open(path, "wb") as file:
        file.write(raw.replace(str(ONE.digest).encode(), b"sha256:" + b"z" * 64))
    assert store.refs.get("r/b:1").digest == TWO.digest
    assert store.refs.beginning("r/b:") == store.refs.pointing(TWO.digest)
    with pytest.raises(StoreError, match=r"index\.json is corrupt"):
        store.refs.all()
    with pytest.raises(StoreError, match=r"index\.json is corrupt"):
        store.refs.get("r/a:1")


def test_a_name_is_found_by_all_of_it(store):
    for name in ("r/a:1", "r/a:11", 'r/quote"d:1', "r/ü:1"):
        store.refs.set(name, target(name))
    for name in ("r/a:1", "r/a:11", 'r/quote"d:1', "r/ü:1"):
        assert store.refs.get(name).digest == target(name).digest
    assert [name for name, _ in store.refs.names()] == ["r/a:1", "r/a:11", 'r/quote"d:1', "r/ü:1"]
    assert store.refs.get("r/a") is None
    assert len(store.refs.beginning("r/a:1")) == 2
    assert store.refs.remove("r/a:1")
    assert store.refs.get("r/a:11") is not None


@pytest.mark.slow
def test_an_index_may_be_larger_than_a_manifest(store):
    """A registry's index has at most 4 MiB; that of a layout grows with every image."""
    path = f"{store.layout.oci}/index.json"
    wide = {"note": "x" * 3000}
    entries = [target(str(at)).annotated(**wide).to_json() for at in range(1500)]
    foreign(store, *entries)
    assert os.stat(path).st_size > MANIFEST_LIMIT
    store.refs.set("r/a:1", ONE)
    assert os.stat(path).st_size > MANIFEST_LIMIT
    assert len(store.refs.all()) == 1501


SET_NAMES = """
import sys
from ocitool import Store
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
with Store.open(sys.argv[1]) as store:
    for at in range(20):
        name = f"r/{sys.argv[2]}:{at}"
        digest = Digest.of(name.encode())
        store.refs.set(name, Descriptor(media_type="x/y", digest=digest, size=1))
        if at % 2:
            store.refs.remove(name)
"""


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(store):
    finish(*[start(SET_NAMES, store.layout.root, str(at)) for at in range(5)])
    wanted = {f"r/{who}:{at}" for who in range(5) for at in range(0, 20, 2)}
    assert {name for name, _ in names(store)} == wanted
    assert files_below(store.layout.locks) == []


def test_a_killed_writer_leaves_nothing_for_long(store):
    store.refs.set("r/a:1", ONE)
    dead = f"{store.layout.oci}/index.json.0badc0de.tmp"
    with open(dead, "w") as file:
        file.write("half")
    store.sweep()
    assert not os.path.exists(dead)
    assert names(store) == [("r/a:1", ONE.digest)]


def test_the_file_of_a_living_writer_is_spared(store):
    import fcntl

    living = f"{store.layout.indexes}/0.tmp"
    with open(living, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store.sweep()
        assert os.path.exists(living)
    store.sweep()
    assert not os.path.exists(living)
