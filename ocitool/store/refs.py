"""Names of images: the entries of the layout's ``index.json``.

Names are kept in this file alone, so any tool that reads OCI layouts sees the same images.  An
entry without a name is an image that lost its tag, or never had one.

Each entry is written on one line: a look-up parses only the lines that match, and is as fast with
ten thousand images as with ten.  For other tools it is ordinary JSON.  A file that another tool has
written is parsed as a whole, and written with one entry a line at the next change.

Source: OCI image-spec v1.1, image-layout.md, annotations.md.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from ocitool.errors import StoreError
from ocitool.layer.fileio import read_noatime
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, dump
from ocitool.oci.mediatypes import OCI_INDEX
from ocitool.store.directory.atomic import write_file
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.layout import Layout

__all__ = ["CONTAINERD_NAME", "REF_NAME", "Entries", "Refs", "name_of"]

_REMEDY: Final = (
    'put {"schemaVersion":2,"manifests":[]} into it, then pull, build or load the images again; '
    "content that is still in the store is not fetched again"
)

Entries = tuple[Descriptor, ...]


class NamedDigest(NamedTuple):
    """The name of an entry (``""`` for none), and the digest that it points to."""

    name: str
    digest: str


class Refs:
    """The names of one store.  A change is one rename, under a lock among processes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = layout.index

    def all(self) -> Entries:
        """Return every entry, oldest first."""
        with self._errors_translated():
            return tuple(map(entry_of, self._lines()))

    def get(self, name: str) -> Descriptor | None:
        """Return what *name* points to."""
        found = self._having(name)
        return next((entry for entry in found if name_of(entry) == name), None)

    def beginning(self, prefix: str) -> Entries:
        """Return the entries whose name begins with *prefix*, oldest first."""
        return tuple(e for e in self._having(prefix) if name_of(e).startswith(prefix))

    def pointing(self, digest: Digest) -> Entries:
        """Return the entries that point to *digest*, oldest first."""
        return tuple(e for e in self._having(str(digest)) if e.digest == digest)

    def names(self) -> list[NamedDigest]:
        """Return name and digest of every entry, oldest first; ten times as fast as `all`."""
        with self._errors_translated():
            return [NamedDigest(name_in(line), digest_of(line)) for line in self._lines()]

    def set(self, name: str, target: Descriptor) -> None:
        """Point *name* (``""`` for none) to *target*; what it pointed to loses this name."""
        self._change(lambda lines: with_name(lines, name, target))

    def alias(self, name: str, target: Descriptor) -> bool:
        """Do as `set` does if another entry points to *target*; False if none does.

        Without an entry the content of an image may be removed: the new name would name nothing.
        """
        found = False

        def change(lines: list[bytes]) -> list[bytes]:
            nonlocal found
            same = having(lines, str(target.digest)).values()
            found = any(entry.digest == target.digest for entry in same)
            return with_name(lines, name, target) if found else lines

        self._change(change)
        return found

    def remove(self, name: str) -> bool:
        """Remove *name*; its image stays if it has another.  False if there was no such name."""
        return self._change(lambda lines: without_name(lines, name))

    def drop(self, digests: Sequence[Digest]) -> None:
        """Remove every entry that points to one of *digests*."""
        self._change(lambda lines: without_digests(lines, digests))

    def _having(self, text: str) -> Sequence[Descriptor]:
        with self._errors_translated():
            return tuple(having(self._lines(), text).values())

    def _lines(self) -> list[bytes]:
        try:
            raw = read_noatime(self._path)
        except FileNotFoundError:
            return []
        return split(raw)

    def _change(self, change: Callable[[list[bytes]], list[bytes]]) -> bool:
        with self._layout.lock("refs"), self._errors_translated():
            before = self._lines()
            after = change(before)
            if after != before:
                with full_disk(self._layout.root):
                    write_file(self._path, join(after))
            return after != before

    @contextlib.contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise StoreError(
                f"index.json is corrupt: {error}", where=self._path, hint=_REMEDY
            ) from error


#: image-spec: only valid in a layout's index.json.  The full name, as several tools write it.
REF_NAME: Final = "org.opencontainers.image.ref.name"
#: containerd's, which docker and nerdctl read on import.
CONTAINERD_NAME: Final = "io.containerd.image.name"

