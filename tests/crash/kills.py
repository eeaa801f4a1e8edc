"""The campaign of kills: commands killed at each change they make, and at random moments."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.descendants import await_orphans, children
from tests.crash.operation import Operation
from tests.crash.proof import Proof, digests, residue
from tests.crash.stage import Stage, copy_store
from tests.crash.table import Fault, Table
from tests.crash.tracer import Tracer
from tests.fixtures.trees import remove_tree

EMPTIED_EVERY = 20  # kills


@dataclass(slots=True)
class Kills:
    """Kills on stores of one driver."""

    stage: Stage
    driver: str
    table: Table
    seed: int
    proof: Proof = field(init=False)
    expected: dict[str, tuple[str, str]] = field(default_factory=dict)  # digest, and what is said
    _own: set[int] = field(default_factory=children)
    _count: int = 0

    def __post_init__(self) -> None:
        self.proof = Proof(self.driver)

    # -- systematic -------------------------------------------------------------------------

    def systematic(self, operation: Operation, most: int) -> None:
        """Kill *operation* at each of its changes, or at *most* of them, evenly chosen."""
        template = self._ready(operation)
        whole = self._reference(operation, template)
        step = max(1.0, whole / most)
        for at in range(min(whole, most)):
            number = 1 + int((at + (self.seed % 97) / 97) * step)
            self._kill_at(operation, template, number, everybody=bool(at % 2))
        note = f"of {whole} changes" if whole > most else "each change"
        self.table.notes[(self.driver, operation.name)] = note
        remove_tree(template)

    def single(self, operation: Operation, at: int) -> None:
        """Kill *operation* at one of its changes, as the report of a fault tells."""
        template = self._ready(operation)
        self._reference(operation, template)
        for everybody in (False, True):
            self._kill_at(operation, template, at, everybody=everybody)

    def _ready(self, operation: Operation) -> Path:
        template = self.stage.work / f"ready-{self.driver}-{operation.name}"
        copy_store(self.stage.template(self.driver), template)
        operation.prepare(self.stage, template, self.driver)
        if wrong := self.proof.recovered(template, digests(template)):
            raise SystemExit(f"{operation.name} cannot begin: {wrong}")
        return template

    def _reference(self, operation: Operation, template: Path) -> int:
        """Do *operation* unharmed; returns how many changes it makes."""
        root = self._fresh(template)
        words = self.stage.command(root, self.driver, *operation.words)
        log = f"{self.stage.work}/log"
        done = Tracer(0, False).run(words, self.stage.env, log)
        said = Path(log).read_text()
        if done.code != 0:
            raise SystemExit(f"{' '.join(words)} fails without a kill: {said}")
        self._expect(operation, root, said)
        remove_tree(root)
        return done.changes

    def _kill_at(self, operation: Operation, template: Path, at: int, *, everybody: bool) -> None:
        root = self._fresh(template)
        words = self.stage.command(root, self.driver, *operation.words)
        done = Tracer(at, everybody).run(words, self.stage.env, f"{self.stage.work}/log")
        whom = "all its processes" if everybody else "its main process"
        how = f"--at {at}: {whom} killed at {done.place}" if done.place else f"--at {at}: not met"
        wrong = [f"{done.left} processes did not end"] if done.left else []
        before = digests(template)
        self._judge(operation, root, before, how, wrong)
        remove_tree(root)

    def _fresh(self, template: Path) -> Path:
        root = self.stage.work / f"store-{self.driver}"
        if root.exists():
            remove_tree(root)
        copy_store(template, root)
        return root

    # -- random -----------------------------------------------------------------------------

    def randomly(self, every: Sequence[Operation], kills: int) -> None:
        """Kill operations, chosen among *every*, at random moments, all in one store."""
        dice = random.Random(f"{self.seed} {self.driver}")
        root = self.stage.work / f"long-{self.driver}"
        copy_store(self.stage.template(self.driver), root)
        usual: dict[str, float] = {}
        for number in range(kills):
            operation = dice.choice(every)
            operation.prepare(self.stage, root, self.driver)
            before = digests(root)
            if operation.name not in usual:
                began = time.monotonic()
                done = self.stage.run(root, self.driver, *operation.words).ok()
                usual[operation.name] = time.monotonic() - began
                self._expect(operation, root, done.stdout + done.stderr)
                operation.prepare(self.stage, root, self.driver)
                before = digests(root)
            after = dice.uniform(0.02, usual[operation.name] * 1.1)
            everybody = dice.random() < 0.5
            how = self._kill_after(operation, root, after, everybody)
            how = f"random kill {number} of seed {self.seed}: {how}"
            first = dice.random() < 0.5
            if not self._judge(operation, root, before, how, [], again_first=first, goes_on=True):
                copy_store(self.stage.template(self.driver), root)

    def _kill_after(self, operation: Operation, root: Path, after: float, everybody: bool) -> str:
        words = self.stage.command(root, self.driver, *operation.words)
        with open(f"{self.stage.work}/log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                words,
                env=self.stage.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            time.sleep(after)
            if process.poll() is not None:
                return f"had ended within {after:.3f} s"
            (os.killpg if everybody else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
        whom = "its process group" if everybody else "its main process"
        return f"{whom} killed after {after:.3f} s"

    # -- judgement --------------------------------------------------------------------------

    def _expect(self, operation: Operation, root: Path, said: str) -> None:
        outcome = _outcome(operation, root, said)
        known = self.expected.setdefault(operation.name, outcome)
        if known != outcome:
            wrong = [f"comes to {outcome}, and to {known} before"]
            fault = Fault(driver=self.driver, work=operation.name, how="no kill", wrong=wrong)
            self.table.add(fault)

    def _judge(
        self,
        operation: Operation,
        root: Path,
        before: dict[str, str],
        how: str,
        wrong: list[str],
        *,
        again_first: bool = False,
        goes_on: bool = False,
    ) -> bool:
        """Prove that the store survived; the fault is kept with its store if it did not."""
        self._count += 1
        self.table.done[(self.driver, operation.name)] += 1
        wrong += await_orphans(self._own)
        digest = self.expected[operation.name][0]
        images = {**before, **({operation.makes: digest} if operation.makes else {})}
        doubtful = operation.makes or operation.removes
        parts = [
            lambda: self.proof.recovered(root, images, doubtful),
            lambda: self._again(operation, root),
        ]
        for part in reversed(parts) if again_first else parts:
            wrong += part()
        images.pop(operation.removes, None)
        wrong += self.proof.recovered(root, images)
        if self._count % EMPTIED_EVERY == 0 and not wrong:
            wrong += self._emptied(root, refill=goes_on)
        if wrong:
            kept = self.stage.work / "faults" / f"{self.driver}-{operation.name}-{self._count}"
            kept.parent.mkdir(exist_ok=True)
            shutil.move(root, kept)
            work = operation.name
            fault = Fault(driver=self.driver, work=work, how=how, wrong=wrong, kept=str(kept))
            self.table.add(fault)
        return not wrong

    def _again(self, operation: Operation, root: Path) -> list[str]:
        """The same once more succeeds, and comes to the same."""
        done = self.stage.run(root, self.driver, *operation.words)
        if operation.removes and done.code == 1 and "is not in the store" in done.stderr:
            return []  # the killed one had done it
        if done.code != 0:
            return [f"once more: {done}"]
        outcome = _outcome(operation, root, done.stdout + done.stderr)
        known = self.expected[operation.name]
        return [] if outcome == known else [f"once more comes to {outcome}, not to {known}"]

    def _emptied(self, root: Path, *, refill: bool) -> list[str]:
        """All that was in the store can be removed from it."""
        done = self.stage.run(root, self.driver, "system", "prune", "-a", "-f")
        wrong = [str(done)] if done.code != 0 else []
        wrong += [f"after prune -a: {left}" for left in residue(root)]
        if not wrong and refill:
            self.stage.stock(root, self.driver)
        return wrong


def _outcome(operation: Operation, root: Path, said: str) -> tuple[str, str]:
    """Return what is the same each time: the digest of the image, and what was said or written."""
    if operation.writes:
        content = Path(operation.writes).read_bytes()
        return "", hashlib.sha256(content).hexdigest()
    named = digests(root).get(operation.makes or operation.removes, "")
    if operation.timed:
        named = "" if named else "missing"  # any will do
    return named, said if operation.says else ""
