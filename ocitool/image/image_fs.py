"""Reading files of an image without unpacking its layers."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ocitool.errors import LayerError, NotFound
from ocitool.layer.codec import CHUNK
from ocitool.layer.compression.parallel import ReadAhead
from ocitool.layer.entry import Kind
from ocitool.layer.fileio import write_all_at
from ocitool.layer.index.merged import Found, ImageTree
from ocitool.layer.tar.sparse import Filler, Sparse
from ocitool.store.layer_content import Layer
from ocitool.store.layers import Layers

_SMALL: Final = 1 << 20  # bytes; more than any passwd file worth reading


class LayeredTree:
    """The merged files of *layers* (lowest first), read from their indexes and blobs."""

    def __init__(self, store: Layers, layers: Sequence[Layer]) -> None:
        self._store = store
        self._layers = tuple(layers)

    @functools.cached_property
    def tree(self) -> ImageTree:
        """The entries."""
        return ImageTree(self._store.index(layer) for layer in self._layers)

    def read(self, path: str) -> bytes:
        """Return a small file, links followed inside the image.

        Raises:
            NotFound: there is no such file.
            LayerError: it is larger than 1 MiB.
        """
        found = self.tree.get(self.tree.resolve(path))
        if found is None or found.entry.kind != Kind.FILE:
            raise NotFound(f"the image has no file /{path.lstrip('/')}")
        if found.entry.size > _SMALL:
            raise LayerError(f"file is larger than {_SMALL} bytes", where=path)
        for _, stream in self._contents(found.layer, [found]):
            return b"".join(stream)
        return b""

    def digests(self, files: Iterable[Found]) -> dict[tuple[int, int], str]:
        """Return the SHA-256 of several files' contents, by layer and offset."""
        digests: dict[tuple[int, int], str] = {}
        for found, content in self.contents(files):
            hasher = hashlib.sha256()
            for piece in content:
                hasher.update(piece)
            digests[(found.layer, found.offset)] = hasher.hexdigest()
        return digests

    def contents(self, files: Iterable[Found]) -> Iterator[tuple[Found, Iterator[bytes]]]:
        """Yield each of *files* that has content with its pieces, in one pass through each layer.

        They come in the order of the layers.  Of several with the same content (hard links), the
        last is yielded.
        """
        for layer, ordered in _by_layer(files):
            yield from self._contents(layer, ordered)

    @contextlib.contextmanager
    def spool(self, wanted: Iterable[Found], directory: str) -> Iterator[Spool]:
        """Fetch the contents of several files in one pass through each layer.

        They are kept in one unnamed temporary file in *directory*, so that little memory is needed.
        """
        with tempfile.TemporaryFile(dir=directory) as file:
            spool = Spool(file.fileno())
            for found, content in self.contents(wanted):
                spool.take(found, content)
            os.ftruncate(file.fileno(), spool.end)  # it may end with a hole
            yield spool

    def _contents(
        self, layer: int, ordered: Sequence[Found]
    ) -> Iterator[tuple[Found, Iterator[bytes]]]:
        """Yield the contents of files of one layer; *ordered* is sorted by offset."""
        position = 0
        with contextlib.closing(ReadAhead(self._store.open(self._layers[layer]))) as stream:
            for found in ordered:
                for piece in _pieces(stream, found.offset - position):
                    position += len(piece)
                content = _content(stream, found)
                yield found, content
                for _ in content:  # skip what the caller did not read
                    pass
                position = found.offset + found.packed


def _by_layer(files: Iterable[Found]) -> Iterator[tuple[int, list[Found]]]:
    """Group files that have content by layer, each group sorted by offset."""
    layers: dict[int, dict[int, Found]] = {}
    for found in files:
        if found.entry.size:
            layers.setdefault(found.layer, {})[found.offset] = found
    for layer, contents in layers.items():
        yield layer, [contents[offset] for offset in sorted(contents)]


def _content(stream: ReadAhead, found: Found) -> Iterator[bytes]:
    if found.sparse is None:
        return _pieces(stream, found.entry.size)
    filler = Filler(Sparse(found.entry.size, found.sparse), lambda size: _piece(stream, size))
    return iter(lambda: filler.read(CHUNK), b"")


def _pieces(stream: ReadAhead, size: int) -> Iterator[bytes]:
    while size:
        piece = _piece(stream, min(size, CHUNK))
        size -= len(piece)
        yield piece


def _piece(stream: ReadAhead, size: int) -> bytes:
    piece = stream.read(size)
    if not piece:
        raise LayerError("unexpected end of the layer: a file that its index names is missing")
    return piece


class Spool:
    """Contents of files in one temporary file, found by layer and offset."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._offsets: dict[tuple[int, int], int] = {}
        self.end = 0

    def take(self, found: Found, content: Iterator[bytes]) -> None:
        """Keep the content of one file."""
        self._offsets[(found.layer, found.offset)] = self.end
        for piece in content:
            if found.sparse is not None and piece.count(0) == len(piece):
                self.end += len(piece)  # a hole
                continue
            write_all_at(self._fd, piece, self.end)
            self.end += len(piece)

    def pieces(self, found: Found) -> Iterator[bytes]:
        """Yield the content of a file that was taken."""
        if not found.entry.size:
            return
        at = self._offsets[(found.layer, found.offset)]
        left = found.entry.size
        while left:
            piece = os.pread(self._fd, min(left, CHUNK), at)
            if not piece:
                raise LayerError("temporary file was truncated", where=found.entry.path)
            at += len(piece)
            left -= len(piece)
            yield piece
