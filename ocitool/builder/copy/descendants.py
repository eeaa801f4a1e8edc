"""Paths, and what lies below each: to remove a directory takes only the time of what is in it."""

from __future__ import annotations

from collections.abc import Iterator

from ocitool.layer.entry import split


class Descendants:
    """The paths that were noted, by the directory that has them."""

    def __init__(self) -> None:
        self._children: dict[str, set[str]] = {}

    def note(self, path: str) -> None:
        """Note *path*, and the directories above it."""
        while path:
            parent = split(path)[0]
            children = self._children.setdefault(parent, set())
            if path in children:
                return
            children.add(path)
            path = parent

    def __contains__(self, directory: str) -> bool:
        """Say whether anything was noted below *directory*."""
        return directory in self._children

    def drop(self, directory: str) -> Iterator[str]:
        """Yield all that was noted below *directory*, and forget it; read this to its end."""
        todo = [directory]
        while todo:
            children = self._children.pop(todo.pop(), ())
            yield from children
            todo += children
