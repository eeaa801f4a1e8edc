"""Values as Go prints them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

NO_VALUE = "<no value>"


class Nil:
    """Go's nil pointer: ``<nil>``, and null in JSON."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<nil>"


class NilList(Sequence[object]):
    """Go's nil slice: an empty list that is null in JSON."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: Any) -> Any:
        raise IndexError(index)


class NilMap(Mapping[str, object]):
    """Go's nil map, likewise."""

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __getitem__(self, key: str) -> object:
        raise KeyError(key)


def show(value: object) -> str:
    """Return *value* as Go's ``%v`` does: ``[a b]``, ``map[k:v]``, ``true``, ``<no value>``."""
    return NO_VALUE if value is None else _inner(value)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Return whether *value* would be a slice in Go."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _inner(value: object) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        pairs = sorted((str(key), item) for key, item in data(value).items())
        return f"map[{' '.join(f'{key}:{_inner(item)}' for key, item in pairs)}]"
    if is_list(value):
        return f"[{' '.join(_inner(item) for item in value)}]"
    return str(value)


def _float(value: float) -> str:
    """Return *value* with as few digits as possible; with an exponent below 1e-4 and from 1e6."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+}".replace("inf", "Inf")
    scientific = next(text for digits in range(18) if float(text := f"{value:.{digits}e}") == value)
    if -4 <= int(scientific.partition("e")[2]) < 6:
        return f"{value!r}".removesuffix(".0")
    return scientific


def data(value: Mapping[str, object]) -> dict[str, object]:
    """Return the entries of a row that are data; the others are methods, as ``.Label "k"``."""
    return {key: item for key, item in value.items() if not callable(item)}


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return *value* as JSON: on one line unless there is an *indent*, characters unescaped."""
    return json.dumps(
        _plain(value) if isinstance(value, Mapping) else value,
        ensure_ascii=False,
        separators=(",", ": " if indent else ":"),
        indent=indent,
        default=_plain,
    )


def _plain(value: object) -> object:
    if isinstance(value, (Nil, NilList, NilMap)):
        return None
    if isinstance(value, Mapping):
        return data(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return list(value) if is_list(value) else str(value)
