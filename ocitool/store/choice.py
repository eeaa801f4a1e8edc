"""Which driver a store uses, and why: probed once in each boot of the machine, and remembered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocitool.drivers.driver import Support


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverChoice:
    """The driver in use and why it works; what was tried before it and why it was passed over."""

    name: str
    reason: str = ""
    passed_over: tuple[tuple[str, Support], ...] = ()


def read_choice(path: str, asked: dict[str, Any]) -> DriverChoice | None:
    """Return the choice that is remembered in *path*, if it answers what is *asked*."""
    from ocitool.drivers.driver import Support

    try:
        with open(path, "rb") as file:
            known = json.load(file)
        if known["asked"] != asked:
            return None
        answer = known["answer"]
        passed = tuple((name, Support(**support)) for name, support in answer["passed"])
        return DriverChoice(name=answer["name"], reason=answer["reason"], passed_over=passed)
    except (OSError, ValueError, KeyError, TypeError):
        return None
