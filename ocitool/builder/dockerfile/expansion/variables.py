"""Which variables a text used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Lookup(Protocol):
    """What variables are looked up in: a mapping, for one."""

    def get(self, name: str, /) -> str | None:
        """Return the value of *name*, None if it is not set."""


@dataclass(frozen=True, slots=True)
class Variables:
    """*values*, and those among them that were looked up: ``found``, and names that are not set."""

    values: Mapping[str, str]
    found: dict[str, str] = field(default_factory=dict)
    unset: set[str] = field(default_factory=set)

    def get(self, name: str, /) -> str | None:
        value = self.values.get(name)
        if value is None:
            self.unset.add(name)
        else:
            self.found[name] = value
        return value
