"""Kills commands, cuts the power, corrupts stores, lets many work at once; prints what broke.

``python -m tests.crash`` kills commands on stores of every driver: at each change they make on the
disk, and at random times; and it cuts the power.  After each crash the store must open, be clean,
hold all that was finished, and do the same command well.  ``python -m tests.crash corruption``
corrupts files and rows of stores: a check reports each, and one repair leaves a whole store.
``python -m tests.crash soak`` lets many processes work in one store at once.

Needs root, a static busybox, mkfs.xfs, and mkfs.btrfs for the driver of that name.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.crash import calls
from tests.crash.corruption import CorruptionCampaign
from tests.crash.descendants import adopt
from tests.crash.disk import Disk
from tests.crash.judge import Judge, Outcomes
from tests.crash.kills import Kills
from tests.crash.operation import Operation, operations
from tests.crash.power import Cuts
from tests.crash.soak import Soak
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
    for number in (signal.SIGINT, signal.SIGTERM):  # all is taken down, whoever ends this
        signal.signal(number, signal.default_int_handler)
    work = Path(tempfile.mkdtemp(prefix="ocitool-crash-", dir=options.work)).resolve()
    stage = Stage(work)
    table = Table()
    try:
        stage.set_up()
        if options.campaign == "soak":
            soak(options, stage, table)
        elif options.campaign == "corruption":
            for driver in options.drivers:
                cases = options.cases // len(options.drivers)
                CorruptionCampaign(stage, driver, table, options.seed).run(cases, options.first)
        else:
            kills(options, stage, table)
            if not options.at:
                cuts(options, stage, table)
    finally:
        table.show()
        stage.strike(keep=options.keep or bool(table.faults))
    return 1 if table.faults else 0


def kills(options: argparse.Namespace, stage: Stage, table: Table) -> None:
    """Share the kills out among drivers and operations."""
    expected: Outcomes = {}
    share = options.kills / len(options.drivers)
    for driver in options.drivers if options.kills else ():
        campaign = Kills(Judge(stage, driver, table, expected), options.seed)
        chosen = [e for e in selected(options, stage) if campaign.copied or not e.fresh]
        for operation in chosen:
            if options.at:
                campaign.single(operation, options.at)
            else:
                most = max(1, int(share * _SYSTEMATIC / len(chosen)))
                campaign.systematic(operation, most)
        if not options.at:
            lasting = [each for each in chosen if not each.fresh]
            campaign.randomly(lasting, int(share * (1 - _SYSTEMATIC)))


def cuts(options: argparse.Namespace, stage: Stage, table: Table) -> None:
    """Share the power cuts out among drivers."""
    expected: Outcomes = {}
    count = options.cuts // len(options.drivers)
    for driver in options.drivers if count else ():
        disk = Disk(stage.work / f"disk-{driver}", "btrfs" if driver == "btrfs" else "ext4")
        if lost := disk.missing():
            raise SystemExit(lost)
        disk.set_up()
        judge = Judge(stage, driver, table, expected, "cut: ")
        lasting = [each for each in selected(options, stage) if not each.fresh]
        Cuts(judge, disk, options.seed).run(lasting, count)


def selected(options: argparse.Namespace, stage: Stage) -> list[Operation]:
    """Return the operations that were asked for."""
    return [each for each in operations(stage) if each.name in (options.operations or each.name)]


def soak(options: argparse.Namespace, stage: Stage, table: Table) -> None:
    """Let the first driver work for all the time, and each other for a tenth."""
    minutes = options.minutes
    for driver in options.drivers:
        Soak(stage, driver, table, options.seed).run(minutes, options.processes)
        minutes = options.minutes / 10


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)

    def words(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument(
        "campaign", nargs="?", choices=("crash", "corruption", "soak"), default="crash"
    )
    parser.add_argument("--kills", type=int, default=1000, help="over all drivers")
    parser.add_argument("--cuts", type=int, default=120, help="power cuts, over all drivers")
    parser.add_argument("--cases", type=int, default=200, help="of corruption, over all drivers")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first case of corruption"
    )
    parser.add_argument("--quick", action="store_true", help="few of both: does it all work?")
    parser.add_argument("--drivers", type=words, default=["erofs", "overlay", "vfs", "btrfs"])
    parser.add_argument("--operations", type=words, help="only these, such as pull,build")
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    parser.add_argument("--at", type=int, default=0, help="one kill, at this change")
    parser.add_argument("--minutes", type=float, default=10, help="of the soak's first driver")
    parser.add_argument("--processes", type=int, default=8, help="of the soak")
    parser.add_argument("--work", metavar="DIR", help="where the stores lie (default: TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="leave the stores there")
    options = parser.parse_args()
    if options.quick:
        options.kills, options.cuts = 40, 8
    print(f"seed {options.seed}", flush=True)
    return options


if __name__ == "__main__":
    sys.exit(main())
