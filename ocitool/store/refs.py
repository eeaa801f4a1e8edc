"""Names of images: the entries of the layout's ``index.json``.

That file is the one truth about names, so any tool that reads OCI layouts sees the same images.
An entry without a name is an image that lost its tag, or never had one.

Source: OCI image-spec v1.1, image-layout.md, annotations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index
from ocitool.oci.mediatypes import OCI_INDEX
from ocitool.store.disk import full_disk
from ocitool.store.files import write_file
from ocitool.store.layout import Layout

#: image-spec: only valid in a layout's index.json.  The full name, as several tools write it.
REF_NAME: Final = "org.opencontainers.image.ref.name"
#: containerd's, which docker and nerdctl read on import.
CONTAINERD_NAME: Final = "io.containerd.image.name"

_REMEDY: Final = (
    'put {"schemaVersion":2,"manifests":[]} into it, then pull, build or load the images again; '
    "what is there of them is not fetched again"
)

Entries = tuple[Descriptor, ...]


def name_of(entry: Descriptor) -> str:
    """Return the name of an entry, ``""`` if it has none."""
    return entry.annotations.get(CONTAINERD_NAME) or entry.annotations.get(REF_NAME, "")


class Refs:
    """The names of one store.  A change is one rename, under a lock among processes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = f"{layout.oci}/index.json"

    def all(self) -> Entries:
        """Return every entry, oldest first."""
        try:
            with open(self._path, "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            return ()
        try:
            return Index.parse(raw, OCI_INDEX).manifests
        except ValueError as error:
            raise StoreError(f"is damaged: {error}", where=self._path, hint=_REMEDY) from error

    def get(self, name: str) -> Descriptor | None:
        """Return what *name* points to."""
        for entry in self.all():
            if name_of(entry) == name:
                return entry
        return None

    def set(self, name: str, target: Descriptor) -> None:
        """Point *name* (``""`` for none) to *target*; what it pointed to loses this name."""
        self._change(lambda entries: _with(entries, name, target))

    def remove(self, name: str) -> bool:
        """Remove *name*; its image stays if it has another.  False if there was no such name."""
        return self._change(lambda entries: tuple(e for e in entries if name_of(e) != name))

    def drop(self, digests: Sequence[Digest]) -> None:
        """Remove every entry that points to one of *digests*."""
        gone = set(digests)
        self._change(lambda entries: tuple(e for e in entries if e.digest not in gone))

    def _change(self, change: Callable[[Entries], Entries]) -> bool:
        with self._layout.lock("refs"):
            before = self.all()
            after = change(before)
            if after != before:
                with full_disk(self._layout.root):
                    write_file(self._path, Index.new(after).raw)
            return after != before


def _with(entries: Entries, name: str, target: Descriptor) -> Entries:
    kept = []
    for entry in entries:
        if name and name_of(entry) == name:
            if entry.digest == target.digest:
                return entries
            entry = _bare(entry)  # docker shows it as <none> until it is pruned
        kept.append(entry)
    named = _bare(target)
    if name:
        named = named.annotated(**{REF_NAME: name, CONTAINERD_NAME: name})
    # An entry without a name is there only while nothing else points to its image.
    rest = tuple(e for e in kept if name_of(e) or e.digest != target.digest)
    if not name and any(e.digest == target.digest for e in rest):
        return rest
    tagged = {e.digest for e in (*rest, named) if name_of(e)}
    unique: dict[tuple[str, Digest], Descriptor] = {}
    for entry in (*rest, named):
        if name_of(entry) or entry.digest not in tagged:
            unique[(name_of(entry), entry.digest)] = entry
    return tuple(unique.values())


def _bare(entry: Descriptor) -> Descriptor:
    from dataclasses import replace

    return replace(entry, annotations={}, platform=entry.platform)
