"""What an image calls the files that hold its content."""

from __future__ import annotations

from typing import Final

#: How an image calls the devices of its own layer: its tar, and the file of what has holes.
TAR: Final = ""
HOLES: Final = "+"
#: Elsewhere a tar's tag is its layer's name, 64 digits that fill the tag; that of the other file
#: is the same number in other letters.
_DIGITS: Final = "0123456789abcdef"
_OTHERS: Final = "ghijklmnopqrstuv"
_TO_HOLES: Final = str.maketrans(_DIGITS, _OTHERS)
_TO_NAME: Final = str.maketrans(_OTHERS, _DIGITS)


def device_of(tag: str, layer: str) -> tuple[str, bool]:
    """Return whose device *tag* means in an image of *layer*, and whether it is that of holes."""
    if tag in (TAR, HOLES):
        return layer, tag == HOLES
    return tag.translate(_TO_NAME), not set(tag) <= set(_DIGITS)


def foreign_tag(tag: str, layer: str) -> str:
    """Return what images of other layers call the device that one of *layer* calls *tag*."""
    return layer.translate(_TO_HOLES) if tag == HOLES else tag or layer
