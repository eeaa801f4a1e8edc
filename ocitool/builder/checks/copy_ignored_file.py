"""CopyIgnoredFile: which paths of the build context the ignore file excludes for certain."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from ocitool.builder.context.ignore.rules import IgnoreRules

_EVERYTHING: Final = ("*", "**", "**/*")
_WILDCARDS: Final = frozenset("*?[")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def ignored_by(rules: IgnoreRules) -> Callable[[str], str]:
    """Return a function that returns a path, cleaned, if *rules* exclude it, otherwise ``""``.

    A path that an exception includes again, as a whole or in part, is not excluded for certain.
    The root is excluded only by a pattern for everything.  Wildcards in the path are plain text.
    """
    walker = rules.walker()

    def excluded(path: str) -> bool:
        state = walker.root
        for name in path.split("/"):
            state = walker.enter(state, name, True)
        return state.ignored

    exceptions = [
        literal
        for literal in (_literal(each.text) for each in rules.patterns if each.exception)
        if not (literal.whole and excluded(literal.path))  # by a later pattern
    ]
    everything = any(
        pattern.text in _EVERYTHING for pattern in rules.patterns if not pattern.exception
    )

    def ignored(path: str) -> str:
        clean = posixpath.normpath(path).replace("//", "/") if path else "."
        if clean in (".", "/") and not everything:
            return ""
        relative = "" if clean == "." else clean.removeprefix("/")
        wanted = _literal(relative)
        if any(_may_include(exception, wanted) for exception in exceptions):
            return ""
        return clean if excluded(clean) else ""

    return ignored if rules else lambda _: ""


class _Literal(NamedTuple):
    """The names of a pattern before its first wildcard, and whether these are all."""

    path: str
    whole: bool


def _may_include(exception: _Literal, wanted: _Literal) -> bool:
    """Say whether *exception* may match *wanted*, what is beneath it, or what that matches."""
    return _is_at_or_beneath(exception.path, wanted.path) or (
        not (exception.whole and wanted.whole) and _is_at_or_beneath(wanted.path, exception.path)
    )


def _literal(pattern: str) -> _Literal:
    names = pattern.split("/")
    plain = (not _WILDCARDS & set(_ESCAPED.sub("", name)) for name in names)
    first = next((at for at, is_plain in enumerate(plain) if not is_plain), len(names))
    return _Literal(_ESCAPED.sub(r"\1", "/".join(names[:first])), first == len(names))


def _is_at_or_beneath(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(f"{top}/")
