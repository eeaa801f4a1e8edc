"""Values that callers of the library give in options: a wrong type is refused where it is given.

A string is a sequence of strings, too: without this, ``tags="t4"`` would be the tags t and 4.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, Final

from ocitool.errors import FormatError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def convert_fields(options: DataclassInstance) -> None:
    """Give the fields of a frozen dataclass the types of their annotations.

    Lists and other iterables become tuples, paths strings, and the text of a document bytes.

    Raises:
        FormatError: a value is of another type; ``where`` is the field.
    """
    for each in fields(options):
        convert = _TYPES.get(str(each.type))
        if convert is not None:
            value = getattr(options, each.name)
            object.__setattr__(options, each.name, convert(value, _place(options, each)))


def _place(options: DataclassInstance, each: Field[Any]) -> str:
    return f"{type(options).__name__}.{each.name}"


def _string(value: Any, where: str) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise _wrong("a string", value, where)
    return text


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str | os.PathLike):
        raise FormatError(
            f"expected a sequence of strings, got the string {str(value)!r}",
            where=where,
            hint=f"put it into a tuple: ({str(value)!r},)",
        )
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise _wrong("a sequence of strings", value, where)
    return tuple(_string(each, f"{where}[{at}]") for at, each in enumerate(value))


def _one_or_more(value: Any, where: str) -> str | tuple[str, ...]:
    if isinstance(value, str | os.PathLike):
        return _string(value, where)
    return _strings(value, where)


def _content(value: Any, where: str) -> Any:
    if isinstance(value, bytes) or callable(getattr(value, "read", None)):
        return value
    if isinstance(value, str | os.PathLike):
        return _string(value, where)
    raise _wrong("a string, bytes or a stream of bytes", value, where)


def _mapping(value: Any, where: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong("a mapping of strings", value, where)
    return {_string(key, where): _string(each, f"{where}[{key!r}]") for key, each in value.items()}


def _values(value: Any, where: str) -> Mapping[str, bytes]:
    if not isinstance(value, Mapping):
        raise _wrong("a mapping of text or bytes", value, where)
    return {_string(key, where): _data(each, f"{where}[{key!r}]") for key, each in value.items()}


def _data(value: Any, where: str) -> bytes:
    data = _document(value, where)
    if data is None:
        raise _wrong("text or bytes", value, where)
    return data


def _document(value: Any, where: str) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if value is None or isinstance(value, bytes):
        return value
    raise _wrong("text or bytes", value, where)


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong("True or False", value, where)
    return value


def _number(value: Any, where: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _wrong("a number or None", value, where)
    return value


def _float(value: Any, where: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _wrong("a number or None", value, where)
    return value


def _optional(value: Any, where: str) -> str | None:
    return None if value is None else _string(value, where)


def _wrong(expected: str, value: Any, where: str) -> FormatError:
    return FormatError(f"expected {expected}, got {type(value).__name__}", where=where)


def _number_or_text(value: Any, where: str) -> int | str | None:
    return value if isinstance(value, str) else _number(value, where)


#: By the text of the annotation: options are classes of modules with postponed annotations.
_TYPES: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "str": _string,
    "str | None": _optional,
    "tuple[str, ...]": _strings,
    "str | tuple[str, ...]": _one_or_more,
    "str | bytes | BinaryIO": _content,
    "Mapping[str, str]": _mapping,
    "Mapping[str, bytes]": _values,
    "bytes | None": _document,
    "bool": _flag,
    "int | None": _number,
    "int | str | None": _number_or_text,
    "float | None": _float,
}
