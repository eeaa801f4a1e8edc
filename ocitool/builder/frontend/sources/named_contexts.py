"""The named contexts of a build: what replaces the images and stages of their names.

Source: buildx, ``--build-context``; names are compared as docker shows those of images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from ocitool.builder.definition import LocalContext
from ocitool.errors import BadDigest, BadReference
from ocitool.oci.reference import DEFAULT_TAG, Reference

SCRATCH: Final = "scratch"

Named: TypeAlias = int | str | LocalContext
"""What a name stands for: a stage by its number, an image by its name, a directory of files."""


def familiar_name(text: str) -> str:
    """Return the name of a context for *text*: docker.io and ``latest`` are left out.

    Raises:
        FormatError: it is no name of an image.
    """
    return Reference.parse(text).familiar.removesuffix(f":{DEFAULT_TAG}")


class NamedContexts:
    """Named contexts by their familiar names: names of images, or directories."""

    def __init__(self, contexts: Mapping[str, str | LocalContext]) -> None:
        self._contexts = contexts
        self._used: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._contexts)

    def find(self, name: str) -> str | LocalContext | None:
        """Return what replaces *name*; None if nothing does."""
        if not self._contexts or name == SCRATCH:
            return None
        try:
            known = familiar_name(name)
        except (BadReference, BadDigest):
            return None
        if known in self._contexts:
            self._used.add(known)
        return self._contexts.get(known)

    def resolve(self, name: str) -> str | LocalContext:
        """Return what *name* stands for where no stage has it: a context, or an image."""
        return self.find(name) or name

    def unused(self) -> list[str]:
        """Return the names that nothing has asked for."""
        return sorted(self._contexts.keys() - self._used)
