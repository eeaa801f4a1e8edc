"""The programs that are measured: what each needs before a run, and the commands of the run.

A tool answers for one row at a time: ``prepare`` once, ``before`` ahead of every run (neither is
timed), ``commands`` are what is timed.  A tool that cannot do a row is not asked for it.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Commands = list[list[str]]
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a name, what is done, and to which context or image."""

    name: str
    work: str  # "cached", "cold", "pull" or "run"
    title: str
    context: Path | None = None
    image: str = ""
    target: str = ""  # what ours must reach


@dataclass(slots=True)
class Tool:
    """One program.  Subclasses fill in what differs."""

    work: Path  # a folder of its own, removed at the end
    base: str
    name: str = ""
    works: tuple[str, ...] = ("cached", "cold", "pull", "run")
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    shown: str = ""  # what stands before the command line when it is printed
    count: int = 0

    def missing(self) -> str:
        """Say why the tool cannot be measured here, or nothing."""
        return ""

    def version(self) -> str:
        """Return the version in short."""
        return self.said(["--version"])

    def program(self) -> list[str]:
        """Return the words that start the program."""
        return [self.name]

    def prepare(self, row: Row) -> None:
        """Do once what the row takes for granted."""

    def before(self, row: Row) -> None:
        """Do before every run what the row takes for granted."""

    def commands(self, row: Row) -> Commands:
        """Return what is timed."""
        raise LookupError(row.work)

    def close(self) -> None:
        """Give back what the runs took, except the folder."""

    def server(self) -> int:
        """Return the id of the server that does the work, or 0."""
        return 0

    def call(self, words: Sequence[str], *, check: bool = True) -> str:
        """Run something that is not timed."""
        done = subprocess.run(
            words,
            env=self.env,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def said(self, words: Sequence[str]) -> str:
        """Return the first thing like a version that the program says."""
        found = re.search(r"\d+\.\d+(\.\d+)?", self.call([*self.program(), *words], check=False))
        return found[0] if found else "?"

    def build(self, row: Row, *options: str) -> list[str]:
        """Return the words of a build, which are the same for everybody."""
        given = ["--build-arg", f"BASE={self.base}", "-t", f"ocitool-bench:{row.name}"]
        return ["build", *options, *given, str(row.context)]

    def fresh(self) -> str:
        """Return a new, empty folder.  The last one stays until the end, for `Removals`."""
        self.count += 1
        path = self.work / f"fresh-{self.count}"
        path.mkdir()
        return str(path)


class Removals:
    """When something large was last removed.

    ext4 does not use an inode again within a minute of its removal, and until then looks at each
    such inode whenever it makes a file (fs/ext4/ialloc.c, recently_deleted): whoever comes right
    after a removal of 50,000 files would take three times as long.
    """

    pause = 62.0  # seconds
    last = 0.0

    @classmethod
    def noted(cls) -> None:
        """Note that something was removed just now."""
        cls.last = time.monotonic()

    @classmethod
    def settle(cls) -> None:
        """Wait until the last removal no longer matters."""
        time.sleep(max(0.0, cls.last + cls.pause - time.monotonic()))


def empty(path: Path) -> None:
    """Remove a folder with all that is mounted in it."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        mounts = [line.split()[4] for line in lines]
    for place in reversed([mount for mount in mounts if f"{mount}/".startswith(f"{path}/")]):
        subprocess.run(["umount", "--lazy", place], check=True)
    subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=False)
