"""Filters of `prune` for images and build steps: docker's ``until``, ``label``, ``label!``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Label(NamedTuple):
    """A label to look for; a value of None matches every value."""

    key: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that must all be met.  Without any, everything may be removed.

    ``until`` is in nanoseconds since the epoch: an image created then or later, or a build step
    last used then or later, is kept.  Build steps have no labels, so a label keeps them all.
    """

    until: int | None = None
    labels: tuple[Label, ...] = ()  # an image must have them all
    without: tuple[Label, ...] = ()  # an image that has them all is kept

    def __bool__(self) -> bool:
        return self.until is not None or self.by_label

    @property
    def by_label(self) -> bool:
        """Whether there is a condition on labels."""
        return bool(self.labels or self.without)

    def take(self, created: int | None, labels: Mapping[str, str]) -> bool:
        """Say whether an image may be removed; *created* is None if its config does not say."""
        if self.until is not None and (created is None or created >= self.until):
            return False
        if self.without and _has_all(labels, self.without):
            return False
        return _has_all(labels, self.labels)


def _has_all(labels: Mapping[str, str], wanted: tuple[Label, ...]) -> bool:
    return all(key in labels and (value is None or labels[key] == value) for key, value in wanted)
