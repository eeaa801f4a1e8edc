"""Judges a store that has been through a crash, with one operation not known to be done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.descendants import await_orphans, children
from tests.crash.invariants import Proof, digests, residue
from tests.crash.operation import Operation
from tests.crash.stage import Stage, copy_store
from tests.crash.table import Fault, Table

EMPTIED_EVERY = 20  # cases

Outcomes = dict[str, tuple[str, str]]
"""What operations come to: the digest of the image, and what is said or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One crash."""

    operation: Operation
    root: Path
    before: Mapping[str, str]  # names and digests when the operation began
    how: str
    wrong: tuple[str, ...] = ()  # what is known to be wrong already
    returned: bool = False  # the operation had returned when the crash came
    again_first: bool = False  # the operation is done again before anybody looks
    goes_on: bool = False  # the store is used further


@dataclass(slots=True)
class Judge:
    """Judges stores of one driver."""

    stage: Stage
    driver: str
    table: Table
    expected: Outcomes
    kind: str = ""  # what stands before the operation in the table
    count: int = 0
    proof: Proof = field(init=False)
    _own: set[int] = field(default_factory=children)

    def __post_init__(self) -> None:
        self.proof = Proof(self.driver)

    def expect(self, operation: Operation, root: Path, said: str) -> None:
        """Note what *operation* comes to when nothing happens, on whatever driver."""
        outcome = _outcome(operation, root, said)
        known = self.expected.setdefault(operation.name, outcome)
        if known != outcome:
            self.accuse(operation, "no kill", [f"comes to {outcome}, and to {known} before"])

    def accuse(self, operation: Operation, how: str, wrong: list[str], kept: str = "") -> None:
        """Report a fault."""
        work = f"{self.kind}{operation.name}"
        self.table.add(Fault(driver=self.driver, work=work, how=how, wrong=wrong, kept=kept))

    def survived(self, case: Case) -> bool:
        """Verify that the store survived *case*; it is kept if it did not."""
        self.count += 1
        operation, root = case.operation, case.root
        wrong = [*case.wrong, *await_orphans(self._own)]
        digest = self.expected[operation.name][0]
        images = {**case.before, **({operation.makes: digest} if operation.makes else {})}
        doubtful = "" if case.returned else operation.makes or operation.removes
        if case.returned:
            images.pop(operation.removes, None)
        parts = [
            lambda: [] if operation.repairs else self.proof.recovered(root, images, doubtful),
            lambda: self.again(operation, root),
        ]
        for part in reversed(parts) if case.again_first else parts:
            wrong += part()
        images.pop(operation.removes, None)
        wrong += self.proof.recovered(root, images)
        if self.count % EMPTIED_EVERY == 0 and not wrong:
            wrong += self._emptied(root, refill=case.goes_on)
        self._note(case, wrong)
        return not wrong

    def _note(self, case: Case, wrong: list[str]) -> None:
        name = case.operation.name
        self.table.done[(self.driver, f"{self.kind}{name}")] += 1
        if wrong:
            kept = self.stage.home(self.driver) / "faults" / f"{self.driver}-{name}-{self.count}"
            kept.parent.mkdir(exist_ok=True)
            try:
                case.root.rename(kept)
            except OSError:  # it lies on a disk whose power was cut, and which goes
                copy_store(case.root, kept)
            self.accuse(case.operation, case.how, wrong, str(kept))

    def again(self, operation: Operation, root: Path) -> list[str]:
        """The same once more succeeds, and comes to the same."""
        done = self.stage.run(root, self.driver, *operation.words)
        if operation.removes and done.code == 1 and "no such image: " in done.stderr:
            return []  # the killed one had done it
        if done.code != 0:
            return [f"once more: {done}"]
        outcome = _outcome(operation, root, done.stdout)
        known = self.expected[operation.name]
        return [] if outcome == known else [f"once more comes to {outcome}, not to {known}"]

    def _emptied(self, root: Path, *, refill: bool) -> list[str]:
        """All that was in the store can be removed from it."""
        done = self.stage.run(root, self.driver, "system", "prune", "-a", "-f")
        wrong = [str(done)] if done.code != 0 else []
        wrong += await_orphans(self._own)  # large trash is removed by a process of its own
        wrong += [f"after prune -a: {left}" for left in residue(root)]
        if not wrong and refill:
            self.stage.fill(root, self.driver)
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
