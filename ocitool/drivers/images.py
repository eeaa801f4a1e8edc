"""EROFS images of layers: opened as a stack, and merged into one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.layer.erofs.reader import ErofsImage

if TYPE_CHECKING:
    from ocitool.layer.erofs.lower import Stack


@contextlib.contextmanager
def opened(images: Sequence[tuple[str, str]]) -> Iterator[Stack]:
    """Open *images*, chain ids with paths, the topmost first, for looking into them."""
    from ocitool.layer.erofs.lower import Below, Stack

    with contextlib.ExitStack() as stack:
        below = []
        for name, path in images:
            image = stack.enter_context(ErofsImage(path))
            below.append(Below(name=name, image=image))
        yield Stack(below)


def merged_image(images: Sequence[tuple[str, str]]) -> bytes:
    """Return one image of what *images* show together; the same ones give the same bytes."""
    from ocitool.layer.erofs.merge import merge
    from ocitool.layer.erofs.writer import write

    with opened(images) as below:
        return write(*merge(below.images))
