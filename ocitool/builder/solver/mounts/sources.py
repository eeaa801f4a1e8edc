"""What a mount shows of a build context, a stage or an image, and its digest for the cache key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ocitool.builder.context.context import Context, Item
from ocitool.builder.definition import Copy
from ocitool.builder.mounts import BindMount, CacheMount, RunMount
from ocitool.builder.solver.copy_digests import CopySource
from ocitool.errors import BuildError
from ocitool.store.build_cache import Content
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store

Origin: TypeAlias = Callable[[int], tuple[Context | None, tuple[Layer, ...]]]
"""Returns what a vertex came to: a build context, or the layers of a file system."""

_PATTERN = re.compile(r"([*?\[\\])")


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
        (item,) = self.files.items(self.files.source(), self.path)
        return item

    def changed(self) -> bool:
        """Say whether the files are no longer those of the cache key."""
        return self.files.contents() != (self.content,)


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
    path = _PATTERN.sub(r"\\\1", mount.path)  # a path, and no pattern
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
    contents = files.contents()
    if len(contents) != 1:  # a pattern that nothing matches is no error of a COPY
        where = mount.source_name or "the build context"
        raise BuildError(f'"{mount.path}": not found', hint=f"looked for in {where}")
    return MountSource(files=files, path=path, content=contents[0])
