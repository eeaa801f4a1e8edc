"""The campaign of power cuts: what had returned is on the disk, whatever was being written."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.disk import Disk
from tests.crash.invariants import digests
from tests.crash.judge import Case, Judge
from tests.crash.operation import Operation


@dataclass(slots=True)
class Cuts:
    """Power cuts of stores that one judge knows, all on one disk."""

    judge: Judge
    disk: Disk
    seed: int
    _usual: dict[str, float] = field(default_factory=dict)  # seconds

    def run(self, every: Sequence[Operation], cuts: int) -> None:
        """Cut the power so many times while operations, chosen among *every*, work in one store."""
        stage, driver = self.judge.stage, self.judge.driver
        dice = random.Random(f"{self.seed} {driver}")
        root = self.disk.inner / f"store-{driver}"
        stage.fill(root, driver)
        # SQLite syncs when the last connection ends: with one more that comes late, if at all.
        with contextlib.closing(sqlite3.connect(root / "db.sqlite")) as another:
            another.execute("SELECT COUNT(*) FROM layers").fetchall()
            for number in range(cuts):
                self._one(every, dice, root, number)

    def _one(
        self, every: Sequence[Operation], dice: random.Random, root: Path, number: int
    ) -> None:
        stage, driver = self.judge.stage, self.judge.driver
        operation = dice.choice(every)
        operation.prepare(stage, root, driver)
        if operation.name not in self._usual:
            self._measure(operation, root)
            operation.prepare(stage, root, driver)
        before = digests(root)
        # Some cuts come after the command has returned.
        after = dice.uniform(0.0, self._usual[operation.name] * 1.5)
        returned = self._cut_after(operation, root, after)
        how = f"cut {number} of seed {self.seed}, {after:.3f} s after the command began"
        with self.disk.after_the_cut() as place:
            found = place / root.name
            _boot_anew(found)
            self.judge.survived(
                Case(
                    operation=operation,
                    root=found,
                    before=before,
                    how=f"{how}; it had returned" if returned else how,
                    returned=returned,
                )
            )

    def _measure(self, operation: Operation, root: Path) -> None:
        began = time.monotonic()
        done = self.judge.stage.run(root, self.judge.driver, *operation.words).ok()
        self._usual[operation.name] = time.monotonic() - began
        self.judge.expect(operation, root, done.stdout)

    def _cut_after(self, operation: Operation, root: Path, after: float) -> bool:
        """Cut the power during *operation*; returns whether it had returned by then."""
        stage = self.judge.stage
        process = subprocess.Popen(
            stage.command(root, self.judge.driver, *operation.words),
            env=stage.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(after)
        returned = process.poll() is not None
        self.disk.cut()
        process.wait()
        return returned


def _boot_anew(root: Path) -> None:
    """Let the store be found by another boot: what was not known to be durable is not believed."""
    with contextlib.closing(sqlite3.connect(root / "db.sqlite")) as database, database:
        database.execute("UPDATE layers SET boot = 'an earlier one' WHERE boot != ''")
