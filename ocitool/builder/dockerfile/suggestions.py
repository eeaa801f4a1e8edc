"""The name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

_FAR = 3  # edits; a name this far away is another name


def suggest(word: str, names: Iterable[str]) -> str:
    """Return `` (did you mean NAME?)``, or nothing where no name is near."""
    near = min(
        ((_distance(word.lower(), name.lower()), name) for name in names), default=(_FAR, "")
    )
    return f" (did you mean {near[1]}?)" if near[0] < min(_FAR, len(near[1])) else ""


def _distance(one: str, other: str) -> int:
    """Count the edits between two words (Levenshtein)."""
    if abs(len(one) - len(other)) >= _FAR:
        return _FAR
    row = list(range(len(other) + 1))
    for at, left in enumerate(one, start=1):
        before, row[0] = row[0], at
        for index, right in enumerate(other, start=1):
            before, row[index] = (
                row[index],
                min(row[index] + 1, row[index - 1] + 1, before + (left != right)),
            )
    return row[-1]
