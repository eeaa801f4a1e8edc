"""Corrupts stores at random: a check reports it, and one repair leaves a store that is whole."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ocitool.drivers import btrfs_subvolumes
from tests.crash.corruptor import Corruption, Corruptor
from tests.crash.stage import Stage, copy_store
from tests.crash.table import Fault, Table
from tests.fixtures.programs import Finished
from tests.fixtures.trees import remove_tree

_MOST: Final = 6  # things corrupted at once
_CHECK: Final = ("system", "check", "--progress", "quiet")
#: Enough steps for an erofs stack to be merged, with what only comparing a layer's parents shows.
_STEPS: Final = """
RUN mkdir /made && cat /files/f2 > /made/f2
RUN rm /files/f4 && cat /files/f2 > /made/f2
RUN rm -r /files/d1 && mkdir /files/d1
COPY files/f1 /made/one
RUN cat /made/one >> /made/two
COPY files/f2 files/hard /made/more/
RUN rm -r /made/more && mkdir -p /made/more/deep
RUN cat /made/two > /made/more/deep/three
"""
#: Says of every file what it is and what it holds.
_ALL: Final = (
    "cd / && for d in bin files made pulled more; do [ ! -d $d ] || busybox find $d; done"
    " | busybox sort | while read f; do busybox stat -c '%n %F %a %u:%g %Y' $f;"
    " [ ! -f $f ] || busybox sha256sum $f; done"
)


@dataclass(slots=True)
class CorruptionCampaign:
    """A campaign with one driver."""

    stage: Stage
    driver: str
    table: Table
    seed: int
    _template: Path | None = None
    _shown: dict[str, str] = field(default_factory=dict)

    def run(self, cases: int, first: int = 0) -> None:
        """Corrupt a copy of a store so many times."""
        for number in range(first, first + cases):
            root = self._store()
            wrong, corruptions = self._case(root, number)
            self.table.done[(self.driver, "corruption")] += 1
            if not wrong:
                for each in root.glob("drivers/btrfs/*/*/fs"):
                    btrfs_subvolumes.destroy(str(each))  # they are read-only
                remove_tree(root)
                continue
            kept = root.with_name(f"fault-{self.driver}-{number}")
            root.rename(kept)
            how = f"--seed {self.seed} --first {number}: " + "; ".join(
                each.what for each in corruptions
            )
            fault = Fault(
                driver=self.driver, work="corruption", how=how, wrong=wrong, kept=str(kept)
            )
            self.table.add(fault)

    # -- one case ---------------------------------------------------------------------------

    def _case(self, root: Path, number: int) -> tuple[list[str], list[Corruption]]:
        dice = random.Random(f"{self.seed} {number}")
        names = (root / "oci" / "index.json").read_bytes()
        corruptions = Corruptor(root, dice)
        made = corruptions.make(dice.randint(1, _MOST))
        first = self._call(root, *_CHECK)
        wrong = [f"traceback: {first}"] if "Traceback" in first.stderr else []
        wrong += [
            f"not reported: {each}\n{first}" for each in made if each.reported not in first.stdout
        ]
        if any(each.reported for each in made) and first.code != 1:
            wrong.append(f"no problem: {first}")
        if corruptions.names:  # the one thing that a human has to put back
            (root / "oci" / "index.json").write_bytes(names)
        wrong += self._good(root, *_CHECK, "--repair", "--tls-verify", "false")
        wrong += self._good(root, *_CHECK)
        wrong += [each for name in self._images for each in self._shows(root, name)]
        wrong += self._good(
            root, "build", "-q", "-t", f"{self.stage.address}/built:1", self._context
        )
        wrong += self._shows(root, self._images[-1])
        wrong += self._good(root, *_CHECK)
        wrong += self._good(root, "system", "prune", "-f")
        return wrong, made

    def _good(self, root: Path, *words: str) -> list[str]:
        done = self._call(root, *words)
        return [] if done.code == 0 else [str(done)]

    def _shows(self, root: Path, name: str) -> Iterator[str]:
        """Verify that a container sees what it saw before the corruption."""
        done = self._call(root, "run", "--rm", "--network", "none", name, "sh", "-c", _ALL)
        if done.code != 0 or done.stdout != self._shown.setdefault(name, done.stdout):
            yield f"shows something else: {done.code}, {done.stdout[-300:]}, {done.stderr}"

    # -- stores -----------------------------------------------------------------------------

    @property
    def _images(self) -> tuple[str, ...]:
        return (self.stage.pulled, f"{self.stage.address}/built:1")

    @property
    def _context(self) -> str:
        return str(self.stage.work / "many")

    def _call(self, root: Path, *words: str) -> Finished:
        return self.stage.run(root, self.driver, *words, debug=False)

    def _store(self) -> Path:
        root = self.stage.home(self.driver) / f"corrupted-{self.driver}"
        if self.driver == "btrfs":  # a copy would have no subvolumes
            self._fill(root)
            return root
        if self._template is None:
            self._template = root.with_name(f"whole-{self.driver}")
            self._fill(self._template)
        copy_store(self._template, root)
        return root

    def _fill(self, root: Path) -> None:
        """Make a store all of whose images a registry has, unpacked, with indexes and rows."""
        context = Path(self._context)
        if not context.exists():
            context.mkdir()
            copy_store(self.stage.work / "app" / "files", context / "files")
            (context / "Dockerfile").write_text(f"FROM {self.stage.pulled}{_STEPS}")
        for words in (
            ("pull", "-q", "--tls-verify", "false", self.stage.pulled),
            ("build", "-q", "-t", self._images[-1], self._context),
            ("push", "-q", "--tls-verify", "false", self._images[-1]),
            ("images",),
        ):
            self._call(root, *words).ok()
        for name in self._images:
            assert list(self._shows(root, name)) == []
