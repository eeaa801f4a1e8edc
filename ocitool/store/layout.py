"""Where things lie in a store, its format version, its locks, and its leases.

``docs/store-format.md`` describes the directory; this file and that one change together.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from typing import Final

from ocitool.errors import StoreError, StoreLocked, StoreVersion
from ocitool.layer.root import remove_tree

FORMAT: Final = 1
_LOCK_PATIENCE: Final = 600.0  # seconds


class Layout:
    """The directory *root*, made and checked."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.oci = f"{root}/oci"
        self.blobs = f"{root}/oci/blobs"
        self.database = f"{root}/db.sqlite"
        self.indexes = f"{root}/indexes"
        self.drivers = f"{root}/drivers"
        self.containers = f"{root}/containers"
        self.tmp = f"{root}/tmp"
        self.trash = f"{root}/trash"
        self.locks = f"{root}/locks"
        self._prepare()

    def _prepare(self) -> None:
        version = f"{self.root}/format"
        try:
            with open(version) as file:
                text = file.read().strip()
        except FileNotFoundError:
            self._create(version)
            return
        except (PermissionError, NotADirectoryError) as error:
            raise StoreError(
                f"cannot be read: {error.strerror}",
                where=self.root,
                hint="give --root a directory of your own, or run as its owner",
            ) from error
        if text != str(FORMAT):
            raise StoreVersion(
                f"is a store of format {text[:20] or 'unknown'}, and this program knows {FORMAT}",
                where=self.root,
                hint="use a newer ocitool, or another --root",
            )

    def _create(self, version: str) -> None:
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            strangers = [name for name in os.listdir(self.root) if name not in _OWN]
            if strangers:
                raise StoreError(
                    f"is not empty and not a store (it has {strangers[0]!r})",
                    where=self.root,
                    hint="give --root an empty or a new directory",
                )
            os.chmod(self.root, 0o700)
            for place in (
                f"{self.blobs}/sha256",
                self.indexes,
                self.drivers,
                self.containers,
                self.tmp,
                self.trash,
                self.locks,
            ):
                os.makedirs(place, mode=0o755, exist_ok=True)
            write_file(f"{self.oci}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            # The version comes last: with it there, everything else is.
            write_file(version, b"%d\n" % FORMAT)
        except OSError as error:
            raise StoreError(
                f"cannot be made: {error.strerror}",
                where=self.root,
                hint="give --root a directory you may write to",
            ) from error

    @contextlib.contextmanager
    def lock(self, name: str, *, patience: float = _LOCK_PATIENCE) -> Iterator[None]:
        """Hold the lock *name* among all processes; `StoreLocked` after *patience* seconds.

        The kernel holds the lock, so it is gone with its process.  The file stays: removing it
        would let two processes hold locks on two files of one name.
        """
        fd = os.open(f"{self.locks}/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + patience
            while not _try_lock(fd):
                if time.monotonic() > deadline:
                    raise StoreLocked(
                        f"another process has held {name!r} for {patience:.0f} seconds",
                        where=self.root,
                        hint="wait for it, or end it",
                    )
                time.sleep(0.01)
            yield
        finally:
            os.close(fd)


_OWN: Final = frozenset(
    {"oci", "db.sqlite", "db.sqlite-wal", "db.sqlite-shm", "indexes", "drivers", "containers",
     "tmp", "trash", "locks", "format", "lost+found"}
)  # fmt: skip


class Lease:
    """A directory for one process's unfinished work, locked by the kernel while it lives.

    Whoever can take the lock of a lease's directory knows that its process is gone, and removes
    it.  ``name`` also begins the keys of the driver trees that belong to the lease.
    """

    def __init__(self, layout: Layout) -> None:
        while True:
            self.name = secrets.token_hex(8)
            self.path = f"{layout.tmp}/{self.name}"
            os.mkdir(self.path, 0o700)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # A sweeper may have been faster between mkdir and lock.
            if _try_lock(self._fd) and _same(self.path, self._fd):
                break
            os.close(self._fd)

    def file(self) -> str:
        """Return a new name for a temporary file."""
        return f"{self.path}/{secrets.token_hex(8)}"

    def key(self) -> str:
        """Return a new key for a driver's tree."""
        return f"{self.name}-{secrets.token_hex(4)}"

    def close(self) -> None:
        """End the lease and remove its directory."""
        remove_tree(self.path)
        os.close(self._fd)


def dead_leases(layout: Layout) -> Iterator[str]:
    """Yield the names of leases whose process is gone; each is locked while it is yielded."""
    for name in os.listdir(layout.tmp):
        try:
            fd = os.open(f"{layout.tmp}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            if _try_lock(fd):
                yield name
                remove_tree(f"{layout.tmp}/{name}")
        finally:
            os.close(fd)


def oldest_lease(layout: Layout) -> float:
    """Return when the oldest living lease began, in seconds since the epoch; now if there is none.

    What was stored or touched after that may belong to unfinished work.
    """
    began = time.time()
    for name in os.listdir(layout.tmp):
        with contextlib.suppress(FileNotFoundError):
            began = min(began, os.stat(f"{layout.tmp}/{name}").st_ctime)
    return began


def write_file(path: str, data: bytes) -> None:
    """Write a small file whole or not at all, and durably."""
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
        os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(path: str) -> None:
    """Make everything on the file system of *path* durable (syncfs(2))."""
    import ctypes  # 4 ms that few commands need

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)


def boot_id() -> str:
    """Return what names this run of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _same(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
