"""Unpacked layers: made on demand from blobs, or from a tree that a step has changed."""

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
from ocitool.progress import SILENT, Notice, ProgressSink, Transfer
from ocitool.store.atomic import sync_file_system, write_file
from ocitool.store.blobs import Blobs
from ocitool.store.disk import full_disk
from ocitool.store.layer_content import (
    Layer,
    chain_ids,
    open_plain,
    reporting_corrupt_blob,
    verified,
)
from ocitool.store.layout import Layout, boot_id
from ocitool.store.leases import Lease
from ocitool.store.records import BlobRecords, LayerRecords

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver
    from ocitool.layer.index.index import LayerIndex
    from ocitool.oci.content import Stream
    from ocitool.store.shared import SharedStore
    from ocitool_runtime.spec import Mount

# What reads and writes tars is imported where that is done: starting a container does without.

_SETTLED: Final = 600.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A writable tree on top of layers.  ``mounts`` show it, outermost first."""

    key: str
    parents: tuple[str, ...]  # names of layers, lowest first
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
        shared: Sequence[SharedStore] = (),
    ) -> None:
        self._layout = layout
        self._records = records
        self._blob_records = blob_records
        self._blobs = blobs
        self._lease = lease
        self._get_driver = driver
        self._shared = shared

    @property
    def driver(self) -> Driver:
        """The driver; chosen, and its probe made, when it is first needed."""
        return self._get_driver()

    # -- content ----------------------------------------------------------------------------

    def open(self, layer: Layer) -> Stream:
        """Open the plain tar of a layer; it is verified at its end, by `LayerError` and digest."""
        with contextlib.suppress(BlobNotFound):  # a driver keeps it, or does not
            return verified(self._blobs.open(layer.diff_id), layer)
        return open_plain(self._blobs, layer)

    def index(self, layer: Layer) -> LayerIndex:
        """Return the index of a layer; made from its blob once, and kept."""
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
        """Keep the index that was made while a layer was written."""
        with full_disk(self._layout.root):
            write_file(self._index_path(diff_id), data)

    def _index_path(self, diff_id: Digest) -> str:
        return f"{self._layout.indexes}/{diff_id.encoded}"

    def pack(
        self, write: Callable[[Callable[[bytes], object]], None], compression: str = "gzip"
    ) -> Layer:
        """Make a blob of the tar that *write* gives to the sink it is called with.

        *compression* is the name of a codec, perhaps with a level: ``gzip:9``.
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

    # -- trees ------------------------------------------------------------------------------

    def ensure(self, layers: Sequence[Layer], progress: ProgressSink = SILENT) -> tuple[str, ...]:
        """Return the names of *layers* (lowest first), each unpacked if it was not.

        Raises:
            DigestMismatch: a blob does not hold what its diff id says.
            LayerError: a layer cannot be unpacked; nothing of it stays.
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
        """Use a layer that a shared store has unpacked, by a link to it; False if none has."""
        driver, name = self.driver, names[at]
        for path in filter(None, (each.layer(driver.name, name) for each in self._shared)):
            self._lease()  # by which a collection knows that there is somebody who claims
            directory = f"{self._layout.drivers}/{driver.name}/layers"
            with full_disk(self._layout.root):
                driver.remove(name)  # a link to a store that is gone
                os.makedirs(directory, mode=0o700, exist_ok=True)
                os.symlink(path, f"{directory}/{name}")
            self._record(layer, name, names[:at])
            return True
        return False

    def _claimed(self, names: Sequence[str]) -> set[str]:
        """Return which of *names* are unpacked, and keep a collection from taking them."""
        records = self._records.claim(self.driver.name, names, self._lease().began)
        boot = boot_id() if any(record.boot for record in records) else ""
        # What was unpacked before a power cut may not have reached the disk, or be lost since.
        chain_ids = {record.chain_id for record in records if record.boot in ("", boot)}
        return set(filter(self.driver.has, chain_ids))

    def _unpack(
        self, layer: Layer, name: str, parents: Sequence[str], progress: ProgressSink
    ) -> None:
        from ocitool.layer.compression.parallel import ReadAhead

        driver = self.driver
        key = self._lease().key()
        step = Transfer(key=str(layer.blob.digest), action="unpack", total=layer.blob.size)
        progress.emit(step)
        with full_disk(self._layout.root), self._discarded(key):
            driver.remove(name)  # left by a crash, or by a boot that ended too early
            driver.begin(key, parents)
            with (
                reporting_corrupt_blob(self._blobs, layer),
                contextlib.closing(ReadAhead(open_plain(self._blobs, layer))) as stream,
            ):
                applied = driver.apply(key, parents, stream)
            driver.commit(key, name)
        for note in applied.notes:
            progress.emit(Notice(text=f"layer {layer.diff_id.short}: {note}", level="debug"))
        self._record(layer, name, parents)
        progress.emit(
            Transfer(key=step.key, action="unpack", done=step.total, total=step.total, state="done")
        )

    @contextlib.contextmanager
    def _discarded(self, key: str) -> Iterator[None]:
        """Drop the tree *key* at the end, unless it was committed."""
        try:
            yield
        except BaseException:
            # The fault is told, not what comes after it; a sweep takes what stays.
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

    def view(self, layers: Sequence[Layer], progress: ProgressSink = SILENT) -> tuple[Mount, ...]:
        """Return the mounts that show *layers* read-only."""
        with full_disk(self._layout.root):
            return self.driver.view(self.ensure(layers, progress))

    @contextlib.contextmanager
    def tree(self, layers: Sequence[Layer], progress: ProgressSink = SILENT) -> Iterator[Tree]:
        """Make a writable tree on *layers*; it goes at the end, unless it was committed."""
        parents = self.ensure(layers, progress)
        key = self._lease().key()
        with self._discarded(key):
            with full_disk(self._layout.root):
                self.driver.begin(key, parents)
            yield Tree(key=key, parents=parents, mounts=self.driver.mounts(key, parents))

    def commit(
        self,
        tree: Tree,
        below: Sequence[Layer],
        *,
        clamp: int | None = None,
        compression: str = "gzip",
    ) -> Layer:
        """Make a layer of what *tree* changes in *below*, and keep the tree as its unpacked form.

        *clamp* is the latest time an entry gets, in seconds since the epoch; *compression* is as
        for `pack`.
        """
        driver = self.driver

        def write(sink: Callable[[bytes], object]) -> None:
            driver.diff(tree.key, tree.parents, sink, clamp=clamp)

        layer = self.pack(write, compression)
        name = chain_ids([*below, layer])[-1]
        with self._layout.work_lock("layer", name), full_disk(self._layout.root):
            if not self._claimed((name,)):
                driver.remove(name)
                driver.commit(tree.key, name)
                self._record(layer, name, tree.parents)
        return layer

    def make_durable(self, settled: float = _SETTLED) -> None:
        """Sync what was unpacked a while ago, and note that a power cut can no longer harm it.

        After *settled* seconds the kernel has long written it by itself, so there is next to
        nothing left to do.
        """
        boot, limit = boot_id(), time.time() - settled
        if self._records.are_unsynced(boot, limit):
            with full_disk(self._layout.root):
                sync_file_system(self._layout.drivers)
            self._records.mark_synced(boot, limit)
