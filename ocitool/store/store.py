"""Store: the object that opens a store and gives access to its parts."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self

from ocitool.errors import BadReference, FormatError, ImageNotFound, OcitoolError, StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.reference import Reference, id_digits, is_image_id
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.settings import Settings
from ocitool.store.blobs import Blobs
from ocitool.store.database.database import Database
from ocitool.store.database.image_summaries import ImageSummaries
from ocitool.store.database.records import BlobRecords, LayerRecords
from ocitool.store.directory.atomic import write_file
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.layout import Layout, boot_id
from ocitool.store.directory.leases import Lease
from ocitool.store.refs import Refs, name_of
from ocitool_runtime.defaults import Network

if TYPE_CHECKING:  # what unpacks layers is imported when a layer is unpacked
    from ocitool.drivers.driver import Driver
    from ocitool.drivers.select import Choice
    from ocitool.store.additional_stores import SharedStore
    from ocitool.store.database.build_cache import BuildCache
    from ocitool.store.layers import Layers
    from ocitool.store.run_mounts import RunMounts

_WARNED: Final = "warned.json"  # beside the choice of a driver


class Store:
    """A content-addressed store of images in one directory.

    Opening it is cheap: each part is set up when it is first used.  Threads may share it, and any
    number of processes may use the same directory.

        with Store.open() as store:
            print([entry.digest for entry in store.refs.all()])
    """

    def __init__(self, settings: Settings, *, progress: ProgressSink = SILENT) -> None:
        self.settings = settings
        self.layout = Layout(settings.root, trusted_owner=settings.trusted_owner)
        self.shared = _open_shared(settings)
        self.blobs = Blobs(self.layout, self.lease, [each.blobs for each in self.shared])
        self.refs = Refs(self.layout)
        #: the names of this store, and then those of the shared ones
        self.all_refs = (self.refs, *(each.refs for each in self.shared))
        self.summaries = ImageSummaries(lambda: self.database, self.blobs, self.all_refs)
        self._progress = progress
        self._lock = threading.RLock()
        self._database: Database | None = None
        self._lease: Lease | None = None
        self._driver: Driver | None = None
        self._layers: Layers | None = None
        self._trees: RunMounts | None = None
        self._swept = False

    @classmethod
    def open(
        cls, root: str | None = None, *, driver: str | None = None, progress: ProgressSink = SILENT
    ) -> Self:
        """Open the store at *root* (default: as the settings say), making it if missing.

        Raises:
            StoreError: the directory cannot be used.
            StoreVersion: it has a newer format.
        """
        settings = Settings.load(flags={"root": root, "driver": driver})
        return cls(settings, progress=progress)

    # -- parts ------------------------------------------------------------------------------

    @property
    def database(self) -> Database:
        """The database."""
        with self._lock:
            if self._database is None:
                self._database = Database(self.layout.database, copy=self.layout.readonly)
            return self._database

    @property
    def layer_records(self) -> LayerRecords:
        """What the database knows of unpacked layers."""
        return LayerRecords(self.database)

    @property
    def blob_records(self) -> BlobRecords:
        """What the database knows of blobs."""
        return BlobRecords(self.database)

    @property
    def build_cache(self) -> BuildCache:
        """The records of the build cache."""
        from ocitool.store.database.build_cache import BuildCache

        return BuildCache(self.database)

    @property
    def layers(self) -> Layers:
        """The unpacked layers."""
        with self._lock:
            if self._layers is None:
                from ocitool.store.layers import Layers

                self._layers = Layers(
                    self.layout,
                    self.layer_records,
                    self.blob_records,
                    self.blobs,
                    self.lease,
                    self.driver,
                    self.shared,
                )
                if not self.layout.readonly:
                    self._layers.make_durable()
            return self._layers

    @property
    def trees(self) -> RunMounts:
        """Directories that RUN mounts: caches, and copies."""
        with self._lock:
            if self._trees is None:
                from ocitool.store.run_mounts import RunMounts, form_of

                self._trees = RunMounts(
                    self.layout, self.lease, lambda: form_of(self.choose_driver().name)
                )
            return self._trees

    def lease(self) -> Lease:
        """Return this process's lease on the store, taken when first needed.

        Taking it also removes the unfinished work of processes that have ended.
        """
        with self._lock:
            if self._lease is None:
                self.sweep()
                self._lease = Lease(self.layout)
            return self._lease

    def end_lease(self) -> None:
        """End this process's lease: what it has stored is no longer unfinished work."""
        with self._lock:
            if self._lease is not None:
                self._lease.close()
                self._lease = None

    def driver(self) -> Driver:
        """Return the storage driver; `DriverUnavailable` if none works for this user."""
        with self._lock:
            if self._driver is None:
                choice = self.choose_driver()
                for each in choice.passed_over:
                    if each.support.quiet or not choice.new:  # one warning is enough for a store
                        continue
                    text = (
                        f"using storage driver {choice.name}: {each.name} is not available: "
                        f"{each.support.reason}"
                    )
                    self._progress.emit(Notice(text=text, level="warning"))
                if self._driver is None:  # it was not probed now
                    self._driver = self.make_driver(choice.name)
            return self._driver

    def warn_once(self, text: str, progress: ProgressSink) -> None:
        """Emit a warning, unless a command has emitted it for this store before."""
        path = f"{self.layout.drivers}/{_WARNED}"
        try:
            with open(path, "rb") as file:
                known = dict.fromkeys(json.load(file))
        except (OSError, ValueError, TypeError):
            known = {}
        if text in known:
            return
        progress.emit(Notice(text=text, level="warning"))
        with contextlib.suppress(OSError):  # then it is emitted again
            write_file(path, json.dumps([*known, text]).encode())

    def choose_driver(self) -> Choice:
        """Return which driver is used and why; probes are remembered until the next boot."""
        from ocitool.drivers import select

        return select.choose_once(
            self.layout.drivers,
            self.settings.driver,
            mounts=self.settings.isolation != "chroot",
            boot=boot_id(),
            before_probe=self.layout.require_writable,
            write=write_file,
            keep=self._keep,
        )

    def _keep(self, probed: Driver) -> None:
        with self._lock:
            if self._driver is None:
                self._driver = probed
            else:
                probed.close()

    def make_driver(self, name: str) -> Driver:
        """Return a new driver *name*, which the caller closes."""
        from ocitool.drivers import select

        return select.make(name, f"{self.layout.drivers}/{name}")

    # -- networks ---------------------------------------------------------------------------

    def network(self, asked: Network) -> Network:
        """Return *asked*, or the network of the settings if that is `Network.DEFAULT`.

        Raises:
            FormatError: the settings name no network.
        """
        if asked is not Network.DEFAULT:
            return asked
        try:
            return Network(self.settings.network)
        except ValueError:
            raise FormatError(
                f"network {self.settings.network!r} is not supported",
                where=self.settings.origins.get("network", ""),
                hint=f"one of {', '.join(Network)}",
            ) from None

    # -- names ------------------------------------------------------------------------------

    def find(self, name: str) -> Descriptor:
        """Return the manifest that *name* stands for: a reference, or the first digits of an ID.

        Raises:
            BadReference: it is neither; or several images have such an ID.
            ImageNotFound: there is no such image.
        """
        found = self._named(name) or self.find_id(name)
        if found is None:
            hint = "" if is_image_id(name) else f"try `ocitool pull {name}`"  # IDs are not pulled
            raise ImageNotFound(f"no such image: {name}", hint=hint)
        return found

    def find_id(self, name: str) -> Descriptor | None:
        """Return a manifest of the image whose ID begins with *name*; None if it is no such ID.

        A reference comes first: None if an image has the name *name*.
        """
        digits = id_digits(name)
        if not digits or self._named(name) is not None:
            return None
        found = self.summaries.beginning(digits)
        if len(set(found.values())) > 1:
            raise BadReference(
                f"image ID {name!r} is ambiguous: {len(set(found.values()))} begin with it",
                hint="write more digits",
            )
        entries = [entry for digest in found for entry in self.pointing(Digest.parse(digest))]
        return min(entries, key=lambda entry: not name_of(entry), default=None)

    def _named(self, name: str) -> Descriptor | None:
        if is_image_id(name):
            return None
        reference = Reference.parse(name)
        candidates = self._candidates(reference)
        return next((entry for entry in candidates if entry_matches(entry, reference)), None)

    def _candidates(self, reference: Reference) -> Sequence[Descriptor]:
        if reference.digest is not None:
            return self.pointing(reference.digest)
        return [entry for refs in self.all_refs for entry in refs.beginning(str(reference))]

    def tags_of(self, repository: str) -> list[str]:
        """Return the full names of the images that have a tag of *repository*, oldest first."""
        prefix = f"{Reference.parse(repository).repository}:"
        found = [name_of(e) for refs in self.all_refs for e in refs.beginning(prefix)]
        return list(dict.fromkeys(found))

    def pointing(self, digest: Digest) -> Sequence[Descriptor]:
        """Return the entries that point to *digest*, in this store and in shared ones."""
        return [entry for refs in self.all_refs for entry in refs.pointing(digest)]

    def same_image(self, entry: Descriptor) -> list[Digest]:
        """Return the manifests of the image that *entry* points to: those that have its ID."""
        ids = self.summaries.ids()
        wanted = ids.get(str(entry.digest))
        same = [Digest.parse(digest) for digest, known in ids.items() if known == wanted]
        return same or [entry.digest]

    def image_id(self, entry: Descriptor) -> Digest:
        """Return the image ID: the digest of the config, as docker's."""
        from ocitool.oci.manifest import Manifest, parse_any

        document = parse_any(self.blobs.read(entry), entry.media_type)
        return document.config.digest if isinstance(document, Manifest) else entry.digest

    # -- origins ----------------------------------------------------------------------------

    def note_origin(self, digest: Digest, repository: str) -> None:
        """Record that *repository* has a blob, so that it can be mounted from there."""
        self.blob_records.put_origin(digest, repository)

    def origins(self, digest: Digest) -> tuple[str, ...]:
        """Return the repositories (with their domain) that are known to have a blob."""
        return self.blob_records.origins(digest)

    def remove_database(self) -> None:
        """Remove a corrupt database; the next use creates a new one.

        Raises:
            StoreError: another process uses the store.
        """
        with self._lock:
            mine = self._lease.name if self._lease is not None else ""
            if set(os.listdir(self.layout.tmp)) - {mine}:
                raise StoreError(
                    "other processes use the store", hint="wait for them to end, or stop them"
                )
            if self._database is not None:
                self._database.close()
                self._database = None
            self._layers = None
            for end in ("", "-wal", "-shm"):
                with full_disk(self.layout.root), contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self.layout.database}{end}")

    # -- ends -------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Remove the unfinished work of processes that have ended; committed layers are kept."""
        from ocitool.store.maintenance.stale_work import sweep

        self.layout.require_writable()
        self._swept = True
        sweep(self.layout, self.make_driver)

    def close(self) -> None:
        """Release the lease, the driver and the database."""
        with self._lock:
            self.end_lease()
            if self._driver is not None:
                self._driver.close()
                self._driver = None
            if self._trees is not None:
                self._trees.close()
                self._trees = None
            if self._database is not None:
                self._database.close()
                self._database = None
            self._layers = None
            if self._swept:  # the trash may have something, of this process or of an earlier one
                from ocitool.store.maintenance.stale_work import empty_trash

                self._swept = False
                with contextlib.suppress(OcitoolError):  # the next process removes the rest
                    empty_trash(self.layout, background=self.settings.background)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_shared(settings: Settings) -> Sequence[SharedStore]:
    if not settings.shared_stores:
        return ()
    from ocitool.store.additional_stores import open_shared

    return open_shared(settings.shared_stores, settings.root)


def entry_matches(entry: Descriptor, reference: Reference) -> bool:
    """Say whether an entry of the index is what *reference* names."""
    name = name_of(entry)
    if name == str(reference):
        return True
    if reference.digest is None:
        return False
    # name@digest: any name of that repository that points to the digest
    return entry.digest == reference.digest and name.startswith(f"{reference.repository}:")
