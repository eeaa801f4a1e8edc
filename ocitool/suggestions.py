"""Names that were probably meant, for messages about words that are none."""

from __future__ import annotations

from collections.abc import Iterable

_FAR = 3  # edits; a name this far away is another name


def suggest(word: str, names: Iterable[str]) -> str:
    """Return `` (did you mean NAME?)``, or nothing where no name is near."""
    near = nearest(word, names)
    return f" (did you mean {near}?)" if near else ""


def nearest(word: str, names: Iterable[str]) -> str:
    """Return the name that was probably meant by *word*, ``""`` where none is near."""
    word = word.lower()
    # Of two names as near, the one with the same letters: two of them were swapped.
    ranked = (
        (_distance(word, name.lower()), sorted(word) != sorted(name.lower()), name)
        for name in names
    )
    near = (each for each in ranked if each[0] < min(_FAR, len(each[2])))
    return min(near, default=(_FAR, True, ""))[2]


def nearest_variable(name: str, names: Iterable[str]) -> str:
    """Return the variable that was probably meant by *name*, ``""`` where none is near.

    Their case counts, and any two short names are near: BuildKit's rule, for its messages.
    """
    distance, nearby = min(((_distance(name, each), each) for each in names), default=(_FAR, ""))
    return nearby if distance < _FAR else ""


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
