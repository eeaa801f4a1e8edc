"""Ignore files: which paths of a context do not take part in a build.

A line is a pattern; the last one that matches a path, or any directory above it, decides, and
``!`` makes it an exception.  ``*``, ``?`` and ``[a-z]`` match within one name, ``**`` any number
of directories, none included.  Lines that begin with ``#`` are comments.

Since what matched a directory matches everything beneath it, a walk needs no path but only the
last pattern that matched so far and what later patterns still need: a `State`.  Names are
looked up in it with a set, `str.startswith`, `str.endswith` and one regular expression, so that a
context of tens of thousands of files costs tens of milliseconds.

Source: Docker documentation, "Build context", ".dockerignore files".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ocitool.builder.context.ignore.pattern import MAGIC, PathPattern, path_pattern
from ocitool.builder.context.name_patterns import name_regex
from ocitool.errors import FormatError

MAX_LINE = 65535  # bytes, without the newline; a longer one stops BuildKit, too
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One line: an exception or not, and the pattern, cleaned, without its ``!``."""

    text: str
    exception: bool
    line: int = field(compare=False)


# The precedence of a pattern (its number in the file), the pattern, and its position.
_Route = tuple[int, PathPattern, int]


class State:
    """What is known at one directory of a walk, or at one file.

    ``ignored`` is the verdict on the path itself.  With ``settled`` it holds for everything
    beneath too, and nothing more need be asked there; a directory that is ignored and settled
    need not be opened, one that is ignored and not settled must be, for an exception beneath.
    """

    __slots__ = ("_below", "_last", "_leaf", "_plain", "_routes", "ignored", "settled")

    ignored: bool
    settled: bool
    _last: int
    _routes: frozenset[_Route]
    _leaf: State
    _below: State | None
    _plain: Callable[[str], bool] | None


class Walker:
    """Follows a walk of the context, a name at a time.

    Begin with ``root``; ``enter(state, name, is_dir)`` gives the state of a child from that of
    its directory.  States are shared, and may be kept.
    """

    __slots__ = ("_patterns", "_states", "root")

    def __init__(self, patterns: tuple[Pattern, ...]) -> None:
        self._patterns = patterns
        self._states: dict[tuple[int, frozenset[_Route]], State] = {}
        followed = [path_pattern(pattern.text) for pattern in patterns]
        routes = [(rank, pattern, pattern.start) for rank, pattern in enumerate(followed)]
        self.root = self._state(-1, routes)

    def enter(self, state: State, name: str, is_dir: bool) -> State:
        """Return the state of the child *name*.

        For a file it is settled.  Asking costs nothing worth avoiding in a settled directory,
        but the answer is always the directory's own state.
        """
        if state.settled:
            return state
        plain = state._plain
        if plain is None:
            plain = state._plain = _plain_test(state._routes)
        if plain(name):
            if not is_dir:
                return state._leaf
            below = state._below
            if below is None:
                below = state._below = self._child(state, name)
            return below
        child = self._child(state, name)
        return child if is_dir else child._leaf

    def _child(self, state: State, name: str) -> State:
        last = state._last
        after: list[_Route] = []
        for rank, pattern, at in state._routes:
            through, beneath = pattern.step(at, name)
            if through:
                last = max(last, rank)
            after += [(rank, pattern, at) for at in beneath]
        return self._state(last, after)

    def _state(self, last: int, routes: Iterable[_Route]) -> State:
        """Return the one state of these; what cannot change the verdict any more is dropped."""
        ignored = last >= 0 and not self._patterns[last].exception
        open_routes = frozenset(route for route in routes if route[0] > last)
        settled = all(self._patterns[rank].exception != ignored for rank, _, _ in open_routes)
        key = (last, frozenset() if settled else open_routes)
        state = self._states.get(key)
        if state is None:
            state = State()
            self._states[key] = state
            state.ignored, state.settled = ignored, settled
            state._last, state._routes = key
            state._leaf = state if settled else self._state(last, ())
            state._below = state._plain = None
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRules:
    """The patterns of one ignore file; false if it has none."""

    patterns: tuple[Pattern, ...] = ()
    _walkers: list[Walker] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def parse(cls, text: bytes, *, name: str = ".dockerignore") -> IgnoreRules:
        """Read an ignore file; `FormatError` names *name* and the line."""
        patterns: list[Pattern] = []
        lines = text.removeprefix(_BOM).split(b"\n")
        for number, raw in enumerate(lines, start=1):
            if len(raw) > MAX_LINE:
                raise FormatError(
                    f"line greater than max allowed size of {MAX_LINE}", where=f"{name}:{number}"
                )
            # File names are bytes; what is no UTF-8 is kept the way Python keeps it in paths.
            line = raw.decode("utf-8", "surrogateescape")
            try:
                pattern = _parse_line(line, number)
            except FormatError as error:
                raise FormatError(
                    error.message, where=f"{name}:{number}", hint=error.hint
                ) from error
            if pattern is not None:
                patterns.append(pattern)
        return cls(patterns=tuple(patterns))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def walker(self) -> Walker:
        """Return a walker that begins at the context's root."""
        return Walker(self.patterns)

    def ignored(self, path: str) -> bool:
        """Say whether *path*, with slashes and relative to the root, is ignored."""
        return self._at(path).ignored

    def may_reinclude(self, directory: str) -> bool:
        """Say whether *directory* is ignored, but something beneath it may not be."""
        state = self._at(directory)
        return state.ignored and not state.settled

    @property
    def digest(self) -> str:
        """A name for what the rules mean, the same for the same patterns in the same order."""
        from hashlib import sha256

        lines = (f"{'!' * pattern.exception}{pattern.text}\0" for pattern in self.patterns)
        return f"sha256:{sha256(''.join(lines).encode('utf-8', 'surrogateescape')).hexdigest()}"

    def _at(self, path: str) -> State:
        if not self._walkers:
            self._walkers.append(self.walker())
        walker = self._walkers[0]
        state = walker.root
        for part in path.split("/"):
            if state.settled:
                break
            if part and part != ".":
                state = walker.enter(state, part, True)
        return state


def _parse_line(line: str, number: int) -> Pattern | None:
    if line.startswith("#"):
        return None
    text = line.strip()
    exception = text.startswith("!")
    if exception:
        text = text[1:].strip()
    if not text and not exception:
        return None
    text = posixpath.normpath(text) if text else ""
    text = text.lstrip("/")
    if not text:
        if exception:
            raise FormatError('illegal exclusion pattern: "!"', hint="write a pattern after the !")
        return None
    path_pattern(text)  # refuses an invalid pattern
    return Pattern(text=text, exception=exception, line=number)


def _plain_test(routes: Iterable[_Route]) -> Callable[[str], bool]:
    """Return a test that says of a name that no route's next segment matches it."""
    exact: set[str] = set()
    starts: list[str] = []
    ends: list[str] = []
    others: list[str] = []
    for _, pattern, at in routes:
        segment = pattern.expected(at)
        if not MAGIC.search(segment):
            exact.add(segment)
        elif segment[0] == "*" and not MAGIC.search(segment[1:]):
            ends.append(segment[1:])
        elif segment[-1] == "*" and not MAGIC.search(segment[:-1]):
            starts.append(segment[:-1])
        else:
            others.append(name_regex(segment))
    prefixes, suffixes = tuple(starts), tuple(ends)
    search = re.compile("|".join(others), re.DOTALL).fullmatch if others else None

    def plain(name: str) -> bool:
        return not (
            name in exact
            or name.endswith(suffixes)
            or name.startswith(prefixes)
            or (search is not None and search(name))
        )

    return plain
