"""Blobs by digest: written to a temporary file, verified, synced, renamed.

Every blob in the directory is complete and durable.  It is that of an OCI image layout.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
from collections.abc import Callable, Container, Iterator, Sequence
from typing import BinaryIO, Final, Self

from ocitool.errors import BadDigest, BlobNotFound, DigestMismatch
from ocitool.layer.fileio import open_noatime, write_all
from ocitool.layer.locks import is_same, try_lock
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor
from ocitool.oci.streams import VerifiedReader
from ocitool.store.directory.atomic import sync_directory
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.layout import Layout
from ocitool.store.directory.leases import Lease

_CHUNK: Final = 1 << 20  # bytes
_LARGE: Final = 8 << 20  # bytes, which take some milliseconds to free


class Blobs:
    """The blobs of one store; blobs of the directories *shared* are read, and never changed."""

    def __init__(self, layout: Layout, lease: Callable[[], Lease], shared: Sequence[str]) -> None:
        self._layout = layout
        self._lease = lease
        self._shared = shared
        self.written: set[Digest] = set()  # by this process

    def path(self, digest: Digest) -> str:
        """Return the path of a blob of this store, whether or not it exists."""
        return f"{self._layout.blobs}/{digest.algorithm}/{digest.encoded}"

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes, None if it does not exist."""
        for path in self._paths(digest):
            with contextlib.suppress(FileNotFoundError):
                return os.stat(path).st_size
        return None

    def _paths(self, digest: Digest) -> Iterator[str]:
        yield self.path(digest)
        for directory in self._shared:
            yield f"{directory}/{digest.algorithm}/{digest.encoded}"

    def _shared_size(self, digest: Digest) -> int | None:
        for path in itertools.islice(self._paths(digest), 1, None):
            with contextlib.suppress(FileNotFoundError):
                return os.stat(path).st_size
        return None

    def has_other_name(self, digest: Digest) -> bool:
        """Say whether the blob's file has a second name, which a driver keeps."""
        try:
            return os.stat(self.path(digest)).st_nlink > 1
        except FileNotFoundError:
            return False

    def claim(self, descriptor: Descriptor) -> bool:
        """Say whether the blob is here, and protect it from a garbage collection that runs now."""
        self._lease()  # shows a garbage collection that a process claims blobs
        path = self.path(descriptor.digest)
        while True:
            with full_disk(self._layout.root), _held(path) as fd:
                if fd is None:
                    return self._shared_size(descriptor.digest) == descriptor.size
                if is_same(path, fd):  # otherwise it was removed or replaced meanwhile
                    os.utime(fd)
                    return os.fstat(fd).st_size == descriptor.size

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading without verification: it was verified when it was stored."""
        for path in self._paths(digest):
            with contextlib.suppress(FileNotFoundError):
                return open_noatime(path)
        raise BlobNotFound(
            f"blob {digest} is not in the store", hint="pull, load or build the image again"
        )

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a document (manifest, index, config) of at most 4 MiB; it is verified again."""
        with self.open(descriptor.digest) as file:
            size = min(descriptor.size, MANIFEST_LIMIT)
            reader = VerifiedReader(file, descriptor.digest, size, where="store")
            return reader.read() + reader.read()

    def hash(self, digest: Digest) -> Digest:
        """Return the digest of the content that is stored as the blob *digest*."""
        hasher = digest.hasher()
        with self.open(digest) as file:
            while data := file.read(_CHUNK):
                hasher.update(data)
        return Digest(digest.algorithm, hasher.hexdigest())

    def writer(self, lease: Lease) -> BlobWriter:
        """Return a writer for a new blob."""
        return BlobWriter(self._layout, lease, self.written)

    def put(self, data: bytes, lease: Lease) -> Digest:
        """Store *data* as a blob, unless it is there already."""
        digest = Digest.of(data)
        if not self.claim(Descriptor(media_type="", digest=digest, size=len(data))):
            with self.writer(lease) as writer:
                writer.write(data)
                writer.commit()
        return digest

    def adopt(self, path: str, digest: Digest) -> None:
        """Make the durable file *path*, whose digest was verified, the blob *digest*, too.

        It is a hard link: the content is stored once, under two names.  Nothing happens where the
        file system has no hard links.
        """
        blob = self.path(digest)
        new = self._lease().file()
        with full_disk(self._layout.root):
            try:
                os.link(path, new)
            except OSError as error:
                if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    return
                raise
            os.utime(new)
            os.makedirs(os.path.dirname(blob), exist_ok=True)
            with _held(blob):
                os.rename(new, blob)
        self.written.add(digest)

    def all(self) -> Iterator[Digest]:
        """Yield the digest of every blob; files of other tools are skipped."""
        for algorithm in os.listdir(self._layout.blobs):
            for name in os.listdir(f"{self._layout.blobs}/{algorithm}"):
                with contextlib.suppress(BadDigest):
                    yield Digest.parse(f"{algorithm}:{name}")

    def quarantine(self, digest: Digest) -> bool:
        """Move a corrupt blob into the directory ``damaged/``.

        False if it is missing, or was replaced by a correct one meanwhile.
        """
        path = self.path(digest)
        with full_disk(self._layout.root):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # a process that replaces the blob waits
                if not is_same(path, fd) or self.hash(digest) == digest:
                    return False
                os.makedirs(self._layout.quarantine, mode=0o700, exist_ok=True)
                os.rename(path, self._quarantined(digest))
                return True
            finally:
                os.close(fd)

    def remove_quarantined(self, digest: Digest) -> None:
        """Remove a blob that `quarantine` has moved."""
        with full_disk(self._layout.root), contextlib.suppress(FileNotFoundError):
            os.unlink(self._quarantined(digest))

    def remove_all_quarantined(self, missing: Container[Digest]) -> None:
        """Remove all that `quarantine` has moved, except blobs that are still *missing*."""
        names = (
            os.listdir(self._layout.quarantine) if os.path.isdir(self._layout.quarantine) else []
        )
        for name in names:
            digest = Digest.parse(name.replace("-", ":", 1))
            if digest not in missing:
                self.remove_quarantined(digest)

    def _quarantined(self, digest: Digest) -> str:
        return f"{self._layout.quarantine}/{digest.algorithm}-{digest.encoded}"

    def collect(self, digest: Digest, before: int) -> int | None:
        """Remove a blob unless it was stored or claimed since *before*, in nanoseconds.

        Returns the bytes that are freed, None if it was not removed.
        """
        path = self.path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            # A process that claims or replaces it holds the lock, or waits and finds it removed.
            if not try_lock(fd) or not is_same(path, fd):
                return None
            state = os.fstat(fd)
            if state.st_mtime_ns >= before:
                return None
            self._remove(path, state.st_size)
            return state.st_size if state.st_nlink == 1 else 0  # it still has another name
        finally:
            os.close(fd)

    def _remove(self, path: str, size: int) -> None:
        """Remove a blob; a large one is moved to the trash, because freeing it takes long."""
        if size >= _LARGE:
            with contextlib.suppress(OSError):  # a full disk may have no space for the new name
                os.makedirs(self._layout.trash, mode=0o700, exist_ok=True)
                os.rename(path, f"{self._layout.trash}/{os.urandom(8).hex()}")
                return
        os.unlink(path)


