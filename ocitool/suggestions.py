"""Names that were probably meant, for messages about words that are none."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_MOST = 500  # names that one is compared with
_FAR = 3  # edits; a name this far away is another name


def suggest(word: str, names: Iterable[str]) -> str:
    """Return `` (did you mean NAME?)``, or nothing where no name is near."""
    return did_you_mean(nearest(word, names))


def did_you_mean(near: str) -> str:
    """Return `` (did you mean NEAR?)``, or nothing for ``""``."""
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


def closest(name: str, names: Iterable[str]) -> str:
    """Return the first of the *names* that is nearest to *name*, ``""`` where none is near.

    Case counts, and any two short names are near: BuildKit's rule, for its messages.  Of many
    names only the first ones are looked at.
    """
    ranked = ((_distance(name, each), each) for each in islice(names, _MOST))
    distance, nearby = min(ranked, default=(_FAR, ""), key=lambda each: each[0])
    return nearby if distance < _FAR else ""


def _distance(one: str, other: str) -> int:
    """Count the edits between two words (Levenshtein), as far as `_FAR`.

    So it need not look further from the diagonal, and long words cost little.
    """
    if abs(len(one) - len(other)) >= _FAR:
        return _FAR
    row = {index: index for index in range(min(_FAR, len(other) + 1))}
    for at, left in enumerate(one, start=1):
        first, last = max(0, at - _FAR + 1), min(len(other), at + _FAR - 1)
        before, row = row, {}
        for index in range(first, last + 1):
            replaced = before.get(index - 1, _FAR) + (index == 0 or left != other[index - 1])
            row[index] = min(before.get(index, _FAR) + 1, row.get(index - 1, _FAR) + 1, replaced)
        if min(row.values()) >= _FAR:
            return _FAR
    return min(row[len(other)], _FAR)
