"""The fields of tar headers: octal and binary numbers, PAX records.

Source: POSIX.1-2017 pax, "pax Extended Header"; GNU tar's base-256 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ocitool.errors import LayerError
from ocitool.layer.entry import NO_XATTRS, decode

_XATTR: Final = "SCHILY.xattr."
SPARSE_MAP: Final = "GNU.sparse.map"
#: Version 0.0 of GNU's sparse files repeats these two, where 0.1 has one map.
_REPEATED: Final = ("GNU.sparse.offset", "GNU.sparse.numbytes")
_SECOND: Final = 1_000_000_000  # nanoseconds


def number(field: bytes, what: str) -> int:
    """Read a numeric header field: octal, or GNU's base 256; at least 0."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            if what != "mtime":
                raise LayerError(f"a header's {what} is negative")
            value -= 1 << (8 * len(field) - 1)
        return value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    try:
        if not digits.isdigit():  # int() takes signs, underscores and "0o", which no other tar does
            raise ValueError
        return int(digits, 8)
    except ValueError:
        raise LayerError(f"a header's {what} is not a number: {digits!r}") from None


def decimal(value: bytes, what: str) -> int:
    """Read a whole number of a PAX record, at least 0."""
    if not value.isdigit() or len(value) > 20:
        raise LayerError(f"a PAX {what} is not a number: {value[:40]!r}")
    return int(value)


def time(value: bytes) -> int:
    """Read a PAX time in nanoseconds; digits beyond are cut off, never rounded."""
    text = value.decode("ascii", "replace")
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.removeprefix("-").partition(".")
    if not whole.isdigit() or len(whole) > 12 or not (fraction.isdigit() or not fraction):
        raise LayerError(f"a PAX mtime is not a time: {value[:40]!r}")
    return sign * (int(whole) * _SECOND + int(fraction[:9].ljust(9, "0") or 0))


def parse(data: bytes) -> dict[str, bytes]:
    """Read the records of one extended header: ``LENGTH KEY=VALUE\\n``, the length of it all.

    The map of a sparse file is one record, even where it was written as many.
    """
    records: dict[str, bytes] = {}
    repeated: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        length = data[at:space]
        if space < 0 or not length.isdigit():
            raise LayerError("a PAX record has no length")
        end = at + int(length)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n" or not equals:
            raise LayerError("a PAX record is malformed")
        if b"\0" in key:
            raise LayerError("the name of a PAX record contains a NUL byte")
        at = end
        name = decode(key)
        if name not in _REPEATED:
            records[name] = value
        elif name == _REPEATED[len(repeated) % 2]:
            repeated.append(value)
        else:
            raise LayerError("the map of a sparse file is corrupt")
    if repeated:
        records[SPARSE_MAP] = b",".join(repeated)
    return records


def dump(records: Iterable[tuple[str, bytes]]) -> bytes:
    """Write records in the order given."""
    out = bytearray()
    for key, value in records:
        body = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
        length = len(body) + len(str(len(body)))
        # The length counts its own digits.
        if len(str(length)) + len(body) != length:
            length = len(body) + len(str(length))
        out += b"%d" % length + body
    return bytes(out)


def merge(records: dict[str, bytes], later: Mapping[str, bytes]) -> None:
    """Add *later* to *records*; an empty value removes a record (POSIX pax)."""
    for key, value in later.items():
        if value or key.startswith(_XATTR):
            records[key] = value
        else:
            records.pop(key, None)


def xattrs(records: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the extended attributes among *records*."""
    found = {
        key.removeprefix(_XATTR): value for key, value in records.items() if key.startswith(_XATTR)
    }
    return found or NO_XATTRS


def xattr_records(values: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Return the records for extended attributes, sorted."""
    return [(_XATTR + name, values[name]) for name in sorted(values)]
