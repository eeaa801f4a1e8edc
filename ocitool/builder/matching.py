"""Source names of COPY and ADD: cleaned, cut into segments, matched."""

from __future__ import annotations

import re
from collections.abc import Callable
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


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> Callable[[str], bool]:
    fullmatch = re.compile(name_regex(pattern), re.DOTALL).fullmatch
    return lambda name: fullmatch(name) is not None
