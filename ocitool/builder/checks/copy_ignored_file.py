"""CopyIgnoredFile: which paths of the build context the ignore file excludes for certain."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Final

from ocitool.builder.context.ignore.rules import IgnoreRules

_EVERYTHING: Final = ("*", "**", "**/*")
_WILDCARDS: Final = frozenset("*?[")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def ignored_by(rules: IgnoreRules) -> Callable[[str], str]:
    """Return a function that returns a path, cleaned, if *rules* exclude it, otherwise ``""``.

    A path that an exception includes again, or may so in part, is not excluded for certain.  The
    root is only where a pattern excludes everything.  Wildcards of the path are text for patterns.
    """
    exceptions = [pattern.text for pattern in rules.patterns if pattern.exception]
    everything = any(
        pattern.text in _EVERYTHING for pattern in rules.patterns if not pattern.exception
    )

    def ignored(path: str) -> str:
        clean = posixpath.normpath(path).replace("//", "/") if path else "."
        if clean in (".", "/") and not everything:
            return ""
        relative = "" if clean == "." else clean.removeprefix("/")
        if any(_may_include(exception, relative) for exception in exceptions):
            return ""
        walker = rules.walker()
        state = walker.root
        for name in clean.split("/"):
            state = walker.enter(state, name, True)
        return clean if state.ignored else ""

    return ignored if rules else lambda _: ""


def _may_include(exception: str, path: str) -> bool:
    """Say whether *exception* may match *path*, what is beneath it, or what its wildcards match."""
    again, again_whole = _literal(exception)
    wanted, wanted_whole = _literal(path)
    return _is_at_or_beneath(again, wanted) or (
        not (again_whole and wanted_whole) and _is_at_or_beneath(wanted, again)
    )


def _literal(pattern: str) -> tuple[str, bool]:
    """Return the names of *pattern* before its first wildcard, and whether these are all."""
    names = pattern.split("/")
    plain = (not _WILDCARDS & set(_ESCAPED.sub("", name)) for name in names)
    first = next((at for at, is_plain in enumerate(plain) if not is_plain), len(names))
    return _ESCAPED.sub(r"\1", "/".join(names[:first])), first == len(names)


def _is_at_or_beneath(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(f"{top}/")
