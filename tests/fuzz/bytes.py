"""The campaign of foreign bytes: ``python -m tests.fuzz.bytes --seconds 600``."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from ocitool import Store
from ocitool.errors import OcitoolError
from tests.fixtures.trees import remove_tree
from tests.fuzz.foreign import TARGETS, Foreign

_SLOW = 10  # seconds


def tried(foreign: Foreign, name: str, seed: int) -> str:
    """Try one change; return what came of it: "read", "refused", or a traceback."""
    begin = time.monotonic()
    try:
        foreign.read(name, random.Random(f"{name} {seed}"))
        result = "read"
    except OcitoolError as error:
        result = "refused" if error.message else repr(error)
    except Exception:
        return traceback.format_exc()
    return result if time.monotonic() < begin + _SLOW else f"took {time.monotonic() - begin} s"


def main() -> int:
    """Try changes until the time is over, and print what was counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.bytes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long to go on")
    parser.add_argument("--cases", type=int, default=10**9, help="how many of each at most")
    parser.add_argument("--seed", type=int, default=1, help="of the first")
    parser.add_argument("--only", default="", help="names of targets, with commas")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="ocitool-fuzz-"))
    counts: Counter[str] = Counter()
    end, seed = time.monotonic() + options.seconds, options.seed
    shown: Counter[str] = Counter()
    os.chdir(work)
    with Store.open(str(work / "store"), driver="vfs") as store:
        foreign = Foreign(work, store)
        names = options.only.split(",") if options.only else list(TARGETS)
        while time.monotonic() < end and seed < options.seed + options.cases:
            for name in names:
                result = tried(foreign, name, seed)
                known = result in ("read", "refused")
                counts[f"{name}: {result if known else 'fault'}"] += 1
                last = result.strip().splitlines()[-1]
                if not known and shown[f"{name} {last[:60]}"] < 2:
                    shown[f"{name} {last[:60]}"] += 1
                    print(f"--- {name}, seed {seed}\n{result}", flush=True)
            seed += 1
    remove_tree(work)
    for what, count in sorted(counts.items()):
        print(f"{count:8} {what}")
    return 1 if any(what.endswith("fault") for what in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
