"""Which images and build steps a collection may take: docker's ``until``, ``label``, ``label!``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Label = tuple[str, str | None]  # a key, and a value if that counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that must all be met.  Without any, everything may go.

    ``until`` is in nanoseconds since the epoch: what was created (an image) or last used (a build
    step) then or later stays.  Build steps have no labels, so with one they stay.
    """

    until: int | None = None
    labels: tuple[Label, ...] = ()  # an image must have them all
    without: tuple[Label, ...] = ()  # an image that has them all stays

    def __bool__(self) -> bool:
        return self.until is not None or self.by_label

    @property
    def by_label(self) -> bool:
        """Whether labels count."""
        return bool(self.labels or self.without)

    def take(self, created: int | None, labels: Mapping[str, str]) -> bool:
        """Say whether an image may go; *created* is None if its config does not say."""
        if self.until is not None and (created is None or created >= self.until):
            return False
        if self.without and _has_all(labels, self.without):
            return False
        return _has_all(labels, self.labels)


def _has_all(labels: Mapping[str, str], wanted: tuple[Label, ...]) -> bool:
    return all(key in labels and (value is None or labels[key] == value) for key, value in wanted)
