"""Shell patterns as variable substitution knows them: ``*`` and ``?``, no brackets.

A backslash makes ``*``, ``?`` and itself literal.  Before ``}`` and ``/``, which only have to be
hidden from the substitution's own syntax, it is dropped; before anything else it is an error.
Like the original, no wildcard crosses a newline.

No pattern takes more than its length times the text's.  What stands between two stars has a fixed
length, so where it is first found is as good as any later place; and where a match does not come
off for what follows a star, it does not from any later place in the same line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

from ocitool.errors import FormatError

# Wildcards as private marks, so that a literal "*" stays a plain character.
_STAR = "*any"
_ONE = "?one"

Pattern = tuple[str, ...]


def compile_glob(text: str) -> Pattern:
    """Turn *text* into a pattern; raises `FormatError` for an escape that means nothing."""
    tokens: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "*":
            if not tokens or tokens[-1] is not _STAR:
                tokens.append(_STAR)
        elif character == "?":
            tokens.append(_ONE)
        elif character == "\\":
            escaped = next(characters, "")
            if escaped not in ("*", "?", "\\", "}", "/"):
                raise FormatError(
                    f"invalid pattern ({text}) in substitution: invalid escape '\\{escaped}'"
                )
            tokens.append(escaped)
        else:
            tokens.append(character)
    return tuple(tokens)


def trim_prefix(value: str, pattern: Pattern, *, longest: bool) -> str:
    """Cut the shortest or the longest beginning of *value* that matches off."""
    head, tail = _compiled(pattern, longest)
    begun = head.match(value)
    ended = begun and tail.match(value, begun.end())
    return value[ended.end() :] if ended else value


def trim_suffix(value: str, pattern: Pattern, *, longest: bool) -> str:
    """Cut the shortest or the longest end of *value* that matches off."""
    return trim_prefix(value[::-1], pattern[::-1], longest=longest)[::-1]


def replace_first(value: str, pattern: Pattern, replacement: str) -> str:
    """Put *replacement*, taken as it is, in place of the first match."""
    for start, end in _search(pattern, value):
        return value[:start] + replacement + value[end:]
    return value


def replace_all(value: str, pattern: Pattern, replacement: str) -> Iterator[str]:
    """Put *replacement* in place of every match; gives the text in pieces, which may be many.

    Here, and not in `replace_first`, ``$0`` in *replacement* stands for the match, any other
    ``$name`` for nothing, and ``$$`` for a dollar sign: the language took over the template
    syntax of the library it was first written with.
    """
    done = 0
    for start, end in _search(pattern, value):
        yield value[done:start]
        # An empty match directly behind another match does not count.
        if end > done or start == 0:
            yield from _fill(replacement, value[start:end])
        done = end
    yield value[done:]


def _search(pattern: Pattern, text: str) -> Iterator[tuple[int, int]]:
    """Yield beginning and end of the matches from the left, each as long as can be.

    An empty one may stand directly behind another match.
    """
    head, tail = _compiled(pattern, True)
    at = 0
    while at <= len(text):
        begun = head.search(text, at)
        if begun is None:
            return
        ended = tail.match(text, begun.end())
        if ended is not None:
            yield begun.start(), ended.end()
            at = max(ended.end(), begun.start() + 1)
            continue
        # From later in this line the star would only have less to stand for.
        newline = text.find("\n", begun.end())
        if newline < 0:
            return
        at = max(begun.start(), newline - (begun.end() - begun.start())) + 1


@lru_cache(maxsize=64)
def _compiled(pattern: Pattern, longest: bool) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what stands before the first star, and the rest, as expressions for `re.match`."""
    runs = [""]
    for is_star, tokens in groupby(pattern, lambda token: token is _STAR):
        if is_star:
            runs.append("")
        else:
            runs[-1] = "".join("." if each is _ONE else re.escape(each) for each in tokens)
    head, *inner = runs
    last = inner.pop() if inner and longest else None
    tail = "".join(f"(?>.*?{run})" for run in inner)
    return re.compile(head), re.compile(tail if last is None else f"{tail}.*{last}")


_PLACE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def _fill(template: str, match: str) -> Iterator[str]:
    at = 0
    for place in _PLACE.finditer(template):
        yield template[at : place.start()]
        if place[1]:
            yield "$"
        elif (place[2] or place[3]) == "0":
            yield match
        at = place.end()
    yield template[at:]
