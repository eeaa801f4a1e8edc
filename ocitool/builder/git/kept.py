"""The files of a commit in the build cache: a tar, as the layer of a step is one.

So they are listed, checked and pruned like the results of steps.  The time in the record is that
of the commit.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

from ocitool.errors import StoreError
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.tar.writer import TarWriter
from ocitool.oci.timestamps import SECOND, parse_time, timestamp
from ocitool.store.database.build_cache import Content, StepRecord
from ocitool.store.layer_content import reporting_corrupt_blob
from ocitool.store.store import Store

_COMPRESSION: Final = "gzip:1"  # the fastest: it is read in nearly every build
_YEAR_10000: Final = 253_402_300_800  # seconds since the epoch


def find(store: Store, content: Content) -> StepRecord | None:
    """Return the record of the files that a cache key has as *content*; None if it is not there."""
    cache, key = store.build_cache, _key(content)
    record = cache.step(key)
    if record is None or not store.blobs.claim(record.layer.blob):
        return None
    with contextlib.suppress(StoreError):  # on a full disk only the order of pruning suffers
        cache.touch(key)
    return record


def commit_time(record: StepRecord) -> int:
    """Return when the commit was made, in seconds since the epoch."""
    return parse_time(record.created) // SECOND


def restore(store: Store, record: StepRecord, directory: str) -> None:
    """Write the files into the new *directory*.

    Raises:
        StoreError: the blob is corrupt.
    """
    from ocitool.builder.context_sources.unpack import unpack

    os.mkdir(directory, 0o755)
    layer = record.layer
    with (
        reporting_corrupt_blob(store.blobs, layer),
        contextlib.closing(store.layers.open(layer)) as tar,
    ):
        unpack(tar, directory, "the build cache", lambda text: None)


def keep(store: Store, content: Content, directory: str, seconds: int) -> None:
    """Store the files in *directory*, of a commit made at *seconds* since the epoch."""
    if not 0 <= seconds < _YEAR_10000:  # which no record can say
        return

    def write(sink: Callable[[bytes], object]) -> None:
        writer = TarWriter(sink)
        for path, entry in _entries(directory):
            writer.add(entry)
            if entry.kind == Kind.FILE:
                with open(path, "rb") as file:
                    while data := file.read(CHUNK):
                        writer.content(data)
        writer.close()

    layer = store.layers.pack(write, _COMPRESSION)
    record = StepRecord(
        layer=layer,
        created=timestamp(seconds),
        chain_id=layer.diff_id.encoded,
        made=time.time(),
    )
    store.build_cache.put_step(_key(content), record)


def _key(content: Content) -> str:
    return sha256(f"files of {content.kind} {content.digest}".encode()).hexdigest()


def _entries(top: str) -> Iterator[tuple[str, Entry]]:
    """Yield paths and entries of all below *top*, and of itself; directories before what they have.

    A checkout has directories, files and symbolic links, and no hard links.
    """
    for directory, names, files in os.walk(top):
        names.sort()
        yield directory, _entry(directory, top)
        links = [name for name in names if os.path.islink(f"{directory}/{name}")]
        for name in sorted((*files, *links)):
            path = f"{directory}/{name}"
            yield path, _entry(path, top)


def _entry(path: str, top: str) -> Entry:
    found = os.lstat(path)
    name, mode = path[len(top) + 1 :], stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        return Entry(name, Kind.DIRECTORY, mode, mtime=found.st_mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        return Entry(name, Kind.SYMLINK, 0o777, mtime=found.st_mtime_ns, link=os.readlink(path))
    return Entry(name, Kind.FILE, mode, size=found.st_size, mtime=found.st_mtime_ns)