@contextlib.contextmanager
def _held(path: str) -> Iterator[int | None]:
    """Protect the file *path* from `Blobs.collect`; yields its descriptor, None without it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield fd
    finally:
        os.close(fd)


class BlobWriter:
    """Takes the bytes of one blob.  Without a `commit` they are removed again.

    Its file is opened with the first byte, and again after a `rest`.
    """

    def __init__(self, layout: Layout, lease: Lease, written: set[Digest]) -> None:
        self._layout = layout
        self._written = written
        self._path = lease.file()
        self._fd = -1
        self._hash = hashlib.sha256()
        self.size = 0  # bytes written

    def write(self, data: bytes) -> None:
        """Take the next bytes; `StoreError` if the disk is full."""
        with full_disk(self._layout.root):
            write_all(self._open(), data)
        self._hash.update(data)
        self.size += len(data)

    def rest(self) -> None:
        """Close the file until there is more to write."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._fd, self.size)  # a failed write may have left a part
            os.lseek(self._fd, self.size, os.SEEK_SET)
        return self._fd

    def commit(self, wanted: Descriptor | None = None) -> Digest:
        """Make the blob visible and durable; returns its digest.

        Raises:
            DigestMismatch: the content is not *wanted*.
            StoreError: the disk is full, or fails.
        """
        with full_disk(self._layout.root):
            file = self._open()
            digest = Digest("sha256", self._hash.hexdigest())
            if wanted is not None:
                digest = self._verified(wanted, digest)
            os.fsync(file)
            directory = f"{self._layout.blobs}/{digest.algorithm}"
            os.makedirs(directory, exist_ok=True)
            path = f"{directory}/{digest.encoded}"
            with _held(path):
                os.rename(self._path, path)
            self._written.add(digest)
            sync_directory(directory)
        return digest

    def _verified(self, wanted: Descriptor, digest: Digest) -> Digest:
        if self.size != wanted.size:
            raise DigestMismatch(str(wanted.digest), f"{self.size} bytes", size=self.size)
        if wanted.digest.algorithm != "sha256":
            with open(self._path, "rb") as file:
                found = hashlib.file_digest(file, wanted.digest.algorithm)
            digest = Digest(wanted.digest.algorithm, found.hexdigest())
        if digest != wanted.digest:
            raise DigestMismatch(str(wanted.digest), str(digest), size=self.size)
        return digest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
