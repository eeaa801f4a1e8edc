"""Flags of RUN whose value is a line of CSV: ``--mount`` and ``--device``.

Source: RFC 4180; as in Go's package encoding/csv, a quote stands around a whole field or nowhere.
"""

from __future__ import annotations

from ocitool.errors import FormatError
from ocitool.go_values import boolean_of


def split_fields(text: str, flag: str) -> tuple[str, ...]:
    """Return the fields of the value *text* of *flag*, without their quotes.

    Raises:
        FormatError: the value is empty, or quotes do not match.
    """
    if not text:
        raise FormatError(f"the value of --{flag} is empty", hint=f"write --{flag}=KEY=VALUE,...")
    fields: list[str] = []
    at = 0
    while True:
        field, at = _field(text, at, flag)
        fields.append(field)
        if at == len(text):
            return tuple(fields)
        at += 1  # the comma


def _field(text: str, at: int, flag: str) -> tuple[str, int]:
    """Return one field, which begins at *at*, and where it ends."""
    if not text.startswith('"', at):
        end = text.find(",", at)
        end = len(text) if end < 0 else end
        if '"' in text[at:end]:
            raise _malformed(text, flag, 'a " stands inside a field')
        return text[at:end], end
    parts: list[str] = []
    while True:
        end = text.find('"', at + 1)
        if end < 0:
            raise _malformed(text, flag, 'a closing " is missing')
        parts.append(text[at + 1 : end])
        at = end + 1
        if not text.startswith('"', at):
            break
    if at < len(text) and text[at] != ",":
        raise _malformed(text, flag, 'something follows a closing "')
    return '"'.join(parts), at


def _malformed(text: str, flag: str, why: str) -> FormatError:
    return FormatError(
        f"failed to parse the comma-separated fields of --{flag}={text}: {why}",
        hint=f"""put quotes around a whole field: --{flag}='target=/in,"source=a,b"'""",
    )


def parse_bool(key: str, value: str) -> bool:
    """Return the value of a key that is true or false, in any form of Go's."""
    found = boolean_of(value)
    if found is None:
        raise FormatError(f"invalid value for {key}: {value}", hint="use true or false")
    return found
