"""Proving that a store is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ocitool.errors import BlobNotFound, OcitoolError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, parse_any
from ocitool.progress import SILENT, ProgressSink, Transfer
from ocitool.store.gc import layers_of
from ocitool.store.layer import layer_names
from ocitool.store.refs import name_of
from ocitool.store.store import Store
from ocitool.store.sweeping import made

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it should be; ``remedy`` says what mends it."""

    what: str
    remedy: str


def check(store: Store, progress: ProgressSink = SILENT) -> Iterator[Problem]:
    """Read every blob, follow every name, look at every unpacked layer; yields what is wrong."""
    yield from _blobs(store, progress)
    for entry in store.refs.all():
        yield from _image(store, entry, name_of(entry) or entry.digest.short)
    yield from _layers(store)


def _blobs(store: Store, progress: ProgressSink) -> Iterator[Problem]:
    for digest in sorted(store.blobs.all()):
        size = store.blobs.size(digest) or 0
        step = Transfer(key=str(digest), action="check", total=size)
        progress.emit(step)
        try:
            found = _digest_of(store, digest)
        except BlobNotFound:  # removed while we looked
            continue
        if found != digest:
            yield Problem(
                what=f"blob {digest} is damaged",
                remedy=f"remove {store.blobs.path(digest)} and pull or build its image again",
            )
        progress.emit(Transfer(key=step.key, action="check", done=size, total=size, state="done"))


def _digest_of(store: Store, digest: Digest) -> Digest:
    hasher = digest.hasher()
    with store.blobs.open(digest) as file:
        while data := file.read(_CHUNK):
            hasher.update(data)
    return Digest(digest.algorithm, hasher.hexdigest())


def _image(store: Store, entry: Descriptor, name: str) -> Iterator[Problem]:
    size = store.blobs.size(entry.digest)
    if size != entry.size:
        state = "missing" if size is None else "of a wrong size"
        yield Problem(what=f"{name}: manifest {entry.digest} is {state}", remedy=_again(name))
        return
    try:
        document = parse_any(store.blobs.read(entry), entry.media_type)
        if isinstance(document, Index):
            here = [m for m in document.manifests if store.blobs.size(m.digest) is not None]
            for child in here:  # the other platforms need not be here
                yield from _image(store, child, name)
            return
        for part in (document.config, *document.layers):
            size = store.blobs.size(part.digest)
            if size != part.size:
                state = "missing" if size is None else "of a wrong size"
                yield Problem(what=f"{name}: blob {part.digest} is {state}", remedy=_again(name))
                return
        layer_names(layers_of(store, document))
    except OcitoolError as error:
        yield Problem(what=f"{name}: {error}", remedy=_again(name))


def _layers(store: Store) -> Iterator[Problem]:
    rows = store.database.rows("SELECT driver, chain FROM layers ORDER BY driver, chain")
    for name in sorted({driver for driver, _ in rows}):
        with made(store.make_driver, name) as driver:
            if driver is None:
                yield Problem(
                    what=f"layers are kept by the driver {name}, which cannot be had here",
                    remedy=f"install it again, or remove {store.layout.drivers}/{name}",
                )
                continue
            lost = {chain for row, chain in rows if row == name} - set(driver.layers())
        for chain in sorted(lost):
            yield Problem(
                what=f"layer {chain[:12]} of driver {name} has lost its directory",
                remedy="run `ocitool system prune`; it is unpacked again when needed",
            )


def _again(name: str) -> str:
    return f"run `ocitool pull {name}`, or build it again"
