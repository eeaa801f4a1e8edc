"""Frozen dataclasses to JSON and back, by their annotations; a bad field is named by its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar

from ocitool.errors import FormatError

T = TypeVar("T")

Reader = Callable[[Any, str], Any]


def to_json(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass instance as what ``json.dumps`` takes."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def from_json(cls: type[T], value: Any, where: str, nested: Mapping[str, type[Any]]) -> T:
    """Make a *cls* of JSON fields; *nested* maps a class name in an annotation to the class.

    The class is a dataclass or a `StrEnum`.

    Raises:
        FormatError: unknown, missing or mistyped field; ``where`` is its path.
    """
    if not isinstance(value, dict):
        raise FormatError("must be an object", where=where)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for name in value:
        if name not in known:
            raise FormatError("is not a known field", where=f"{where}.{name}".lstrip("."))
    made: dict[str, Any] = {}
    for name, item in value.items():
        place = f"{where}.{name}".lstrip(".")
        made[name] = _read(str(known[name].type), item, place, nested)
    try:
        return cls(**made)
    except TypeError as error:
        raise FormatError(f"lacks a field: {error}", where=where) from error


def _read(kind: str, value: Any, where: str, nested: Mapping[str, type[Any]]) -> Any:
    if kind.startswith("tuple["):
        return _read_tuple(kind[len("tuple[") : -1], value, where, nested)
    if kind in nested and issubclass(nested[kind], StrEnum):
        return _read_word(nested[kind], value, where)
    if kind in nested:
        return from_json(nested[kind], value, where, nested)
    wanted = {"str": str, "int": int, "bool": bool}[kind]
    if type(value) is not wanted:  # bool is an int, but not here
        raise FormatError(f"must be of type {kind}", where=where)
    return value


def _read_word(words: type[StrEnum], value: Any, where: str) -> StrEnum:
    try:
        return words(value)
    except ValueError:
        raise FormatError(f"must be one of {', '.join(words)}", where=where) from None


def _read_tuple(kind: str, value: Any, where: str, nested: Mapping[str, type[Any]]) -> Any:
    if not isinstance(value, list):
        raise FormatError("must be a list", where=where)
    kinds = kind.split(", ")
    if kinds[-1] == "...":
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise FormatError(f"must have {len(kinds)} items", where=where)
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_read(k, item, f"{where}[{n}]", nested) for n, (k, item) in pairs)
