"""What follows an instruction's name: flags, JSON arrays, words, name=value pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from ocitool.errors import FormatError
from ocitool.go_values import quoted
from ocitool.suggestions import closest, did_you_mean

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
#: Words with quotes, of which the last may lack its end; in single quotes nothing is escaped.
_QUOTED = {
    escape: re.compile(
        r"""(?: [^\s'"E]++ | E. | '[^']*+'? | "(?: [^"E]++ | E. )*+"? )+""".replace(
            "E", re.escape(escape)
        ),
        re.VERBOSE | re.DOTALL,
    )
    for escape in ("\\", "`")
}


def split_once(text: str) -> tuple[str, str]:
    """Split at the first blanks: the instruction's word, or a legacy name, and the rest."""
    first, *rest = _BLANKS.split(text.strip(), maxsplit=1)
    return first, rest[0] if rest else ""


def split_blanks(text: str) -> tuple[str, ...]:
    """Split at blanks, where quotes mean nothing: FROM, EXPOSE, COPY, VOLUME."""
    return tuple(word for word in _BLANKS.split(text) if word)


def split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """Cut the ``--name=value`` words off the front.

    They end at the first word that does not begin with ``--``, or behind a ``--`` alone.
    """
    flags: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith("--", at):
            return tuple(flags), text[at:]
        word, at = _flag_word(text, at, escape)
        if word == "--":
            return tuple(flags), text[at:].strip()
        flags.append(word)


def _flag_word(text: str, at: int, escape: str) -> tuple[str, int]:
    """Read one word; quotes group, and *escape* makes what follows it literal."""
    word: list[str] = []
    quote = ""
    while at < len(text):
        character = text[at]
        at += 1
        if character == escape:
            word.append(text[at : at + 1])
            at += 1
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in "'\"":
            quote = character
        elif character.isspace():
            break
        else:
            word.append(character)
    return "".join(word), at


def parse_array(text: str) -> tuple[str, ...] | None:
    """Read a JSON array of strings; None if it is no JSON array, and so meant for a shell.

    Raises `FormatError` for a JSON array of anything else, which is never intended.
    """
    if not text.startswith("["):
        return None
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        values = [None]
    except ValueError:
        return None
    if not all(isinstance(value, str) for value in values):
        raise FormatError(
            "when using JSON array syntax, arrays must be comprised of strings only",
            hint='put every element in double quotes: ["sleep", "10"]',
        )
    # Half a surrogate pair is no character; it cannot be written anywhere.
    return tuple(_SURROGATES.sub("\ufffd", value) for value in values)


def _no_constant(name: str) -> Any:
    """Python's parser takes NaN and Infinity; JSON does not have them."""
    raise ValueError(name)


def split_quoted(text: str, escape: str) -> list[str]:
    """Split at spaces outside quotes; quotes and escapes stay in the words, to be expanded.

    At the very end an escape character escapes nothing, and is dropped.
    """
    return _QUOTED[escape].findall(text)


def parse_pairs(
    text: str, escape: str, instruction: str
) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Read ``name=value ...``, or the legacy ``name rest of the line``, and say if it is that."""
    words = split_quoted(text, escape)
    if not words:
        raise FormatError(f"{instruction} requires at least one argument")
    if "=" in words[0]:
        return tuple(_pair(word) for word in words), False
    name, value = split_once(text)
    if not value:
        raise FormatError(
            f"{instruction} must have two arguments",
            hint=f"write {instruction} {name}=value; the value may be empty",
        )
    return ((name, value),), True


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise FormatError(
            f"Syntax error - can't find = in {quoted(word)}. Must be of the form: name=value",
            hint="put a value that has spaces in double quotes",
        )
    return name, value


def parse_flags(
    words: tuple[str, ...],
    *,
    strings: Collection[str] = (),
    booleans: Collection[str] = (),
    repeated: Collection[str] = (),
) -> dict[str, str]:
    """Read ``--name=value`` words into a table; booleans become ``"true"`` or ``"false"``.

    Of the flags *repeated*, strings that may be given more than once, it has the last value: see
    `flag_values`.
    """
    strings = (*strings, *repeated)
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word[2:].partition("=")
        if name not in strings and name not in booleans:
            near = did_you_mean(closest(name, (*strings, *booleans)))
            raise FormatError(f"unknown flag: --{name}{near}")
        if name in given and name not in repeated:
            raise FormatError(f"duplicate flag specified: --{name}")
        if (name in strings and not equals) or (name in booleans and equals and not value):
            raise FormatError(f"missing a value on flag: --{name}", hint=f"write --{name}=VALUE")
        given[name] = value if name in strings else _boolean(name, value)
    return given


def flag_values(words: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return every value that the flag *name* has in *words*, which `parse_flags` has checked."""
    prefix = f"--{name}="
    return tuple(word.removeprefix(prefix) for word in words if word.startswith(prefix))


def _boolean(name: str, value: str) -> str:
    if value.lower() not in ("", "true", "false"):
        raise FormatError(f"expecting boolean value for flag --{name}, not: {value}")
    return value.lower() or "true"
