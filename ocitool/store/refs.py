"""Names of images: the entries of the layout's ``index.json``.

That file is the one truth about names, so any tool that reads OCI layouts sees the same images.
An entry without a name is an image that lost its tag, or never had one.  A look-up reads the file
and parses the entry it finds, so it takes as long with ten images as with ten thousand.

Source: OCI image-spec v1.1, image-layout.md, annotations.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ocitool.errors import StoreError
from ocitool.layer.beneath import read_quietly
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.store import entries
from ocitool.store.disk import full_disk
from ocitool.store.entries import CONTAINERD_NAME, REF_NAME, name_of
from ocitool.store.files import write_file
from ocitool.store.layout import Layout

__all__ = ["CONTAINERD_NAME", "REF_NAME", "Entries", "Refs", "name_of"]

_REMEDY: Final = (
    'put {"schemaVersion":2,"manifests":[]} into it, then pull, build or load the images again; '
    "what is there of them is not fetched again"
)

Entries = tuple[Descriptor, ...]


class Refs:
    """The names of one store.  A change is one rename, under a lock among processes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = layout.index

    def all(self) -> Entries:
        """Return every entry, oldest first."""
        with self._told():
            return tuple(map(entries.entry_of, self._lines()))

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

    def names(self) -> list[tuple[str, str]]:
        """Return name and digest of every entry, oldest first: `all` in a tenth of its time."""
        with self._told():
            return [(entries.name_in(line), entries.digest_of(line)) for line in self._lines()]

    def set(self, name: str, target: Descriptor) -> None:
        """Point *name* (``""`` for none) to *target*; what it pointed to loses this name."""
        self._change(lambda lines: entries.with_name(lines, name, target))

    def alias(self, name: str, target: Descriptor) -> bool:
        """Do as `set` does while another entry points to *target*; False if none does.

        What an image has may go as soon as none does: a name that came too late would name nothing.
        """
        found = False

        def change(lines: list[bytes]) -> list[bytes]:
            nonlocal found
            same = entries.having(lines, str(target.digest)).values()
            found = any(entry.digest == target.digest for entry in same)
            return entries.with_name(lines, name, target) if found else lines

        self._change(change)
        return found

    def remove(self, name: str) -> bool:
        """Remove *name*; its image stays if it has another.  False if there was no such name."""
        return self._change(lambda lines: entries.without_name(lines, name))

    def drop(self, digests: Sequence[Digest]) -> None:
        """Remove every entry that points to one of *digests*."""
        self._change(lambda lines: entries.without_digests(lines, digests))

    def _having(self, text: str) -> Sequence[Descriptor]:
        with self._told():
            return tuple(entries.having(self._lines(), text).values())

    def _lines(self) -> list[bytes]:
        try:
            raw = read_quietly(self._path)
        except FileNotFoundError:
            return []
        return entries.split(raw)

    def _change(self, change: Callable[[list[bytes]], list[bytes]]) -> bool:
        with self._layout.lock("refs"), self._told():
            before = self._lines()
            after = change(before)
            if after != before:
                with full_disk(self._layout.root):
                    write_file(self._path, entries.join(after))
            return after != before

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise StoreError(f"is damaged: {error}", where=self._path, hint=_REMEDY) from error
