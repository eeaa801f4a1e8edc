"""Blobs by digest: written to a temporary file, verified, synced, renamed.

A blob that can be seen is whole and durable.  The directory is that of an OCI image layout.
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
from ocitool.layer.beneath import open_quietly
from ocitool.oci.digest import Digest, VerifiedReader
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor
from ocitool.store.atomic import is_same, sync_directory, try_lock, write_all
from ocitool.store.disk import full_disk
from ocitool.store.layout import Layout
from ocitool.store.leases import Lease

_CHUNK: Final = 1 << 20  # bytes
_LARGE: Final = 8 << 20  # bytes, which take some milliseconds to free


class Blobs:
    """The blobs of one store, and to read those of the directories *shared* of others."""

    def __init__(
        self, layout: Layout, lease: Callable[[], Lease], shared: Sequence[str] = ()
    ) -> None:
        self._layout = layout
        self._lease = lease
        self._shared = shared

    def path(self, digest: Digest) -> str:
        """Return where the blob lies, whether or not it is there."""
        return f"{self._layout.blobs}/{digest.algorithm}/{digest.encoded}"

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes, None if it is not there."""
        for path in self._places(digest):
            with contextlib.suppress(FileNotFoundError):
                return os.stat(path).st_size
        return None

    def _places(self, digest: Digest) -> Iterator[str]:
        yield self.path(digest)
        for directory in self._shared:
            yield f"{directory}/{digest.algorithm}/{digest.encoded}"

    def _shared_size(self, digest: Digest) -> int | None:
        for path in itertools.islice(self._places(digest), 1, None):
            with contextlib.suppress(FileNotFoundError):
                return os.stat(path).st_size
        return None

    def has_other_name(self, digest: Digest) -> bool:
        """Say whether the blob is a file that a driver keeps as well."""
        try:
            return os.stat(self.path(digest)).st_nlink > 1
        except FileNotFoundError:
            return False

    def claim(self, descriptor: Descriptor) -> bool:
        """Say whether the blob is there, and keep a collection that runs now from taking it."""
        self._lease()  # by which a collection knows that there is somebody who claims
        path = self.path(descriptor.digest)
        while True:
            with full_disk(self._layout.root), _held(path) as fd:
                if fd is None:
                    return self._shared_size(descriptor.digest) == descriptor.size
                if is_same(path, fd):  # else it was collected, or replaced, while we waited
                    os.utime(fd)
                    return os.fstat(fd).st_size == descriptor.size

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading, unproved: it was verified when it came in."""
        for path in self._places(digest):
            with contextlib.suppress(FileNotFoundError):
                return open_quietly(path)
        raise BlobNotFound(
            f"the blob {digest} is not in the store", hint="pull or build the image again"
        )

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a document (manifest, index, config), verified again, at most 4 MiB."""
        with self.open(descriptor.digest) as file:
            size = min(descriptor.size, MANIFEST_LIMIT)
            reader = VerifiedReader(file, descriptor.digest, size, where="store")
            return reader.read() + reader.read()

    def hash(self, digest: Digest) -> Digest:
        """Return the digest that the content of the blob *digest* really has."""
        hasher = digest.hasher()
        with self.open(digest) as file:
            while data := file.read(_CHUNK):
                hasher.update(data)
        return Digest(digest.algorithm, hasher.hexdigest())

    def writer(self, lease: Lease) -> BlobWriter:
        """Return a writer for a new blob."""
        return BlobWriter(self._layout, lease)

    def put(self, data: bytes, lease: Lease) -> Digest:
        """Store *data* as a blob; nothing happens if it is there."""
        digest = Digest.of(data)
        if not self.claim(Descriptor(media_type="", digest=digest, size=len(data))):
            with self.writer(lease) as writer:
                writer.write(data)
                writer.commit()
        return digest

    def adopt(self, path: str, digest: Digest) -> None:
        """Let the durable file *path*, whose digest was verified, be the blob *digest*, too.

        The content is there once, under two names.  Where the file system gives no second name
        nothing happens: the blob can be had in other ways.
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

    def all(self) -> Iterator[Digest]:
        """Yield the digest of every blob; what other tools have laid beside them is passed over."""
        for algorithm in os.listdir(self._layout.blobs):
            for name in os.listdir(f"{self._layout.blobs}/{algorithm}"):
                with contextlib.suppress(BadDigest):
                    yield Digest.parse(f"{algorithm}:{name}")

    def quarantine(self, digest: Digest) -> bool:
        """Move a blob out of the way, into ``damaged/``, if it is not what its digest says.

        False if it is not there, or was replaced by a good one meanwhile.
        """
        path = self.path(digest)
        with full_disk(self._layout.root):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # as a collection: who replaces it waits
                if not is_same(path, fd) or self.hash(digest) == digest:
                    return False
                os.makedirs(self._layout.damaged, mode=0o700, exist_ok=True)
                os.rename(path, self._aside(digest))
                return True
            finally:
                os.close(fd)

    def remove_quarantined(self, digest: Digest) -> None:
        """Remove for good what `quarantine` has moved."""
        with full_disk(self._layout.root), contextlib.suppress(FileNotFoundError):
            os.unlink(self._aside(digest))

    def remove_all_quarantined(self, missing: Container[Digest]) -> None:
        """Remove all that `quarantine` has moved, but for what is still *missing*."""
        names = os.listdir(self._layout.damaged) if os.path.isdir(self._layout.damaged) else []
        for name in names:
            digest = Digest.parse(name.replace("-", ":", 1))
            if digest not in missing:
                self.remove_quarantined(digest)

    def _aside(self, digest: Digest) -> str:
        return f"{self._layout.damaged}/{digest.algorithm}-{digest.encoded}"

    def collect(self, digest: Digest, before: int) -> int | None:
        """Remove a blob unless it was stored or claimed since *before*, in nanoseconds.

        Returns the bytes that this gives back, None if it was not removed.
        """
        path = self.path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            # Who claims or replaces it holds the lock, or waits for it and finds it gone.
            if not try_lock(fd) or not is_same(path, fd):
                return None
            state = os.fstat(fd)
            if state.st_mtime_ns >= before:
                return None
            self._put_away(path, state.st_size)
            return state.st_size if state.st_nlink == 1 else 0  # it has another name yet
        finally:
            os.close(fd)

    def _put_away(self, path: str, size: int) -> None:
        """Take a blob's name away; what takes long to free waits in the trash."""
        if size >= _LARGE:
            with contextlib.suppress(OSError):  # a full disk has no room for another name
                os.makedirs(self._layout.trash, mode=0o700, exist_ok=True)
                os.rename(path, f"{self._layout.trash}/{os.urandom(8).hex()}")
                return
        os.unlink(path)


@contextlib.contextmanager
def _held(path: str) -> Iterator[int | None]:
    """Keep `Blobs.collect` from the file *path*; yields its descriptor, None if there is none."""
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
    """Takes the bytes of one blob.  Left without `commit`, nothing stays of it.

    Its file is open from the first byte on, and from the next one after a `rest`.
    """

    def __init__(self, layout: Layout, lease: Lease) -> None:
        self._layout = layout
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
            os.ftruncate(self._fd, self.size)  # a write that failed may have left a part
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
