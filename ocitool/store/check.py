"""Proving that a store is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ocitool.errors import OcitoolError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, parse_any
from ocitool.progress import SILENT, ProgressSink, Transfer
from ocitool.store.gc import layers_of
from ocitool.store.layer import layer_names
from ocitool.store.refs import name_of
from ocitool.store.store import Store

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
        if _digest_of(store, digest) != digest:
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
    for driver, chain in store.database.rows("SELECT driver, chain FROM layers"):
        place = f"{store.layout.drivers}/{driver}/layers/{chain}"
        if not os.path.isdir(place):
            yield Problem(
                what=f"layer {chain[:12]} of driver {driver} has lost its directory",
                remedy="run `ocitool system prune -a`; it is unpacked again when needed",
            )


def _again(name: str) -> str:
    return f"run `ocitool pull {name}`, or build it again"
