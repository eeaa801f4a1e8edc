"""Random contexts and Dockerfiles, built by ocitool and its peers, and compared.

``python -m tests.fuzz`` builds each case with ocitool, docker's BuildKit and buildah, and compares
trees and configurations.  ocitool builds it again, with new times of the context's files, which
has to be cached whole; and anew with SOURCE_DATE_EPOCH by namespaces, by chroot and with
``--user`` as that user, which has to make one digest.  A peer is not asked about what it does not
know.  A case that differs is made as small as it gets, and printed with its seed.

Needs root, a registry with busybox:base ($REGISTRY), and the peers; ``tests/interop/up`` has them.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fixtures.trees import remove_tree
from tests.fuzz.cases import random_case
from tests.fuzz.features import FEATURES, features
from tests.fuzz.fuzzing import Fuzzing


def main() -> int:
    """Try cases until the time is over, and print what was counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="how long to go on")
    parser.add_argument("--cases", type=int, default=10**9, help="how many cases at most")
    parser.add_argument("--seed", type=int, default=1, help="of the first case")
    parser.add_argument("--peers", default="docker,buildah", help="whom to compare with")
    parser.add_argument("--isolation", default="namespaces", help="of the builds compared with")
    parser.add_argument("--user", default="", help="an ordinary user who builds each case, too")
    parser.add_argument("--only", default="", help="features, with ;, of which a case has one")
    parser.add_argument("--ways", action="store_true", help="build each case in other ways, too")
    options = parser.parse_args()
    registry = os.environ.get("REGISTRY", "")
    if os.geteuid() != 0 or not registry:
        print("needs root, and $REGISTRY with busybox:base", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):  # also in the background of a shell
        signal.signal(number, signal.default_int_handler)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    work = Path(tempfile.mkdtemp(prefix="ocitool-fuzz-"))
    wanted = {name for name in options.only.split(";") if name}
    if unknown := wanted - set(FEATURES):
        print(f"unknown features {unknown}; there are: {', '.join(FEATURES)}", file=sys.stderr)
        return 2
    peers = [name for name in options.peers.split(",") if name]
    base = f"{registry}/busybox:base"
    fuzzing = Fuzzing(
        work, base, peers, isolation=options.isolation, user=options.user, ways=options.ways
    )
    begin, seed = time.monotonic(), options.seed
    try:
        while time.monotonic() < begin + options.seconds and seed < options.seed + options.cases:
            if not wanted or wanted & set(features(random_case(random.Random(seed)))):
                fuzzing.case(seed)
            seed += 1
    except KeyboardInterrupt:
        print(f"interrupted at seed {seed}")
    finally:
        fuzzing.close()
        remove_tree(work)
        print(f"seeds {options.seed} to {seed - 1}, {time.monotonic() - begin:.0f} seconds")
        for what, count in sorted(fuzzing.counts.items()):
            print(f"{count:6} {what}")
    return 1 if fuzzing.counts["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
