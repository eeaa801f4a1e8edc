"""The functions of templates: those of Go, and those that docker adds."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ocitool.cli.gotemplate.parse import fail
from ocitool.cli.gotemplate.values import is_list, show, to_json
from ocitool.errors import FormatError


@dataclass(frozen=True, slots=True)
class Function:
    """One function: how many arguments it takes (*most* None: any number), and its body."""

    least: int
    most: int | None
    body: Callable[..., object]


def call(name: str, arguments: list[object]) -> object:
    """Call the function *name*.

    Raises:
        FormatError: there is no such function, or the arguments are invalid.
    """
    function = FUNCTIONS.get(name)
    if function is None:
        fail(f"function {name!r} is not supported", hint=f"supported: {', '.join(FUNCTIONS)}")
    count = len(arguments)
    if count < function.least or (function.most is not None and count > function.most):
        fail(f"wrong number of arguments for {name}: {count}")
    try:
        return function.body(*arguments)
    except FormatError:
        raise
    except (TypeError, ValueError, AttributeError):
        fail(f"invalid arguments for {name}: {kinds(arguments)}")


def kinds(arguments: Iterable[object]) -> str:
    """Return what kinds of values *arguments* are, for an error."""
    return ", ".join(map(_kind, arguments))


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a map"
    return "a list" if is_list(value) else names.get(type(value), type(value).__name__)


# -- looking into values -------------------------------------------------------------------


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")  # Go gives the zero value of a map of strings
        elif is_list(value):
            value = _item(value, key)
        else:
            fail(f"cannot index {_kind(value)}")
    return value


def _item(value: Any, key: object) -> object:
    if not isinstance(key, int) or isinstance(key, bool):
        fail(f"expected a number as the index of a list, got {_kind(key)}")
    if not 0 <= key < len(value):
        fail(f"index out of range: {key} of {len(value)}")
    return value[key]


def _len(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode())  # Go counts bytes
    if isinstance(value, Mapping) or is_list(value):
        return len(value)
    return fail(f"invalid argument for len: {_kind(value)}")


def _slice(value: Any, start: int = 0, stop: int | None = None) -> object:
    if not 0 <= start <= (len(value) if stop is None else stop) <= len(value):
        fail(f"slice out of range: {start}:{'' if stop is None else stop} of {len(value)}")
    return value[start:stop]


# -- text ----------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        fail(f"expected a string, got {_kind(value)}")
    return value


def _join(values: Any, separator: object) -> str:
    if values is not None and not is_list(values):
        fail(f"expected a list for join, got {_kind(values)}")
    return _text(separator).join(show(value) for value in values or ())


def _split(value: object, separator: object) -> list[str]:
    text, mark = _text(value), _text(separator)
    return text.split(mark) if mark else list(text)


def _title(value: object) -> str:
    return re.sub(r"(^|\s)(\S)", lambda found: found[1] + found[2].upper(), _text(value))


_WIDEST = 1_000_000  # Go's own limit for a width or a precision of printf


def _pad(value: object, left: int, right: int) -> str:
    if max(left, right) > _WIDEST:
        fail(f"pad: width {max(left, right)} is larger than {_WIDEST}")
    return " " * left + _text(value) + " " * right if value else ""


def _print(*values: object) -> str:
    """Join as Go's Print: a space only between two values neither of which is a string."""
    pieces: list[str] = []
    previous: object = ""
    for number, value in enumerate(values):
        space = number and not isinstance(value, str) and not isinstance(previous, str)
        pieces.append(f" {show(value)}" if space else show(value))
        previous = value
    return "".join(pieces)


def _println(*values: object) -> str:
    return " ".join(show(value) for value in values) + "\n"


_VERB = re.compile(r"%([-+# 0]*)(\d*)((?:\.\d+)?)(.)", re.DOTALL)
_VERBS: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys("sv", show),
    **dict.fromkeys("doxXeEfgGc", lambda value: value),
    "t": show,
    "q": to_json,
}


def _count(digits: str) -> int:
    return int(digits[:9] or "0")  # so many are too many already


def _printf(form: object, *values: object) -> str:
    left = deque(values)

    def replace(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if verb not in _VERBS:
            fail(f"printf: %{verb} is not supported", hint=f"supported: {' '.join(_VERBS)} %")
        if not left:
            fail(f"printf: missing value for %{verb}")
        if max(_count(width), _count(precision[1:])) > _WIDEST:
            fail(f"printf: width is larger than {_WIDEST}")
        value = _VERBS[verb](left.popleft())
        python_verb = "s" if verb in "svtq" else verb
        return f"%{flags}{width}{precision}{python_verb}" % (value,)

    text = _VERB.sub(replace, _text(form))
    return text if not left else fail(f"printf: {len(left)} unused values")


# -- comparing -----------------------------------------------------------------------------


def _equal(first: object, *others: object) -> bool:
    for other in others:
        if None not in (first, other) and isinstance(first, str) != isinstance(other, str):
            fail(f"cannot compare {_kind(first)} with {_kind(other)}")
    return any(first == other for other in others)


def _less(first: Any, second: Any) -> bool:
    return bool(first < second)


FUNCTIONS: dict[str, Function] = {
    "and": Function(1, None, lambda *v: next((x for x in v if not x), v[-1])),
    "eq": Function(2, None, _equal),
    "ge": Function(2, 2, lambda a, b: not _less(a, b)),
    "gt": Function(2, 2, lambda a, b: _less(b, a)),
    "index": Function(1, None, _index),
    "join": Function(2, 2, _join),
    "json": Function(1, 1, to_json),
    "le": Function(2, 2, lambda a, b: not _less(b, a)),
    "len": Function(1, 1, _len),
    "lower": Function(1, 1, lambda value: _text(value).lower()),
    "lt": Function(2, 2, _less),
    "ne": Function(2, 2, lambda a, b: not _equal(a, b)),
    "not": Function(1, 1, lambda value: not value),
    "or": Function(1, None, lambda *v: next((x for x in v if x), v[-1])),
    "pad": Function(3, 3, _pad),
    "print": Function(0, None, _print),
    "printf": Function(1, None, _printf),
    "println": Function(0, None, _println),
    "slice": Function(1, 3, _slice),
    "split": Function(2, 2, _split),
    "title": Function(1, 1, _title),
    "truncate": Function(2, 2, lambda value, size: _text(value)[:size]),
    "upper": Function(1, 1, lambda value: _text(value).upper()),
}
