"""What a mount shows, as a tar: for a directory of its own, where it cannot be shown as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ocitool.builder.copy.entries import require_path
from ocitool.builder.copy.sources import Source
from ocitool.builder.solver.mounts.sources import MountSource
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.tar.writer import TarWriter

Sink = Callable[[bytes], object]


def write_root(root: Entry, sink: Sink) -> None:
    """Write an empty directory with the attributes of *root*."""
    writer = TarWriter(sink)
    writer.add(root)
    writer.close()


def write_source(source: MountSource, root: Entry, sink: Sink) -> None:
    """Write the directory that *source* names as *root*; of a file a root with the file in it.

    Files of a context belong to root, as those that a COPY takes from there.
    """
    files, item = source.files.source(), source.item()
    writer = TarWriter(sink)
    writer.add(root)
    found = files.walk(item) if item.is_directory else iter([files.file(item)])
    with _content(files, found) as (entries, content):
        for entry, handle in entries:
            require_path(entry.path)
            if not files.keeps_owners:
                entry = entry._replace(uid=0, gid=0)
            writer.add(entry)
            if entry.kind == Kind.FILE and entry.size:
                for piece in content(handle, entry.size):
                    writer.content(piece)
    writer.close()


@contextlib.contextmanager
def _content(files: Source, found: Iterator[tuple[Entry, Any]]) -> Iterator[Any]:
    """Return the entries and what reads their contents; an image has to know which, first."""
    if files.random_access:
        with files.contents([]) as content:
            yield found, content
        return
    entries = list(found)
    handles = [h for e, h in entries if e.kind == Kind.FILE and h is not None]
    with files.contents(handles) as content:
        yield entries, content
