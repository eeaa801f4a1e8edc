"""Directory trees that RUN mounts: caches that stay from build to build, and copies for one RUN.

They are kept by a driver of plain directories, whatever driver has the layers: it knows how an
ordinary user makes and removes files of other owners.  A cache is what that driver calls a layer,
without parents and under the digest of its ID, and a copy is an active snapshot.

ROOT/mounts/<driver>/layers/<digest>/fs   a cache; the directory <digest> is locked while it is used
ROOT/mounts/<driver>/trees/<key>/fs       a copy, or a cache that is being made
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from ocitool.layer.fileio import names_in, write_all
from ocitool.layer.locks import is_locked, is_same, try_lock
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.layout import Layout
from ocitool.store.directory.leases import Lease, is_alive, lease_of

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver
    from ocitool.oci.content import Stream

Write: TypeAlias = Callable[[Callable[[bytes], object]], None]
"""Passes a tar to its argument, in pieces."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMountUse:
    """A cache of ``RUN --mount=type=cache``."""

    name: str  # the digest of its ID
    used: float  # seconds since the epoch
    size: int  # bytes
    in_use: bool


class RunMounts:
    """The trees of one store, of the form that *driver* has: see `form_of`."""

    def __init__(self, layout: Layout, lease: Callable[[], Lease], form: Callable[[], str]) -> None:
        self._layout = layout
        self._lease = lease
        self._form = form
        self._made: Driver | None = None

    @property
    def driver(self) -> Driver:
        """The driver of plain directories."""
        if self._made is None:
            with full_disk(self._layout.root):
                self._made = make(self._layout, self._form())
        return self._made

    def close(self) -> None:
        """Close the driver."""
        if self._made is not None:
            self._made.close()
            self._made = None

    @contextlib.contextmanager
    def copy(self, write: Write) -> Iterator[str]:
        """Make a directory of the tar that *write* passes on; it is removed at the end."""
        key = self._lease().key()
        with full_disk(self._layout.root):
            try:
                self._fill(key, write)
                yield self.driver.mounts(key, ())[0].source
            finally:
                self.driver.discard(key)

    # -- caches -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def cache(self, name: str, write: Write, *, exclusive: bool = False) -> Iterator[str]:
        """Return the directory of the cache *name*, which *write* fills if it is new.

        Processes use it together, or one after the other those that want it *exclusive*.
        """
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        while True:
            path = self._cache(name, write)
            fd = self._open(path)
            if fd < 0:
                continue
            try:
                fcntl.flock(fd, kind)
                if self._is_cache(path, fd):
                    os.utime(fd)  # the time of the last use
                    yield path
                    return
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def private_cache(self, names: Iterator[str], write: Write) -> Iterator[str]:
        """Return the first cache of *names* that nobody uses, for this RUN alone."""
        for name in names:
            path = self._cache(name, write)
            fd = self._open(path)
            if fd < 0:
                continue
            try:
                if try_lock(fd) and self._is_cache(path, fd):
                    os.utime(fd)
                    yield path
                    return
            finally:
                os.close(fd)

    def _cache(self, name: str, write: Write) -> str:
        """Return the directory of a cache, made if missing: all of it, or nothing."""
        if not self.driver.has(name):
            with self._layout.work_lock("cache", name), full_disk(self._layout.root):
                if not self.driver.has(name):
                    key = self._lease().key()
                    try:
                        self._fill(key, write)
                        self.driver.commit(key, name)
                    finally:
                        self.driver.discard(key)
        return self.driver.view((name,))[0].source

    def _open(self, path: str) -> int:
        """Open the directory that holds *path*; -1 if a prune has removed it meanwhile."""
        try:
            return os.open(os.path.dirname(path), _DIRECTORY)
        except FileNotFoundError:
            return -1

    def _is_cache(self, path: str, fd: int) -> bool:
        return is_same(os.path.dirname(path), fd) and os.path.isdir(path)

    def _fill(self, key: str, write: Write) -> None:
        self.driver.begin(key, ())
        with _reading(write) as stream:
            self.driver.apply(key, (), stream)

    # -- maintenance --------------------------------------------------------------------------

    def uses(self) -> list[CacheMountUse]:
        """Return all caches, the most recently used first."""
        found = []
        for name in self.driver.layers():
            directory = f"{home(self._layout, self.driver.name)}/layers/{name}"
            with contextlib.suppress(FileNotFoundError):
                used = os.stat(directory).st_mtime
                size = self.driver.usage(name).size if self.driver.has(name) else 0
                in_use = is_locked(directory)
                found.append(CacheMountUse(name=name, used=used, size=size, in_use=in_use))
        return sorted(found, key=lambda use: use.used, reverse=True)

    def remove(self, name: str) -> bool:
        """Remove a cache unless it is in use; say whether it was removed."""
        directory = f"{home(self._layout, self.driver.name)}/layers/{name}"
        try:
            fd = os.open(directory, _DIRECTORY)
        except FileNotFoundError:
            return False
        try:
            if not try_lock(fd) or not is_same(directory, fd):
                return False
            with full_disk(self._layout.root):
                self.driver.remove(name)
            return True
        finally:
            os.close(fd)


def cache_name(identity: str, number: int = 0) -> str:
    """Return the name of a cache; *number* counts the private ones of one ID."""
    return hashlib.sha256(f"{number}:{identity}".encode("utf-8", "surrogateescape")).hexdigest()


def home(layout: Layout, form: str) -> str:
    """Return the directory of the driver *form*."""
    return f"{layout.mounts}/{form}"


def make(layout: Layout, form: str) -> Driver:
    """Return a new driver *form*, which the caller closes."""
    from ocitool.drivers import select

    return select.make(form, home(layout, form))


def forms(layout: Layout) -> list[str]:
    """Return the names of the drivers that have trees in the store, which this user may read."""
    names = sorted(names_in(layout.mounts))
    usable = os.R_OK | os.X_OK
    return [name for name in names if os.access(home(layout, name), usable, effective_ids=True)]


def dead_copies(layout: Layout, form: str) -> list[str]:
    """Return the keys of copies whose processes have ended."""
    keys = names_in(f"{home(layout, form)}/trees")
    return [key for key in keys if not is_alive(layout, lease_of(key))]


def form_of(driver: str) -> str:
    """Return the driver of plain directories that keeps owners as *driver* does."""
    from ocitool.drivers.rootless import single_id

    return single_id.named("vfs") if single_id.is_aside(driver) else "vfs"


@contextlib.contextmanager
def _reading(write: Write) -> Iterator[Stream]:
    """Return a stream of what *write* passes on, in a thread; its error is the one raised."""
    failed: list[BaseException] = []
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def produce() -> None:
        try:
            write(lambda data: write_all(writing, data))
        except BaseException as error:
            failed.append(error)
        finally:
            os.close(writing)

    thread = threading.Thread(target=produce, daemon=True)
    with open(reading, "rb", buffering=1 << 20) as stream:
        thread.start()
        try:
            yield stream
        except BaseException:
            stream.close()  # ends the thread, which may have failed first
            thread.join()
            if failed and not isinstance(failed[0], BrokenPipeError):
                raise failed[0] from None
            raise
    thread.join()
    if failed:
        raise failed[0]
