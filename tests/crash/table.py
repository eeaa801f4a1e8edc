"""What a campaign has found: faults, each with the way to see it again, and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that was not as promised."""

    driver: str
    work: str  # the operation, or the kind of campaign
    how: str  # what was done, for one who wants to see it again
    wrong: Sequence[str]
    kept: str = ""  # where the store lies

    def __str__(self) -> str:
        lines = [f"FAULT {self.driver} {self.work}: {self.how}", *(f"    {w}" for w in self.wrong)]
        return "\n".join([*lines, f"    store: {self.kept}"] if self.kept else lines)


@dataclass(slots=True)
class Table:
    """Counts by driver and operation."""

    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Keep a fault, and print it at once."""
        self.faults.append(fault)
        print(fault, flush=True)

    def show(self) -> None:
        """Print the table."""
        wrong = Counter((fault.driver, fault.work) for fault in self.faults)
        print(f"\n{'driver':<9} {'operation':<18} {'done':>7} {'faults':>7}")
        for at in sorted({*self.done, *wrong}):
            note = self.notes.get(at, "")
            print(f"{at[0]:<9} {at[1]:<18} {self.done[at]:>7} {wrong[at]:>7}  {note}".rstrip())
        print(f"{'all':<9} {'':<18} {self.done.total():>7} {len(self.faults):>7}", flush=True)
