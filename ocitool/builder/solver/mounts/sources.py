"""What a mount shows of a build context, a stage or an image, and its digest for the cache key."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ocitool.builder.context.context import Context, Item
from ocitool.builder.context.name_patterns import as_source
from ocitool.builder.definition import Copy
from ocitool.builder.mounts import BindMount, CacheMount, RunMount
from ocitool.builder.solver.copy_digests import CopySource
from ocitool.builder.solver.keys import chain, key_of
from ocitool.errors import BuildError
from ocitool.layer.entry import Entry, Kind
from ocitool.store.database.build_cache import Content
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store

Origin: TypeAlias = Callable[[int], tuple[Context | None, tuple[Layer, ...]]]
"""Returns what a vertex came to: a build context, or the layers of a file system."""

_PLAIN = Entry("", Kind.DIRECTORY, 0o755)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSource:
    """The file or directory ``path`` that a mount shows, or that a new cache begins with."""

    files: CopySource
    path: str
    content: Content

    @property
    def context(self) -> Context | None:
        """The build context, if it is one."""
        return self.files.context

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of a stage or an image, lowest first."""
        return self.files.layers

    def item(self) -> Item:
        """Return what ``path`` is; links are followed."""
        return _item(self.files)

    def root(self) -> Entry:
        """Return the attributes of the directory that is mounted; of a file's they are plain."""
        return _root(self.files, self.item())

    def changed(self) -> bool:
        """Say whether the files are no longer those of the cache key."""
        return _content(self.files) != self.content


def mount_sources(
    mounts: tuple[RunMount, ...], store: Store, origin: Origin
) -> tuple[MountSource | None, ...]:
    """Return for each mount what it takes files from; None for those that take none.

    Raises:
        BuildError: a source is missing.
    """
    return tuple(_source(mount, store, origin) for mount in mounts)


def _source(mount: RunMount, store: Store, origin: Origin) -> MountSource | None:
    if not isinstance(mount, BindMount | CacheMount) or mount.source is None:
        return None
    context, layers = origin(mount.source)
    path = as_source(mount.path)
    files = CopySource(
        step=Copy(
            base=mount.source,
            platform="",
            source=mount.source,
            paths=(path,),
            dest="/",
            source_name=mount.source_name,
        ),
        store=store,
        context=context,
        layers=layers,
    )
    content = _content(files)
    if content is None:
        where = mount.source_name or "the build context"
        raise BuildError(f'"{mount.path}": not found', hint=f"looked for in {where}")
    return MountSource(files=files, path=path, content=content)


def _content(files: CopySource) -> Content | None:
    """Return the digest of the file, or of the directory and its own attributes."""
    if files.context is not None:
        return _with_root(files)
    # To know the attributes of an image's directory its index has to be read.
    (path,) = files.step.paths
    key = key_of("mounted", chain(files.layers), path)
    known = files.store.build_cache.contents(key)
    if known is None:
        found = _with_root(files)
        known = () if found is None else (found,)
        files.store.build_cache.put_contents(key, known)
    return known[0] if known else None


def _with_root(files: CopySource) -> Content | None:
    contents = files.contents()
    if not contents:  # of a pattern that nothing matches, which is no error of a COPY
        return None
    root = _root(files, _item(files))
    kind = f"{contents[0].kind} {root.mode:o} {root.uid}:{root.gid}"
    return contents[0]._replace(kind=kind)


def _item(files: CopySource) -> Item:
    (path,) = files.step.paths
    (item,) = files.items(files.context or files.source(), path)
    return item


def _root(files: CopySource, item: Item) -> Entry:
    if not item.is_directory:
        return _PLAIN
    if files.context is not None:
        found = files.context.state(item)
        # The mode of the context itself does not count, as it does not in a COPY.
        mode = stat.S_IMODE(found.st_mode) if item.path else _PLAIN.mode
        return _PLAIN._replace(mode=mode, mtime=found.st_mtime_ns)
    from ocitool.image.image_fs import LayeredTree

    there = LayeredTree(files.store.layers, files.layers).tree.get(item.path)
    return _PLAIN if there is None else there.entry._replace(path="")
