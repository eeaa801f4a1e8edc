"""Typed getters over parsed JSON; their errors name the path of the field."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from ocitool.errors import BadManifest

T = TypeVar("T")

_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """Parse *data* as one JSON object without duplicate names; `BadManifest` otherwise.

    Duplicate names are refused, because two readers may understand them differently (RFC 8259,
    section 4).  So is any encoding but UTF-8, which Python would detect and other readers do not.
    """
    try:
        parsed = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"invalid JSON: {error}", where=where) from error
    if not isinstance(parsed, dict):
        raise BadManifest("expected a JSON object", where=where)
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = next(name for name, times in Counter(n for n, _ in pairs).items() if times > 1)
        raise ValueError(f"duplicate name {twice!r} in an object")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def required(fields: Mapping[str, Any], name: str, kind: type[T], where: str) -> T:
    """Return ``fields[name]``; `BadManifest` if it is missing or not of *kind*."""
    value = fields.get(name)
    if value is None:
        raise BadManifest("missing required field", where=_join(where, name))
    return _typed(value, kind, _join(where, name))


def optional(fields: Mapping[str, Any], name: str, kind: type[T], default: T, where: str) -> T:
    """Return ``fields[name]``; null counts as absent (image-spec config.md)."""
    value = fields.get(name)
    return default if value is None else _typed(value, kind, _join(where, name))


def string_list(fields: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    """Return a list of strings as a tuple, empty when absent or null."""
    values = optional(fields, name, list, [], where)
    return tuple(
        _typed(value, str, f"{_join(where, name)}[{at}]") for at, value in enumerate(values)
    )


def string_map(fields: Mapping[str, Any], name: str, where: str) -> dict[str, str]:
    """Return a map of strings to strings, empty when absent or null."""
    values = optional(fields, name, dict, {}, where)
    return {key: _typed(value, str, f"{_join(where, name)}.{key}") for key, value in values.items()}


def object_list(fields: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """Return a list of objects, empty when absent or null."""
    values = optional(fields, name, list, [], where)
    return [_typed(value, dict, f"{_join(where, name)}[{at}]") for at, value in enumerate(values)]


def _typed(value: Any, kind: type[T], where: str) -> T:
    # bool is an int to Python and not to JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadManifest(f"expected {_NAMES[kind]}, got {_NAMES[type(value)]}", where=where)
    return value


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
