"""Checking a store: nothing is changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator

from ocitool.errors import BlobNotFound, OcitoolError, StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, parse_any
from ocitool.oci.mediatypes import CONFIGS
from ocitool.progress import SILENT, ProgressSink, Transfer
from ocitool.store.database.database import CORRUPT
from ocitool.store.directory.layout import Layout
from ocitool.store.layer_content import Layer, chain_ids
from ocitool.store.maintenance.check.blobs import verify_tars
from ocitool.store.maintenance.check.database import add_rows
from ocitool.store.maintenance.check.layers import check_layers
from ocitool.store.maintenance.check.mounts import leaked_mounts
from ocitool.store.maintenance.check.problems import (
    REPAIR,
    BadBlob,
    BadDatabase,
    BadLayoutFile,
    Problem,
)
from ocitool.store.maintenance.mark import Inventory, documents, layers_of, take_inventory
from ocitool.store.refs import name_of
from ocitool.store.store import Store


def check(store: Store, progress: ProgressSink = SILENT) -> Iterator[Problem]:
    """Yield the problems of a store.

    Every blob is hashed, every name is followed, every unpacked layer and every index is compared
    with its tar, the rows of the database are compared with the blobs, and orphaned mounts are
    looked for.  What seems wrong is checked again under a lock, since other processes may be
    changing the store.
    """
    inventory: Inventory | None = None
    try:
        inventory = take_inventory(store)
    except StoreError as error:
        yield Problem(what=str(error), remedy=error.hint)
    yield from _layout(store.layout)
    known = inventory or Inventory()
    corruption = _corruption_of_database(store)
    if corruption:
        yield Problem(
            what=f"the database is corrupt: {corruption}", remedy=REPAIR, fault=BadDatabase()
        )
    else:
        yield from add_rows(store, known)
    bad: set[Digest] = set()
    for problem in _blobs(store, known, progress):
        yield problem
        if isinstance(problem.fault, BadBlob):
            bad.add(problem.fault.digest)
    if inventory is not None:
        yield from check_names(store, bad)
    verified: dict[Digest, Layer] = {}
    yield from verify_tars(store, known, bad, verified)
    if not corruption:
        yield from check_layers(store, verified, progress)
    yield from leaked_mounts(store.layout)


def check_names(store: Store, reported: Container[Digest]) -> Iterator[Problem]:
    """Follow every name, and compare the sizes of its blobs; those *reported* are skipped."""
    found = list(_names(store, reported))
    if found:
        with contextlib.ExitStack() as held:
            # A name is removed before its blobs, and added after them: while no name can change,
            # no blob of a name can be missing.
            with contextlib.suppress(StoreError):  # a read-only store does not change
                held.enter_context(store.layout.lock("refs"))
            found = list(_names(store, reported))
    yield from found


def _names(store: Store, reported: Container[Digest]) -> Iterator[Problem]:
    for entry in store.refs.all():
        for part in documents(store, entry):
            # The other platforms need not be here.
            if part is entry or store.blobs.size(part.digest) is not None:
                yield from _image(store, part, name_of(entry), reported)


def _layout(layout: Layout) -> Iterator[Problem]:
    if not os.path.exists(layout.index):
        yield Problem(
            what="oci/index.json is missing: no image has a name any more",
            remedy="restore a copy of it, or pull and build the images again; do not prune before",
        )
    if not layout.is_image_layout():
        yield Problem(
            what=f"{layout.layout_file} is missing or corrupt: other tools see no image layout",
            remedy=REPAIR,
            fault=BadLayoutFile(),
        )


def _corruption_of_database(store: Store) -> str:
    try:
        return store.database.corruption()
    except StoreError as error:  # it cannot even be opened
        if error.hint != CORRUPT:
            raise
        return error.message


def _blobs(store: Store, inventory: Inventory, progress: ProgressSink) -> Iterator[Problem]:
    for digest in sorted(store.blobs.all()):
        size = store.blobs.size(digest) or 0
        step = Transfer(key=str(digest), action="check", total=size)
        progress.emit(step)
        try:
            # A corrupt blob may have been replaced while it was read.
            corrupt = store.blobs.hash(digest) != digest and store.blobs.hash(digest) != digest
        except BlobNotFound:  # removed meanwhile
            continue
        if corrupt:
            names = tuple(sorted(inventory.names.get(digest, ())))
            yield Problem(
                what=f"blob {digest} is corrupt{_of(names)}",
                remedy=f"{REPAIR}, or remove {store.blobs.path(digest)} and then {_again(names)}",
                fault=BadBlob(digest, inventory.blobs.get(digest), names),
            )
        progress.emit(Transfer(key=step.key, action="check", done=size, total=size, state="done"))


def _image(
    store: Store, entry: Descriptor, name: str, reported: Container[Digest]
) -> Iterator[Problem]:
    if entry.digest in reported:
        return
    problems = list(_part(store, entry, name, "manifest"))
    yield from problems
    if problems:
        return
    try:
        document = parse_any(store.blobs.read(entry), entry.media_type)
        if isinstance(document, Index):
            return
        parts = dict.fromkeys((document.config, *document.layers))
        unknown = [part for part in parts if part.digest not in reported]
        problems = [problem for part in unknown for problem in _part(store, part, name, "blob")]
        yield from problems
        is_image = document.config.media_type in CONFIGS  # and no artifact
        if not problems and is_image and document.config in unknown:
            chain_ids(layers_of(store, document))
    except OcitoolError as error:
        yield Problem(what=f"{_called(name, entry)}: {error}", remedy=_again((name,)))


def _part(store: Store, part: Descriptor, name: str, kind: str) -> Iterator[Problem]:
    size = store.blobs.size(part.digest)
    if size != part.size:
        state = "missing" if size is None else "of a wrong size"
        yield Problem(
            what=f"{_called(name, part)}: {kind} {part.digest} is {state}",
            remedy=f"{REPAIR}, or {_again((name,))}",
            fault=BadBlob(part.digest, part, (name,)),
        )


def _called(name: str, entry: Descriptor) -> str:
    return name or f"<none> {entry.digest.short}"


def _of(names: tuple[str, ...]) -> str:
    known = [name for name in names if name]
    return f", needed by {', '.join(known)}" if known else ""


def _again(names: tuple[str, ...]) -> str:
    named = next((name for name in names if name), "")
    return (
        f"run `ocitool pull {named}`, or build it again"
        if named
        else "pull or load the image again"
    )
