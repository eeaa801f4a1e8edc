"""``--exclude`` and ``--parents``: which paths beneath a directory a COPY takes.

Both are ignore rules whose root is the source: what is excluded is ignored, and with ``--parents``
everything is but what the source's pattern names.  So a directory that is not taken itself is there
for what is taken beneath it, as one that an ignore file excludes.

Source: Dockerfile reference, "COPY --exclude", "COPY --parents"; where it is silent, BuildKit.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from ocitool.builder.context.ignore.pattern import path_pattern
from ocitool.builder.context.ignore.rules import Pattern, Walker
from ocitool.errors import FormatError

#: In a walk the handle of a directory that a selection does not take itself, and that is there for
#: what is beneath it.
ON_THE_WAY: Final = "on the way"


class Verdict(Protocol):
    """What is known of a path in a walk; see `ignore.rules.State`."""

    @property
    def ignored(self) -> bool:
        """Whether the path itself is left out."""

    @property
    def settled(self) -> bool:
        """Whether that holds for everything beneath it."""


Enter: TypeAlias = Callable[[Any, str, bool], Verdict]
"""Given a directory's verdict, a child's name and whether it is a directory, gives its verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Everything beneath a directory, if neither is given; False then."""

    exclude: tuple[str, ...] = ()  # patterns relative to the directory, ``!`` for exceptions
    include: str = ""  # the one pattern of what is taken

    def __bool__(self) -> bool:
        return bool(self.exclude or self.include)

    @property
    def digest(self) -> str:
        """A name for what it says."""
        text = repr((self.exclude, self.include)).encode("utf-8", "surrogateescape")
        return sha256(text).hexdigest()

    def walkers(self) -> list[Walker]:
        """Return one for each of the two; a path that any of them ignores is not taken.

        Raises:
            FormatError: a pattern is invalid.
        """
        found = []
        if self.exclude:
            found.append(Walker(exclude_patterns(self.exclude)))
        if self.include:
            path_pattern(self.include)  # refuses an invalid pattern
            everything = Pattern(text="*", exception=False, line=0)
            found.append(Walker((everything, Pattern(text=self.include, exception=True, line=0))))
        return found


def exclude_patterns(texts: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns of ``--exclude``; one that begins with a slash matches nothing.

    As in BuildKit a pattern is normalized with its ``!``: ``!./a`` matches nothing either.

    Raises:
        FormatError: a pattern is invalid.
    """
    found = []
    for text in filter(None, map(str.strip, texts)):
        text = posixpath.normpath(text)
        exception = text.startswith("!")
        if text == "!":
            raise FormatError('illegal exclusion pattern: "!"', hint="write a pattern after the !")
        text = text.removeprefix("!")
        path_pattern(text)  # refuses an invalid pattern
        found.append(Pattern(text=text, exception=exception, line=0))
    return tuple(found)


class _Joint(NamedTuple):
    """The verdict of several walkers."""

    ignored: bool
    settled: bool
    parts: tuple[tuple[Enter, Verdict], ...]


def _joint(parts: tuple[tuple[Enter, Verdict], ...]) -> _Joint:
    states = [state for _, state in parts]
    return _Joint(
        ignored=any(state.ignored for state in states),
        settled=all(state.settled for state in states)
        or any(state.ignored and state.settled for state in states),
        parts=parts,
    )


def _enter(state: _Joint, name: str, is_dir: bool) -> _Joint:
    return _joint(tuple((enter, enter(part, name, is_dir)) for enter, part in state.parts))


def joined(selection: Selection, *others: tuple[Enter, Verdict]) -> tuple[Enter, Verdict]:
    """Return how a walk follows *selection*, and its verdict where the walk begins.

    *others* are the same of further rules, which have to take a path as well, first of all.
    """
    own = [(walker.enter, walker.root) for walker in selection.walkers()]
    parts = (*others, *own)
    return parts[0] if len(parts) == 1 else (_enter, _joint(parts))


def leads_on(verdict: Verdict) -> bool:
    """Say whether a directory is only there for what a selection takes beneath it."""
    return isinstance(verdict, _Joint) and any(state.ignored for _, state in verdict.parts[1:])


def takes_itself(verdict: Verdict) -> bool:
    """Say whether a selection takes a path, whatever the rules say that it was joined to."""
    return isinstance(verdict, _Joint) and not any(state.ignored for _, state in verdict.parts[1:])
