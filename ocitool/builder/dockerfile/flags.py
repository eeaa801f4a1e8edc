"""Flags of an instruction: which it takes, and what they were given as."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ocitool.builder.dockerfile.suggestions import suggest
from ocitool.errors import FormatError


def parse_flags(
    words: tuple[str, ...],
    *,
    strings: Collection[str] = (),
    booleans: Collection[str] = (),
    absent: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Read ``--name=value`` words into a table; booleans become ``"true"`` or ``"false"``.

    *absent* are flags of the language that are not there yet, each with what to do instead.
    """
    absent = absent or {}
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word[2:].partition("=")
        if name in absent:
            raise FormatError(f"--{name} is not there yet", hint=absent[name])
        if name not in strings and name not in booleans:
            known = [f"--{flag}" for flag in (*strings, *booleans, *absent)]
            raise FormatError(f"unknown flag: --{name}{suggest(f'--{name}', known)}")
        if name in given:
            raise FormatError(f"duplicate flag specified: {name}")
        if (name in strings and not equals) or (name in booleans and equals and not value):
            raise FormatError(f"missing a value on flag: --{name}", hint=f"write --{name}=VALUE")
        given[name] = value if name in strings else _boolean(name, value)
    return given


def _boolean(name: str, value: str) -> str:
    if value.lower() not in ("", "true", "false"):
        raise FormatError(f"expecting boolean value for flag --{name}, not: {value}")
    return value.lower() or "true"
