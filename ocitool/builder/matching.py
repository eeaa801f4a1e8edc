"""Source names of COPY and ADD: cleaned, cut into segments, matched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from ocitool.builder.dockerfile.filenames import name_regex


def segments_of(source: str) -> list[str]:
    """Cut a source into its names; ``/`` and ``..`` at the beginning stay inside the context."""
    done: list[str] = []
    for part in source.split("/"):
        if part == "..":
            done = done[:-1]
        elif part not in ("", "."):
            done.append(part)
    return done


def has_wildcard(segment: str) -> bool:
    """Say whether a name is a pattern."""
    return any(letter in segment for letter in "*?[\\")


def matches(pattern: str, name: str) -> bool:
    """Say whether *name* matches *pattern* (Go, path/filepath, Match)."""
    return _compiled(pattern)(name)


def find_matches(
    segments: list[str],
    names: Callable[[str], Iterable[str]],
    resolve: Callable[[str], str | None],
) -> Iterator[tuple[str, str, str]]:
    """Yield path, path with its links followed, and name of what matches *segments*.

    *names* lists a directory, and *resolve* follows links; it returns None for what is not there.
    A directory that links lead to in several ways counts once, in its last place: with links in
    a circle the ways are without number.
    """
    directories = {"": None}
    for head in segments[:-1]:
        beneath: dict[str, None] = {}
        for _, resolved, _ in _matching(head, directories, names, resolve):
            beneath.pop(resolved, None)
            beneath[resolved] = None
        directories = beneath
    yield from _matching(segments[-1], directories, names, resolve)


def _matching(
    pattern: str,
    directories: Iterable[str],
    names: Callable[[str], Iterable[str]],
    resolve: Callable[[str], str | None],
) -> Iterator[tuple[str, str, str]]:
    for directory in directories:
        for name in names(directory):
            if matches(pattern, name):
                path = f"{directory}/{name}" if directory else name
                resolved = resolve(path)
                if resolved is not None:
                    yield path, resolved, name


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> Callable[[str], bool]:
    fullmatch = re.compile(name_regex(pattern), re.DOTALL).fullmatch
    return lambda name: fullmatch(name) is not None
