"""The campaign of kills: commands killed at each change they make, and at random times."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.crash.invariants import digests
from tests.crash.judge import Case, Judge
from tests.crash.operation import Operation
from tests.crash.stage import Stage, copy_store
from tests.crash.tracer import Tracer, Whom
from tests.fixtures.trees import remove_tree

WHOM: Final[tuple[Whom, ...]] = ("main", "all", "caller")


@dataclass(slots=True)
class Kills:
    """Kills on stores that one judge knows."""

    judge: Judge
    seed: int

    @property
    def stage(self) -> Stage:
        """Where all of it happens."""
        return self.judge.stage

    @property
    def driver(self) -> str:
        """The driver of the stores."""
        return self.judge.driver

    # -- systematic -------------------------------------------------------------------------

    def systematic(self, operation: Operation, most: int) -> None:
        """Kill *operation* at each of its changes, or at *most* of them, evenly chosen."""
        template = self._ready(operation)
        whole = self._reference(operation, template)
        step = max(1.0, whole / most)
        print(f"{self.driver} {operation.name}: {whole} changes", flush=True)
        for at in range(min(whole, most)):
            number = 1 + int((at + (self.seed % 97) / 97) * step)
            self._kill_at(operation, template, number, WHOM[at % len(WHOM)])
        note = f"of {whole} changes" if whole > most else "each change"
        self.judge.table.notes[(self.driver, operation.name)] = note
        if self.copied:
            remove_tree(template)

    def single(self, operation: Operation, at: int) -> None:
        """Kill *operation* at one of its changes, as the report of a fault tells."""
        template = self._ready(operation)
        self._reference(operation, template)
        for whom in WHOM:
            self._kill_at(operation, template, at, whom)

    @property
    def copied(self) -> bool:
        """Stores can be copied; else all is done in one, which is made ready again each time."""
        return self.driver != "btrfs"  # subvolumes would become directories

    def _ready(self, operation: Operation) -> Path:
        if not self.copied:
            return self.stage.home(self.driver) / "store"
        template = self.stage.work / f"ready-{self.driver}-{operation.name}"
        if operation.fresh:
            template.mkdir()
            return template
        copy_store(self.stage.template(self.driver), template)
        operation.prepare(self.stage, template, self.driver)
        wrong = self.judge.proof.recovered(template, digests(template))
        if wrong and not operation.repairs:
            raise SystemExit(f"{operation.name} cannot begin: {wrong}")
        return template

    def _reference(self, operation: Operation, template: Path) -> int:
        """Do *operation* unharmed; returns how many changes it makes."""
        root = self._fresh(operation, template)
        words = self.stage.command(root, self.driver, *operation.words)
        log = f"{self.stage.work}/log"
        done = Tracer().run(words, self.stage.env, log)
        if done.code != 0:
            self.judge.accuse(operation, "no kill", [Path(f"{log}.err").read_text()])
            return 0
        self.judge.expect(operation, root, Path(f"{log}.out").read_text())
        return done.changes

    def _kill_at(self, operation: Operation, template: Path, at: int, whom: Whom) -> None:
        root = self._fresh(operation, template)
        before = digests(root)
        words = self.stage.command(root, self.driver, *operation.words)
        done = Tracer(at, whom).run(words, self.stage.env, f"{self.stage.work}/log")
        how = f"--at {at}: {whom} killed at {done.place}" if done.place else f"--at {at}: not met"
        wrong = (f"{done.left} processes did not end",) if done.left else ()
        on = not self.copied
        self.judge.survived(
            Case(operation=operation, root=root, before=before, how=how, wrong=wrong, goes_on=on)
        )

    def _fresh(self, operation: Operation, template: Path) -> Path:
        if not self.copied:
            if not template.exists():  # at the beginning, and after a fault
                self.stage.fill(template, self.driver)
            operation.prepare(self.stage, template, self.driver)
            return template
        root = self.stage.work / f"store-{self.driver}"
        if root.exists():
            remove_tree(root)
        copy_store(template, root)
        return root

    # -- random -----------------------------------------------------------------------------

    def randomly(self, every: Sequence[Operation], kills: int) -> None:
        """Kill operations, chosen among *every*, at random times, all in one store."""
        dice = random.Random(f"{self.seed} {self.driver}")
        root = self.stage.home(self.driver) / f"long-{self.driver}"
        self.stage.fill(root, self.driver)
        usual: dict[str, float] = {}
        for number in range(kills):
            operation = dice.choice(every)
            operation.prepare(self.stage, root, self.driver)
            before = digests(root)
            if operation.name not in usual:
                began = time.monotonic()
                done = self.stage.run(root, self.driver, *operation.words).ok()
                usual[operation.name] = time.monotonic() - began
                self.judge.expect(operation, root, done.stdout)
                operation.prepare(self.stage, root, self.driver)
                before = digests(root)
            after = dice.uniform(0.02, usual[operation.name] * 1.1)
            everybody = dice.random() < 0.5
            how = self._kill_after(operation, root, after, everybody)
            how = f"random kill {number} of seed {self.seed}: {how}"
            case = Case(
                operation=operation,
                root=root,
                before=before,
                how=how,
                again_first=dice.random() < 0.5,
                goes_on=True,
            )
            if not self.judge.survived(case):
                self.stage.fill(root, self.driver)

    def _kill_after(self, operation: Operation, root: Path, after: float, everybody: bool) -> str:
        words = self.stage.command(root, self.driver, *operation.words)
        process = subprocess.Popen(
            words,
            env=self.stage.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(after)
        if process.poll() is not None:
            return f"had ended within {after:.3f} s"
        (os.killpg if everybody else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        whom = "its process group" if everybody else "its main process"
        return f"{whom} killed after {after:.3f} s"
