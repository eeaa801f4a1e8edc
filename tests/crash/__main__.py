"""Kills commands, cuts the power, and lets many processes work at once; prints what broke.

``python -m tests.crash`` kills commands on stores of every driver: at each change they make on the
disk, and at random moments.  After each kill the store must open, be clean, hold all that was
finished, and do the same command well.  Needs root and a static busybox.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.crash import calls
from tests.crash.descendants import adopt
from tests.crash.kills import Kills
from tests.crash.operation import operations
from tests.crash.stage import Stage
from tests.crash.table import Table

_SYSTEMATIC = 0.7  # the part of all kills


def main() -> int:
    """Run what was asked for, print a table, and return the exit status."""
    options = arguments()
    if os.geteuid() != 0 or not calls.supported():
        print("needs root, on x86_64 or aarch64", file=sys.stderr)
        return 2
    adopt()
    work = Path(tempfile.mkdtemp(prefix="ocitool-crash-", dir=options.work)).resolve()
    stage = Stage(work)
    table = Table()
    try:
        stage.set_up()
        kill(options, stage, table)
    finally:
        table.show("kills")
        stage.strike(keep=options.keep or bool(table.faults))
    return 1 if table.faults else 0


def kill(options: argparse.Namespace, stage: Stage, table: Table) -> None:
    """Share the kills out among drivers and operations."""
    chosen = [each for each in operations(stage) if each.name in (options.operations or each.name)]
    share = options.kills / len(options.drivers)
    for driver in options.drivers:
        kills = Kills(stage, driver, table, options.seed)
        for operation in chosen:
            if options.at:
                kills.single(operation, options.at)
            else:
                kills.systematic(operation, int(share * _SYSTEMATIC / len(chosen)))
        if not options.at:
            kills.randomly(chosen, int(share * (1 - _SYSTEMATIC)))


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)

    def words(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--kills", type=int, default=1000, help="over all drivers")
    parser.add_argument("--drivers", type=words, default=["erofs", "overlay", "vfs"])
    parser.add_argument("--operations", type=words, help="only these, such as pull,build")
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    parser.add_argument("--at", type=int, default=0, help="one kill, at this change")
    parser.add_argument("--work", metavar="DIR", help="where the stores lie (default: TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="leave the stores there")
    parser.add_argument("--quick", action="store_true", help="few kills: does it all work?")
    options = parser.parse_args()
    if options.quick:
        options.kills = 60
    print(f"seed {options.seed}", flush=True)
    return options


if __name__ == "__main__":
    sys.exit(main())
