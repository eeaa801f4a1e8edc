"""Names and patterns of COPY, ADD and ignore files: ``*``, ``?``, ``[a-z]``, ``[^a]``, ``\\x``.

They match within one name, never across a slash, and a leading dot is like any other character.

Source: Go, package path/filepath, Match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from ocitool.errors import FormatError

STAR = "*"  # the one token that stands for other than one character
_TOKEN = re.compile(r"\\(.)|\[(\^?)((?:[^\\\]]|\\.)+)\]|(.)", re.DOTALL)
_WILDCARD = re.compile(r"(?<!\\)(?:\\\\)*[*?\[]")  # not after an odd number of backslashes
_SPECIAL = re.compile(r"[*?\[\\]")
_RANGE = re.compile(r"(\\.|[^\\-])(?:-(\\.|[^\\-]))?", re.DOTALL)


def name_regex(pattern: str) -> str:
    """Turn a pattern for one name into a regular expression for `re.fullmatch` (DOTALL).

    It takes at most the pattern's length times the name's.  What stands between two stars has a
    fixed length, so where it is first found is as good as any later place: atomic groups keep the
    engine from trying those.

    Raises `FormatError` as `name_tokens` does.
    """
    runs: list[list[str]] = [[]]
    for token in name_tokens(pattern):
        if token == STAR:
            runs.append([])
        else:
            runs[-1].append(token)
    first, *inner = ("".join(run) for run in runs)
    if not inner:
        return first
    found = "".join(f"(?>.*?{run})" for run in inner[:-1] if run)
    return f"{first}{found}.*{inner[-1]}"


def name_tokens(pattern: str, *, strict: bool = False) -> list[str]:
    """Cut a pattern into `STAR`s and regular expressions that match one character each.

    Raises `FormatError` for a class that is empty or open, and for a backslash at the end; if
    *strict*, as for ignore files, also for a range such as ``[z-a]``, which matches nothing.
    """
    pieces: list[str] = []
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None or token[4] in ("[", "\\"):
            raise _malformed(pattern)
        at = token.end()
        if token[1]:
            pieces.append(re.escape(token[1]))
        elif token[3]:
            pieces.append(_class(token[3], pattern, negated=bool(token[2]), strict=strict))
        elif token[4] == "*":
            pieces.append(STAR)
        elif token[4] == "?":
            pieces.append(".")
        else:
            pieces.append(re.escape(token[4]))
    return pieces


def _malformed(pattern: str) -> FormatError:
    return FormatError(
        f"syntax error in pattern: {pattern}",
        hint=(
            "close a class such as [a-z] with ]; for the character [ write \\[; do not end with a "
            "backslash"
        ),
    )


def _class(members: str, pattern: str, *, negated: bool, strict: bool) -> str:
    pieces: list[str] = []
    at = 0
    while at < len(members):
        found = _RANGE.match(members, at)
        first, last = (found[1][-1], (found[2] or found[1])[-1]) if found else ("", "")
        if found is None or (strict and last < first):
            raise _malformed(pattern)
        at = found.end()
        if last < first:
            continue
        pieces.append(f"{re.escape(first)}-{re.escape(last)}")
    if not pieces:
        return "." if negated else "(?!)"
    return f"[{'^' * negated}{''.join(pieces)}]"


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
    """Say whether a name is a pattern; as in BuildKit, a backslash does not make it one."""
    return _WILDCARD.search(segment) is not None


def as_source(path: str) -> str:
    """Return the source that names *path* and nothing else, though it may look like a pattern."""
    segments = path.split("/")
    first = next((at for at, each in enumerate(segments) if has_wildcard(each)), len(segments))
    plain = (_SPECIAL.sub(_as_class, segment) for segment in segments[first:])
    return "/".join([*segments[:first], *plain])


def _as_class(found: re.Match[str]) -> str:
    return "\\\\" if found[0] == "\\" else f"[{found[0]}]"


def matches(pattern: str, name: str) -> bool:
    """Say whether *name* matches *pattern* (Go, path/filepath, Match)."""
    return _compiled(pattern)(name)


def find_matches(
    segments: list[str],
    names: Callable[[str], Iterable[str]],
    resolve: Callable[[str], str | None],
) -> Iterator[tuple[str, str | None, str]]:
    """Yield path, path with its last link followed, and name of what matches *segments*.

    One of them has a wildcard.

    *names* lists a directory, and *resolve* follows links; it returns None for what is not there,
    which is yielded for a link to nothing.  As in BuildKit, what stands in front of the first
    wildcard is a plain path whose links are followed, and after it no link is a directory.
    """
    first = next(at for at, segment in enumerate(segments) if has_wildcard(segment))
    patterns = segments[first:]
    for pattern in patterns:
        _compiled(pattern)  # a wrong one is refused, whether or not there is anything to match
    top = resolve("/".join(segments[:first]))
    directories = [] if top is None else [top]
    for pattern in patterns[:-1]:
        found = _matching(pattern, directories, names, resolve)
        directories = [path for path, resolved, _ in found if resolved == path]
    yield from _matching(patterns[-1], directories, names, resolve)


def _matching(
    pattern: str,
    directories: Iterable[str],
    names: Callable[[str], Iterable[str]],
    resolve: Callable[[str], str | None],
) -> Iterator[tuple[str, str | None, str]]:
    for directory in directories:
        for name in names(directory):
            if matches(pattern, name):
                path = f"{directory}/{name}" if directory else name
                yield path, resolve(path), name


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> Callable[[str], bool]:
    fullmatch = re.compile(name_regex(pattern), re.DOTALL).fullmatch
    return lambda name: fullmatch(name) is not None
