"""Repairing a store: corrupt content is fetched or made again.  Nothing else is removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from ocitool.errors import DigestMismatch, NotFound, OcitoolError, RegistryError, StoreError
from ocitool.image.store_content import StoreSink
from ocitool.oci import mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, ProgressSink
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.leases import oldest_lease
from ocitool.store.drivers import open_driver
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.check.problems import (
    BadBlob,
    BadDatabase,
    BadFile,
    BadLayer,
    BadLayoutFile,
    BadRow,
    Problem,
)
from ocitool.store.maintenance.prune import drop_layer, prune
from ocitool.store.maintenance.served_stores import is_served
from ocitool.store.store import Store

_DOCUMENTS = mediatypes.MANIFESTS | mediatypes.INDEXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A problem that was repaired, and what was done."""

    problem: Problem
    done: str


def repair(
    store: Store,
    progress: ProgressSink = SILENT,
    *,
    insecure: bool = False,
    authfile: str | None = None,
) -> Iterator[Repaired | Problem]:
    """Check *store* and repair it; yields what was repaired, and what could not be repaired.

    A corrupt blob is moved into the directory ``damaged/`` and fetched again: from a registry that
    its image was pulled from, pushed to or named after.  When it has been fetched, the corrupt one
    is removed.  Corrupt layers and indexes are removed, and made again when they are needed.  If no
    problem is left, unreferenced data (`maintenance.unreferenced`) is removed, too; but never from
    the store of a registry server.
    """
    work = _Repair(store, insecure, authfile)
    # A repair may show further problems: those of a manifest's blobs, or of a blob's layers.
    while work.goes_on:
        work.goes_on = False
        for problem in _topmost_first(list(check(store, progress))):
            if (result := work.repair(problem)) is not None:
                yield result
    # While a manifest cannot be read, it is unknown what is unreferenced.
    if not work.left and not is_served(store):
        prune(store, cache=False, dangling=False)


def _topmost_first(problems: list[Problem]) -> list[Problem]:
    """Return *problems* with those of layers in reverse: children before their parents."""
    layers = [each for each in problems if isinstance(each.fault, BadLayer)]
    return [*(each for each in problems if each not in layers), *reversed(layers)]


