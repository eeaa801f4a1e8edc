"""What a COPY or ADD names, by digest: all that the cache has to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from ocitool.builder.context.context import Context, Item
from ocitool.builder.solver.cache import key_of
from ocitool.builder.solver.step_context import Workshop
from ocitool.store.build_cache import Content
from ocitool.store.layer_content import Layer, chain_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The sources of one COPY or ADD.

    ``image`` is what ``--from`` names: what to call it, and its layers.  ``texts`` are heredocs.
    """

    word: str  # COPY or ADD
    sources: tuple[str, ...]
    texts: Mapping[str, bytes] = field(default_factory=dict, hash=False)
    image: tuple[str, tuple[Layer, ...]] | None = None

    def contents(self, shop: Workshop) -> tuple[Content, ...]:
        """Return name, kind and digest of each thing that is named."""
        look: Callable[[Workshop, str], Iterable[Content]]
        look = self._of_context if self.image is None else self._of_image
        found = [content for source in self.sources for content in look(shop, source)]
        for name, text in self.texts.items():
            found.append(Content(name, "text", sha256(text).hexdigest()))
        return tuple(found)

    def _of_context(self, shop: Workshop, source: str) -> Iterator[Content]:
        context = shop.context
        for item in context.find(source):
            kind = "dir" if item.is_directory else "file"
            if self.unpacks(context, item):
                kind = "archive"
            # The name of a directory is of no account: its content is copied.
            name = "" if item.is_directory else item.name
            yield Content(name, kind, context.digest(item))

    def _of_image(self, shop: Workshop, source: str) -> tuple[Content, ...]:
        """Digests of an image's files, remembered by its layers: looking takes reading them."""
        assert self.image is not None
        names = chain_ids(self.image[1])
        key = key_of("from", names[-1] if names else "", source)
        known = shop.store.build_cache.contents(key)
        if known is not None:
            return known
        from ocitool.builder.solver.execute import image_source

        found = image_source(shop, self.image)
        contents = tuple(
            Content("" if item.is_directory else item.name, "owned", found.digest(item))
            for item in found.find(source)
        )
        shop.store.build_cache.put_contents(key, contents)
        return contents

    def unpacks(self, context: Context, item: Item) -> bool:
        """Say whether ADD unpacks *item*: a regular file that is an archive, by its content."""
        if self.word != "ADD" or item.is_directory:
            return False
        from ocitool.builder.copy.archive import is_archive

        return is_archive(f"{context.top}/{item.path}")
