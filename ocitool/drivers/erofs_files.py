"""Files of the EROFS driver: a tar that is copied while it is read, and images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ocitool.layer.codec import CHUNK
from ocitool.layer.compression.parallel import Lane
from ocitool.layer.entry import Entry, encode
from ocitool.layer.erofs.format import BLOCK
from ocitool.layer.erofs.reader import ErofsImage
from ocitool.layer.fileio import open_noatime, write_all, write_all_at
from ocitool.layer.tar.reader import TarReader
from ocitool.oci.content import Stream
from ocitool.oci.streams import Tee

if TYPE_CHECKING:
    from ocitool.layer.erofs.lower_layers import Stack


_FLUSHED: Final = 8 * CHUNK  # bytes at a time
_SYNC_FILE_RANGE_WRITE: Final = 2  # linux/fs.h


class CopiedStream:
    """A stream whose bytes are also written to the new file *path*, by a separate thread."""

    def __init__(self, stream: Stream, path: str) -> None:
        self._stream = stream
        self._file = open(path, "xb", buffering=0)
        self._lane = Lane(self._write)
        self._open = True
        self._size = self._flushed = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._lane.put(data)
        return data

    def finish(self) -> None:
        """Wait until all bytes that were read are in the file and durable."""
        self._open = False
        self._lane.close()

    def close(self) -> None:
        """Close the file; after an error it has the bytes that were read until then."""
        try:
            if self._open:
                self._open = False
                self._lane.close()
        finally:
            self._file.close()

    def _write(self, data: bytes) -> None:
        if not data:  # at the end: synced while the image is made
            os.fdatasync(self._file.fileno())
        write_all(self._file.fileno(), data)
        self._size += len(data)
        if self._size - self._flushed >= _FLUSHED:  # otherwise all of it would wait for the end
            _begin_writing(self._file.fileno(), self._flushed, self._size - self._flushed)
            self._flushed = self._size


class HolesFile:
    """The content of sparse files, in a file with the same holes; made when first needed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self.size = 0

    def take(self, reader: TarReader, size: int) -> int:
        """Copy the content of the member that *reader* is at; return its offset."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        start = self.size
        for at, data in reader.runs():
            write_all_at(self._fd, data, start + at)
        self.size += -(-size // BLOCK) * BLOCK
        os.ftruncate(self._fd, self.size)
        return start

    def finish(self) -> None:
        """Make the file durable."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class ComparedStream:
    """A stream that is compared with the file *path*; ``differs`` is the first difference."""

    def __init__(self, stream: Stream, path: str) -> None:
        self._stream = stream
        self._file = open_noatime(path)
        self._at = 0
        self.differs = ""

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        if not self.differs and self._file.read(len(data) or 1) != data:
            self.differs = f"differs between byte {self._at} and {self._at + len(data)}"
        self._at += len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ComparedHoles:
    """Instead of a `HolesFile`: compares the members with one that was written before."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.size = 0
        self.differs = ""

    def take(self, reader: TarReader, size: int) -> int:
        """Compare the content of the member that *reader* is at; return its offset."""
        start = self.size
        try:
            with open_noatime(self._path) as file:
                file.seek(start)
                pieces = iter(lambda: reader.read(CHUNK), b"")
                same = all(file.read(len(data)) == data for data in pieces)
        except FileNotFoundError:
            same = False
        self.size += -(-size // BLOCK) * BLOCK
        if not same and not self.differs:
            self.differs = f"differs after byte {start}"
        return start


def copy_tar(path: str, sink: Callable[[bytes], object]) -> int:
    """Send the tar *path* to *sink*; return the number of its members."""

    with open(path, "rb", buffering=0) as file:
        reader = TarReader(Tee(file, sink))
        count = sum(1 for _ in reader)
        reader.drain()
    return count


def write_durably(path: str, data: bytes) -> None:
    """Write *data* to the file *path*; its name is not synced."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fdatasync(file.fileno())


def write_whole(directory: str, name: str, data: bytes) -> None:
    """Make the file *name* in *directory*, complete and durable, or not at all.

    A file of that name that exists already is not changed.
    """
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # It has no name until it is complete (open(2), "O_TMPFILE").
        fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=parent)
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(fd)
            with contextlib.suppress(FileExistsError):
                os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)
    finally:
        os.close(parent)


def _begin_writing(fd: int, offset: int, size: int) -> None:
    """Ask the kernel to start writing a part of a file to disk; errors do not matter."""
    import ctypes

    from ocitool_runtime.sandbox.kernel.syscalls import libc

    libc.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


class LayerImage(NamedTuple):
    """The image *path* of the layer *name*, or of all layers up to it."""

    name: str
    path: str


@contextlib.contextmanager
def opened(images: Sequence[LayerImage]) -> Iterator[Stack]:
    """Open *images*, the topmost first, for lookups."""
    from ocitool.layer.erofs.lower_layers import Below, Stack

    with contextlib.ExitStack() as stack:
        below = []
        for each in images:
            image = stack.enter_context(ErofsImage(each.path))
            below.append(Below(name=each.name, image=image))
        yield Stack(below)


class BeforeInImages:
    """What a *stack* of images shows, as `ocitool.layer.changes.before.Before` has it.

    *device* returns the file of a device by its tag in an image, and that image's layer.
    """

    def __init__(self, stack: Stack, device: Callable[[str, str], str]) -> None:
        self._stack = stack
        self._device = device

    def look(self, path: str) -> Entry | None:
        return self._stack.look(path)

    def names(self, directory: str) -> Iterable[str]:
        return self._stack.names(directory)

    def links(self, path: str) -> int:
        return 1  # overlayfs copies one name of a file

    def same_content(self, path: str, host_path: str) -> bool:
        from ocitool.layer.changes.before import same_content

        found = self._stack.find(encode(path).split(b"/"))
        if found is None or found.below is None:
            return False
        tag = found.below.image.devices[found.node.device].tag
        return same_content(self._device(tag, found.below.name), host_path, found.node.offset)


def merged_image(images: Sequence[LayerImage]) -> bytes:
    """Return one image that shows what a stack of *images* shows; deterministic."""
    from ocitool.layer.erofs.merge import merge
    from ocitool.layer.erofs.writer import write

    with opened(images) as below:
        return write(*merge(below.images))