class _Repair:
    def __init__(self, store: Store, insecure: bool, authfile: str | None) -> None:
        self._store = store
        self._insecure = insecure
        self._authfile = authfile
        self._tried: set[object] = set()
        self._repaired: set[object] = set()
        self._in_use: set[tuple[str, str]] = set()  # layers with a child that could not be removed
        self.goes_on = True  # whether another check makes sense
        self.left = False  # whether there is something that could not be repaired

    def repair(self, problem: Problem) -> Repaired | Problem | None:
        """Repair *problem*; None if that was tried, and reported, before."""
        subject = _subject(problem)
        if subject in self._tried:
            return self._again(problem, subject)
        self._tried.add(subject)
        try:
            done = self._repair(problem)
        except OcitoolError as error:
            hint = f" ({error.hint})" if error.hint else ""
            problem = Problem(what=problem.what, remedy=f"could not be repaired: {error}{hint}")
            done = ""
        if done:
            self._repaired.add(subject)
            self.goes_on = True
            return Repaired(problem=problem, done=done)
        self.left = True
        return problem

    def _again(self, problem: Problem, subject: object) -> Problem | None:
        """Report what was repaired and is corrupt again; nothing for what was reported before."""
        if subject not in self._repaired:
            return None
        self._repaired.discard(subject)
        self.left = True
        return Problem(what=problem.what, remedy="could not be repaired: it is corrupt again")

    def _repair(self, problem: Problem) -> str:
        match problem.fault:
            case BadBlob() as fault:
                return self._blob(fault)
            case BadLayer(driver, chain):
                return self._layer(driver, chain)
            case BadFile(path):
                with full_disk(self._store.layout.root), contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                return "removed; it is made again when it is needed"
            case BadLayoutFile():
                with full_disk(self._store.layout.root):
                    self._store.layout.write_layout_file()
                return "written again"
            case BadRow(table, where):
                self._store.database.remove(table, dict(where))
                return "removed; it is recorded again when it is needed"
            case BadDatabase():
                if os.path.exists(self._store.layout.served):
                    raise StoreError(
                        "only this database records the content of each repository of the registry",
                        hint="restore it from a backup; or remove it with its -wal and -shm, and "
                        "push the images again",
                    )
                self._store.sweep()  # processes that have ended do not count as users
                self._store.remove_database()
                return "removed; layers are unpacked and steps built again"
            case None:
                return ""

    # -- blobs ------------------------------------------------------------------------------

    def _blob(self, fault: BadBlob) -> str:
        blobs = self._store.blobs
        self._store.refs.all()  # must be readable, or it is unknown what is needed
        quarantined = blobs.quarantine(fault.digest)
        if fault.descriptor is None or not fault.names:
            blobs.remove_quarantined(fault.digest)
            return "removed; no image needs it, and a build step that needs it is executed again"
        repository = self._fetch(fault.descriptor, fault.names)
        if quarantined:
            blobs.remove_quarantined(fault.digest)
        return f"fetched again from {repository}"

    def _fetch(self, wanted: Descriptor, names: tuple[str, ...]) -> str:
        """Fetch a blob or manifest and verify it; returns the repository that had it."""
        failure: OcitoolError = NotFound(
            f"no source registry is recorded for {wanted.digest}", hint="build the image again"
        )
        for repository in self._repositories(wanted.digest, names):
            try:
                self._fetch_from(repository, wanted)
            except (NotFound, RegistryError, DigestMismatch) as error:
                failure = error
            else:
                return repository
        raise failure

    def _repositories(self, digest: Digest, names: tuple[str, ...]) -> list[str]:
        """Return the repositories that may have a blob, those that are known to have it first.

        Names without a domain are repositories of a registry server in this store.
        """
        found = [name for name in self._store.origins(digest) if _has_domain(f"{name}:latest")]
        found += [Reference.parse(name).repository for name in names if _has_domain(name)]
        return list(dict.fromkeys(found))

    def _fetch_from(self, repository: str, wanted: Descriptor) -> None:
        from ocitool_registry.client.content import RegistrySource, connect

        reference = Reference.parse(f"{repository}@{wanted.digest}")
        client = connect(reference, insecure=self._insecure, authfile=self._authfile)
        source = RegistrySource(client, reference)
        if wanted.media_type in _DOCUMENTS:
            self._store.blobs.put(source.fetch(wanted), self._store.lease())
        else:
            StoreSink(self._store, "").put_blob(wanted, lambda: source.open(wanted))

    # -- layers -----------------------------------------------------------------------------

    def _layer(self, name: str, chain: str) -> str:
        which = (name, chain)
        record = self._store.layer_records.get(name, chain)
        with open_driver(self._store.make_driver, name) as driver:
            cutoff = oldest_lease(self._store.layout)
            if (
                driver is None
                or which in self._in_use
                or not drop_layer(self._store, driver, chain, cutoff)
            ):
                if record is not None:
                    self._in_use.add((name, record.parent))
                raise StoreError(
                    f"layer {chain[:12]} may be in use by a process",
                    hint="stop it, and repair again",
                )
        return "removed; it is unpacked again when it is needed"


def _subject(problem: Problem) -> object:
    """Return what *problem* is about, by which it is recognized when it occurs again."""
    fault = problem.fault
    if isinstance(fault, BadBlob):
        # While their manifest was missing, it was unknown that its blobs are needed.
        return fault.digest, bool(fault.names)
    return fault or problem.what


def _has_domain(name: str) -> bool:
    try:
        return str(Reference.parse(name)) == name
    except ValueError:
        return False
