"""Making a list as small as it gets while something stays true of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def smallest(items: Sequence[T], holds: Callable[[list[T]], bool]) -> list[T]:
    """Leave out as many *items* as possible, large parts first, while *holds* says yes.

    ``holds`` is true of *items* themselves, which it is not asked about.
    """
    left = list(items)
    size = (len(left) + 1) // 2
    while size:
        at = len(left) - size
        while at > -size:
            fewer = left[: max(at, 0)] + left[at + size :]
            if len(fewer) < len(left) and holds(fewer):
                left = fewer
            at -= size
        size //= 2
    return left
