"""Random contexts and Dockerfiles, built by ocitool and its peers, and compared.

``python -m tests.fuzz`` builds each case with ocitool, docker's BuildKit and buildah, and compares
trees and configurations.  ocitool builds it again, with new times of the context's files, which
has to be cached whole; and anew with SOURCE_DATE_EPOCH by namespaces and by chroot, which has to
make one digest.  A case that differs is made as small as it gets, and printed with its seed.

Needs root, a registry with busybox:base ($REGISTRY), and the peers; ``tests/interop/up`` has them.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.fixtures.trees import remove_tree
from tests.fuzz.builders import Buildah, Built, Docker, Ocitool, differences
from tests.fuzz.contexts import RandomContext, random_context
from tests.fuzz.dockerfiles import RandomDockerfile, text_of
from tests.fuzz.known import known

#: How many of the cases get no error, as far as possible; the others compare errors.
_REPAIRED = 0.75
_PEERS = {"docker": Docker, "buildah": Buildah}


class Fuzzing:
    """One campaign: its builders, and what was counted."""

    def __init__(self, work: Path, base: str, peers: list[str]) -> None:
        self.context = work / "context"
        self.dockerfile = work / "Dockerfile"
        self.ours = Ocitool(work / "store", base)
        self.peers = [_PEERS[name](work, base) for name in peers]
        again = ("--no-cache", "--source-date-epoch=1000000000")
        self.anew = (
            Ocitool(work / "anew", base, *again),
            Ocitool(work / "chroot", base, *again, "--isolation=chroot", driver="vfs"),
        )
        self.counts: Counter[str] = Counter()

    def close(self) -> None:
        """Remove what the builders keep."""
        for builder in (self.ours, *self.peers, *self.anew):
            builder.close()

    def case(self, seed: int) -> bool:
        """Try one case; print it and return false if something is wrong with it."""
        dice = random.Random(seed)
        context = random_context(dice)
        lines = RandomDockerfile(dice, context).lines
        self.counts["cases"] += 1
        if dice.random() < _REPAIRED:
            lines = self._without_errors(context, lines)
        faults = list(self._faults(context, lines, all_of_it=True))
        if not faults:
            return True
        self.counts["faults"] += 1
        context, lines = self._smallest(context, lines)
        print(f"--- seed {seed}")
        for entry in context.entries:
            print(f"  {entry}")
        if context.ignore:
            print("  .dockerignore: " + repr(context.ignore))
        print(text_of(lines))
        print("\n".join(self._faults(context, lines, all_of_it=True) or faults), flush=True)
        return False

    def _without_errors(self, context: RandomContext, lines: list[str]) -> list[str]:
        """Leave out each instruction that ocitool refuses."""
        while at := _failed(self._ours(context, lines).error, lines):
            lines = [*lines[:at], *lines[at + 1 :]]
        return lines

    def _ours(self, context: RandomContext, lines: list[str]) -> Built:
        """Lay out the case, and build it."""
        shutil.rmtree(self.context, ignore_errors=True)
        self.context.mkdir()
        context.lay_out(self.context)
        self.dockerfile.write_text(text_of(lines))
        return self.ours.build(self.dockerfile, self.context)

    def _faults(
        self, context: RandomContext, lines: list[str], *, all_of_it: bool = False
    ) -> Iterator[str]:
        top, dockerfile = self.context, self.dockerfile
        ours = self._ours(context, lines)
        if "Traceback" in ours.error:
            yield ours.error
        for peer in self.peers:
            theirs = peer.build(dockerfile, top)
            self.counts[f"{peer.name}: {_kind(ours, theirs)}"] += all_of_it
            for line in differences(ours, theirs):
                if reason := known(peer.name, line, context.ignore):
                    self.counts[f"{peer.name}: {reason}"] += all_of_it
                else:
                    yield f"{peer.name}: {line}"
        if all_of_it and not ours.error:
            yield from self._again(ours, dockerfile, top)

    def _again(self, ours: Built, dockerfile: Path, top: Path) -> Iterator[str]:
        for path in (top, *top.rglob("*")):
            os.utime(path, (10**9, 10**9), follow_symlinks=False)
        if self.ours.build(dockerfile, top).layers != ours.layers:
            yield "again: with other times of files there are other layers"
        by_root, by_chroot = (builder.build(dockerfile, top) for builder in self.anew)
        if by_root != by_chroot:
            yield "chroot: " + "; ".join(differences(by_root, by_chroot)) + " or other layers"

    def _smallest(
        self, context: RandomContext, lines: list[str]
    ) -> tuple[RandomContext, list[str]]:
        """Leave out instructions, and the ignore file, as long as a fault stays."""
        at = len(lines) - 1
        while at > 0:
            fewer = [*lines[:at], *lines[at + 1 :]]
            if not lines[at].startswith("FROM") and any(self._faults(context, fewer)):
                lines = fewer
            at -= 1
        plain = RandomContext(entries=context.entries)
        return (plain if context.ignore and any(self._faults(plain, lines)) else context), lines


def _failed(error: str, lines: list[str]) -> int:
    """Return which instruction an error names, counted from 0; 0 for none that can be left out."""
    found = re.search(r"Dockerfile:(\d+): ", error)
    rest = int(found[1]) - 2 if found else 0  # behind the first ARG
    for at, line in enumerate(lines):
        if rest <= line.count("\n"):
            return 0 if line.startswith("FROM") else at
        rest -= line.count("\n") + 1
    return 0


def _kind(ours: Built, theirs: Built) -> str:
    if ours.error and theirs.error:
        return "both refuse"
    return "one refuses" if ours.error or theirs.error else "both build"


def main() -> int:
    """Try cases until the time is over, and print what was counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="how long to go on")
    parser.add_argument("--cases", type=int, default=10**9, help="how many cases at most")
    parser.add_argument("--seed", type=int, default=1, help="of the first case")
    parser.add_argument("--peers", default="docker,buildah", help="whom to compare with")
    options = parser.parse_args()
    registry = os.environ.get("REGISTRY", "")
    if os.geteuid() != 0 or not registry:
        print("needs root, and $REGISTRY with busybox:base", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background of a shell
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = Path(tempfile.mkdtemp(prefix="ocitool-fuzz-"))
    peers = [name for name in options.peers.split(",") if name]
    fuzzing = Fuzzing(work, f"{registry}/busybox:base", peers)
    until = time.monotonic() + options.seconds
    seed = options.seed
    try:
        while time.monotonic() < until and seed < options.seed + options.cases:
            fuzzing.case(seed)
            seed += 1
    except KeyboardInterrupt:
        print(f"interrupted at seed {seed}")
    finally:
        fuzzing.close()
        remove_tree(work)
        for what, count in sorted(fuzzing.counts.items()):
            print(f"{count:6} {what}")
    return 1 if fuzzing.counts["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
