"""Unpacked layers: made from blobs on demand, or from a snapshot that a build step has changed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ocitool.errors import BlobNotFound, LayerError, OcitoolError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import layer_type
from ocitool.progress import SILENT, Notice, ProgressSink, TransferCounter
from ocitool.store.blobs import Blobs
from ocitool.store.database.records import BlobRecords, LayerRecords
from ocitool.store.directory.atomic import sync_file_system, write_file
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.layout import Layout, boot_id
from ocitool.store.directory.leases import Lease
from ocitool.store.layer_content import (
    Layer,
    chain_ids,
    open_plain,
    reporting_corrupt_blob,
    verified,
)

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver
    from ocitool.layer.index.index import LayerIndex
    from ocitool.oci.content import Stream
    from ocitool.store.additional_stores import SharedStore
    from ocitool_runtime.spec import Mount

# Imports of what reads and writes tars are local: starting a container does not need them.

_SETTLED: Final = 600.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An active (writable) snapshot on top of layers; ``mounts`` are outermost first."""

    key: str
    parents: tuple[str, ...]  # chain IDs, lowest first
    mounts: tuple[Mount, ...]


class Layers:
    """The layers of one store, kept by one driver."""

    def __init__(
        self,
        layout: Layout,
        records: LayerRecords,
        blob_records: BlobRecords,
        blobs: Blobs,
        lease: Callable[[], Lease],
        driver: Callable[[], Driver],
        shared: Sequence[SharedStore],
    ) -> None:
        self._layout = layout
        self._records = records
        self._blob_records = blob_records
        self._blobs = blobs
        self._lease = lease
        self._get_driver = driver
        self._shared = shared
        self.unpacked: dict[str, Layer] = {}  # by this process, under their chain IDs
        self.indexed: set[Digest] = set()  # diff IDs, likewise

    @property
    def driver(self) -> Driver:
        """The driver, which is chosen and probed when it is first needed."""
        return self._get_driver()

    # -- content ----------------------------------------------------------------------------

    def open(self, layer: Layer) -> Stream:
        """Open the plain tar of a layer; its end raises `DigestMismatch` if it is corrupt."""
        with contextlib.suppress(BlobNotFound):  # only some drivers keep it
            return verified(self._blobs.open(layer.diff_id), layer)
        return open_plain(self._blobs, layer)

    def index(self, layer: Layer) -> LayerIndex:
        """Return the index of a layer, which is made from its blob once and kept."""
        from ocitool.layer.compression.parallel import ReadAhead
        from ocitool.layer.index.index import index_of, parse

        path = self._index_path(layer.diff_id)
        try:
            with open(path, "rb") as file:
                return parse(file.read())
        except (FileNotFoundError, LayerError):
            with (
                reporting_corrupt_blob(self._blobs, layer),
                contextlib.closing(ReadAhead(self.open(layer))) as stream,
            ):
                data = index_of(stream)
            if not self._layout.readonly:
                self.keep_index(layer.diff_id, data)
            return parse(data)

    def keep_index(self, diff_id: Digest, data: bytes) -> None:
        """Store the index that was made while a layer was written."""
        with full_disk(self._layout.root):
            write_file(self._index_path(diff_id), data)
        self.indexed.add(diff_id)

    def _index_path(self, diff_id: Digest) -> str:
        return f"{self._layout.indexes}/{diff_id.encoded}"

    def pack(
        self, write: Callable[[Callable[[bytes], object]], None], compression: str = "gzip"
    ) -> Layer:
        """Compress the tar that *write* passes to its argument, and store it as a blob.

        *compression* is the name of a codec, optionally with a level: ``gzip:9``.
        """
        from ocitool.layer.compression.codecs import parse
        from ocitool.layer.compression.packer import Packer

        codec, level = parse(compression)
        with self._blobs.writer(self._lease()) as blob, full_disk(self._layout.root):
            packer = Packer(codec, blob.write, level)
            try:
                write(packer.write)
            except BaseException:
                packer.abandon()
                raise
            diff_id = packer.finish()
            digest = blob.commit()
        self._blob_records.put_compressed(digest, diff_id, f"{codec.name}:{level}")
        described = Descriptor(
            media_type=layer_type(codec.suffix),
            digest=digest,
            size=blob.size,
            annotations=packer.annotations,
        )
        return Layer(diff_id=diff_id, blob=described)

    # -- snapshots --------------------------------------------------------------------------

    def ensure(self, layers: Sequence[Layer], progress: ProgressSink = SILENT) -> tuple[str, ...]:
        """Unpack those of *layers* (lowest first) that are not unpacked; returns their chain IDs.

        Raises:
            DigestMismatch: a blob does not hold what its diff ID says.
            LayerError: a layer cannot be unpacked; nothing of it is left.
        """
        names = chain_ids(layers)
        missing = set(names) - self._claimed(names)
        for at, layer in enumerate(layers):
            if names[at] not in missing:
                continue
            with self._layout.work_lock("layer", names[at]):
                # Another process may have unpacked it while we waited.
                if not self._claimed((names[at],)) and not self._adopted(layer, names, at):
                    self._unpack(layer, names[at], names[:at], progress)
        return names

    def _adopted(self, layer: Layer, names: Sequence[str], at: int) -> bool:
        """Link to a layer that a shared store has unpacked; False if none has."""
        driver, name = self.driver, names[at]
        for path in filter(None, (each.layer(driver.name, name) for each in self._shared)):
            self._lease()  # shows a garbage collection that a process claims layers
            directory = f"{self._layout.drivers}/{driver.name}/layers"
            with full_disk(self._layout.root):
                driver.remove(name)  # an old link, to a store that does not exist any more
                os.makedirs(directory, mode=0o700, exist_ok=True)
                os.symlink(path, f"{directory}/{name}")
            self._record(layer, name, names[:at])
            return True
        return False

    def _claimed(self, names: Sequence[str]) -> set[str]:
        """Return which of *names* are unpacked, and protect them from a garbage collection."""
        records = self._records.claim(self.driver.name, names, self._lease().began)
        boot = boot_id() if any(record.boot for record in records) else ""
        # What was unpacked in an earlier boot may not have reached the disk.
        chain_ids = {record.chain_id for record in records if record.boot in ("", boot)}
        return set(filter(self.driver.has, chain_ids))

    def _unpack(
        self, layer: Layer, name: str, parents: Sequence[str], progress: ProgressSink
    ) -> None:
        from ocitool.layer.compression.parallel import ReadAhead

        driver = self.driver
        key = self._lease().key()
        blob = layer.blob
        counter = TransferCounter(progress, "unpack", key=str(blob.digest), total=blob.size)
        counter.begin()
        with full_disk(self._layout.root), self._discarding(key):
            driver.remove(name)  # left by a crash, or by an earlier boot
            driver.begin(key, parents)
            with (
                reporting_corrupt_blob(self._blobs, layer),
                contextlib.closing(
                    ReadAhead(open_plain(self._blobs, layer, counter.count))
                ) as stream,
            ):
                applied = driver.apply(key, parents, stream)
            driver.commit(key, name)
        for note in applied.notes:
            progress.emit(Notice(text=f"layer {layer.diff_id.short}: {note}", level="debug"))
        self._record(layer, name, parents)
        counter.end("done")

    @contextlib.contextmanager
    def _discarding(self, key: str) -> Iterator[None]:
        """Remove the snapshot *key* at the end, unless it was committed."""
        try:
            yield
        except BaseException:
            # Report the first error, not those that follow; a sweep removes what is left.
            with contextlib.suppress(OcitoolError, OSError):
                self.driver.discard(key)
            raise
        with full_disk(self._layout.root):
            self.driver.discard(key)

    def _record(self, layer: Layer, name: str, parents: Sequence[str]) -> None:
        if tar := self.driver.tar(name):
            self._blobs.adopt(tar, layer.diff_id)
        parent = parents[-1] if parents else ""
        boot = "" if self.driver.durable else boot_id()
        self._records.put(self.driver.name, name, layer.diff_id, parent, boot)
        self.unpacked[name] = layer

    def view(self, layers: Sequence[Layer]) -> tuple[Mount, ...]:
        """Return the mounts of a read-only view of *layers*."""
        with full_disk(self._layout.root):
            return self.driver.view(self.ensure(layers))

    @contextlib.contextmanager
    def prepare(
        self, layers: Sequence[Layer], progress: ProgressSink = SILENT
    ) -> Iterator[Snapshot]:
        """Make an active snapshot on *layers*; it is removed at the end, unless committed."""
        parents = self.ensure(layers, progress)
        key = self._lease().key()
        with self._discarding(key):
            with full_disk(self._layout.root):
                self.driver.begin(key, parents)
            yield Snapshot(key=key, parents=parents, mounts=self.driver.mounts(key, parents))

    def commit(
        self,
        snapshot: Snapshot,
        below: Sequence[Layer],
        *,
        clamp: int | None = None,
        compression: str = "gzip",
    ) -> Layer:
        """Make a layer of what *snapshot* changes, and keep the snapshot as its unpacked form.

        *below* are the layers that it was prepared on.  *clamp* is the latest timestamp that an
        entry gets, in seconds since the epoch.  *compression* is as for `pack`.
        """
        driver = self.driver

        def write(sink: Callable[[bytes], object]) -> None:
            driver.diff(snapshot.key, snapshot.parents, sink, clamp=clamp)

        layer = self.pack(write, compression)
        name = chain_ids([*below, layer])[-1]
        with self._layout.work_lock("layer", name), full_disk(self._layout.root):
            if not self._claimed((name,)):
                driver.remove(name)
                driver.commit(snapshot.key, name)
                self._record(layer, name, snapshot.parents)
        return layer

    def make_durable(self, settled: float = _SETTLED) -> None:
        """Sync the layers that were unpacked a while ago, and record that they are durable.

        After *settled* seconds the kernel has already written most of them, so this is fast.
        """
        boot, limit = boot_id(), time.time() - settled
        if self._records.are_unsynced(boot, limit):
            with full_disk(self._layout.root):
                sync_file_system(self._layout.drivers)
            self._records.mark_synced(boot, limit)