_HEAD: Final = b'{"schemaVersion":2,"mediaType":"%b","manifests":[\n' % OCI_INDEX.encode()
_TAIL: Final = b"\n]}\n"
_BETWEEN: Final = b",\n"  # JSON has no line end inside a string
_BEGIN: Final = b'{"mediaType":"'
#: The first in a line is the entry's own; inside a string the quotes would be escaped.
_DIGEST: Final = re.compile(rb'"digest":"([^"]+)"')
_NAME: Final = re.compile(rb'"io\.containerd\.image\.name":"([^"\\]+)"')


def split(raw: bytes) -> list[bytes]:
    """Return the lines of the entries; `BadManifest` if *raw* is not an index."""
    if raw.startswith(_HEAD) and raw.endswith(_TAIL):
        lines = raw[len(_HEAD) : -len(_TAIL)].split(_BETWEEN)
        if all(line.startswith(_BEGIN) and line.endswith(b"}") for line in lines):
            return lines
    return [line_of(entry) for entry in Index.parse(raw, OCI_INDEX, limit=len(raw)).manifests]


def join(lines: Sequence[bytes]) -> bytes:
    """Return the text of an index with *lines*."""
    return _HEAD + _BETWEEN.join(lines) + _TAIL


def line_of(entry: Descriptor) -> bytes:
    """Return the line of one entry."""
    return dump(entry.to_json())


def entry_of(line: bytes) -> Descriptor:
    """Return the entry of a line; `ValueError` if it is corrupt."""
    return Descriptor.from_json(json.loads(line))


def digest_of(line: bytes) -> str:
    """Return the digest of the entry of a line."""
    match = _DIGEST.search(line)
    return match[1].decode() if match else ""


def name_of(entry: Descriptor) -> str:
    """Return the name of an entry, ``""`` if it has none."""
    return entry.annotations.get(CONTAINERD_NAME) or entry.annotations.get(REF_NAME, "")


def name_in(line: bytes) -> str:
    """Return the name of the entry of a line, ``""`` if it has none."""
    found = _NAME.findall(line)
    if len(found) == 1:
        name: bytes = found[0]
        return name.decode()
    return name_of(entry_of(line)) if b'"annotations":' in line else ""


def having(lines: Sequence[bytes], text: str) -> dict[int, Descriptor]:
    """Return the entries whose lines contain *text* anywhere, by the number of the line."""
    wanted = _quoted(text)
    return {at: entry_of(line) for at, line in enumerate(lines) if wanted in line}


def with_name(lines: Sequence[bytes], name: str, target: Descriptor) -> list[bytes]:
    """Return *lines* with *name* (``""`` for none) pointing to *target*.

    The image that it pointed to is kept without a name (docker's ``<none>``) if it has no other.
    An entry without a name is kept only while no other entry points to its image.
    """
    same = having(lines, str(target.digest))
    before = having(lines, name) if name else same
    if any(name_of(e) == name and e.digest == target.digest for e in (before | same).values()):
        return list(lines)
    if not name and same:
        return list(lines)
    changed: dict[int, bytes] = {at: b"" for at, entry in same.items() if not name_of(entry)}
    for at, entry in before.items():
        if name and name_of(entry) == name:
            others = having(lines, str(entry.digest)).keys() - {at}
            changed[at] = b"" if others else line_of(_bare(entry))
    kept = [changed.get(at, line) for at, line in enumerate(lines)]
    added = _bare(target)
    if name:
        added = added.annotated(**{REF_NAME: name, CONTAINERD_NAME: name})
    return [line for line in kept if line] + [line_of(added)]


def without_name(lines: Sequence[bytes], name: str) -> list[bytes]:
    """Return *lines* without the entries that have the name *name*."""
    gone = {at for at, entry in having(lines, name).items() if name_of(entry) == name}
    return [line for at, line in enumerate(lines) if at not in gone]


def without_digests(lines: Sequence[bytes], digests: Iterable[Digest]) -> list[bytes]:
    """Return *lines* without the entries that point to one of *digests*."""
    gone = {str(digest) for digest in digests}
    return [line for line in lines if digest_of(line) not in gone]


def _quoted(text: str) -> bytes:
    """Return *text* as it stands in a line, without its quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace")


def _bare(entry: Descriptor) -> Descriptor:
    return replace(entry, annotations={})
