"""Digests of what a COPY or ADD copies, which the cache keys are made of.

Modules that read images and archives are imported on use: a cached build needs none.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from ocitool.builder.context.context import Context, Item
from ocitool.builder.context.items import Files, find_items
from ocitool.builder.context.statcache import CHANGED_HINT
from ocitool.builder.definition import Copy
from ocitool.builder.solver.keys import contents_key
from ocitool.errors import BuildError
from ocitool.store.database.build_cache import Content
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store

if TYPE_CHECKING:
    from ocitool.builder.copy.sources import FromContext, FromImage
    from ocitool.builder.git.tree import RemoteTree
    from ocitool.builder.solver.http_file import RemoteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySource:
    """A copy step with what its ``source`` came to: a build context, or the layers of an image."""

    step: Copy
    store: Store
    context: Context | None
    layers: tuple[Layer, ...] = ()
    remotes: Mapping[str, RemoteFile | RemoteTree] = field(default_factory=dict)  # by their URLs

    def contents(self) -> tuple[Content, ...]:
        """Return name, kind and digest of each thing that is copied.

        Raises:
            BuildError: a path is missing, or a file cannot be fetched.
        """
        found: list[Content] = []
        for path in self.step.paths:
            if (remote := self.remotes.get(path)) is not None:
                found.append(self._of_remote(remote))
            elif self.context is not None:
                found.extend(self._of_context(self.context, path))
            else:
                found.extend(self._of_image(path))
        for name, text in self.step.texts:
            found.append(Content(name, "text", sha256(text).hexdigest()))
        return tuple(found)

    def _of_remote(self, remote: RemoteFile | RemoteTree) -> Content:
        if remote.is_tree:
            return remote.content(exclude=self.step.exclude)
        return remote.content(unpacked=self.step.unpack_remotes)

    def items(self, files: Files, path: str) -> list[Item]:
        """Return what *path*, one of the step's, names in *files*."""
        step = self.step
        return find_items(files, path, parents=step.parents, exclude=step.exclude)

    def source(self) -> FromContext | FromImage:
        """Return what the files are read from."""
        if self.context is None:
            return self._image()
        from ocitool.builder.copy.sources import FromContext

        return FromContext(self.context)

    def _image(self) -> FromImage:
        from ocitool.builder.copy.sources import FromImage
        from ocitool.image.image_fs import LayeredTree

        tree = LayeredTree(self.store.layers, self.layers)
        return FromImage(tree, self.step.source_name, lambda: self.store.lease().path)

    @contextlib.contextmanager
    def archive(self, item: Item) -> Iterator[int | None]:
        """Yield the descriptor of *item* if ADD unpacks it: a regular file that is an archive."""
        context = self.context
        if not self.step.unpack or context is None or not stat.S_ISREG(context.state(item).st_mode):
            yield None
            return
        from ocitool.builder.copy.archive import is_archive

        with context.reader() as open_file:
            fd = open_file(item.path)
        try:
            yield fd if is_archive(fd) else None
        finally:
            os.close(fd)

    def _of_context(self, context: Context, path: str) -> Iterator[Content]:
        for item in self.items(context, path):
            kind = "dir" if item.is_directory else "file"
            with self.archive(item) as archive:
                kind = kind if archive is None else "archive"
            # The name of a directory does not count: its content is copied.
            name = "" if item.is_directory else item.name
            yield Content(name, kind, context.digest(item))

    def _of_image(self, path: str) -> tuple[Content, ...]:
        """Return digests of an image's files; kept by its layers, for they have to be read."""
        owners = not self.step.chown  # which would set those of the files
        key = contents_key(
            self.layers, path, owners=owners, parents=self.step.parents, exclude=self.step.exclude
        )
        known = self.store.build_cache.contents(key)
        if known is not None:
            return known
        source = self._image()
        contents = tuple(
            Content(
                "" if item.is_directory else item.name,
                "owned",
                source.digest(item, owners=owners),
            )
            for item in self.items(source, path)
        )
        self.store.build_cache.put_contents(key, contents)
        return contents


def changed_context() -> BuildError:
    """Return the error of a context whose files are no longer those of the cache key."""
    return BuildError(
        "the context changed while it was copied",
        hint=CHANGED_HINT,
    )
