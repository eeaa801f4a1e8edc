"""Shell patterns as variable substitution knows them: ``*`` and ``?``, no brackets.

A backslash makes ``*``, ``?`` and itself literal.  Before ``}`` and ``/``, which only have to be
hidden from the substitution's own syntax, it is dropped; before anything else it is an error.
Like the original, no wildcard crosses a newline.

Matching walks all positions at once instead of backtracking, so that no pattern, however many
stars it has, takes more than pattern length times text length.
"""

from __future__ import annotations

import re

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
    end = _match(pattern, value, 0, longest=longest)
    return value if end is None else value[end:]


def trim_suffix(value: str, pattern: Pattern, *, longest: bool) -> str:
    """Cut the shortest or the longest end of *value* that matches off."""
    return trim_prefix(value[::-1], pattern[::-1], longest=longest)[::-1]


def replace_first(value: str, pattern: Pattern, replacement: str) -> str:
    """Put *replacement*, taken as it is, in place of the first match."""
    found = _search(pattern, value, 0)
    if found is None:
        return value
    start, end = found
    return value[:start] + replacement + value[end:]


def replace_all(value: str, pattern: Pattern, replacement: str) -> str:
    """Put *replacement* in place of every match.

    Here, and not in `replace_first`, ``$0`` in *replacement* stands for the match, any other
    ``$name`` for nothing, and ``$$`` for a dollar sign: the language took over the template
    syntax of the library it was first written with.
    """
    pieces: list[str] = []
    done = at = 0
    while at <= len(value):
        found = _search(pattern, value, at)
        if found is None:
            break
        start, end = found
        pieces.append(value[done:start])
        # An empty match directly behind another match does not count.
        if end > done or start == 0:
            pieces.append(_fill(replacement, value[start:end]))
        done = end
        at = max(end, at + 1)
    pieces.append(value[done:])
    return "".join(pieces)


def _search(pattern: Pattern, text: str, start: int) -> tuple[int, int] | None:
    """Return the leftmost match at or behind *start*, as long as can be."""
    for at in range(start, len(text) + 1):
        end = _match(pattern, text, at, longest=True)
        if end is not None:
            return at, end
    return None


def _match(pattern: Pattern, text: str, start: int, *, longest: bool) -> int | None:
    """Return where a match that begins at *start* ends."""
    size = len(pattern)
    states = _settle({0}, pattern)
    end = start if size in states else None
    for at in range(start, len(text)):
        if end is not None and not longest:
            return end
        states = _settle(_step(states, pattern, text[at]), pattern)
        if not states:
            return end
        if size in states:
            end = at + 1
    return end


def _step(states: set[int], pattern: Pattern, character: str) -> set[int]:
    after: set[int] = set()
    for state in states:
        if state == len(pattern):
            continue
        token = pattern[state]
        if token is _STAR:
            if character != "\n":
                after.add(state)
        elif token == character or (token is _ONE and character != "\n"):
            after.add(state + 1)
    return after


def _settle(states: set[int], pattern: Pattern) -> set[int]:
    """A star may also stand for nothing: add the positions behind it."""
    for state in tuple(states):
        if state < len(pattern) and pattern[state] is _STAR:
            states.add(state + 1)
    return states


_PLACE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def _fill(template: str, match: str) -> str:
    def value(place: re.Match[str]) -> str:
        if place[1]:
            return "$"
        return match if (place[2] or place[3]) == "0" else ""

    return _PLACE.sub(value, template)
