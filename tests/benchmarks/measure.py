"""Runs commands one after the other, and prints how long they took and what they held.

A program of its own, started as ``python -I -S``: a process inherits the peak of the one it was
forked from, so what is measured must start out of something small.  The peak is that of the
largest single process among the commands and their waited-for descendants, as wait4 tells it.
"""

import json
import os
import sys
import time


def main() -> None:
    """Read ``{"commands", "env", "cwd", "log"}`` from the argument; print the outcome as JSON."""
    order = json.loads(sys.argv[1])
    os.chdir(order["cwd"])
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    peak, code = 0, 0
    began = time.perf_counter()
    for words in order["commands"]:
        child = os.posix_spawnp(words[0], words, order["env"], file_actions=actions)
        _, status, usage = os.wait4(child, 0)
        peak = max(peak, usage.ru_maxrss)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            break
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": peak << 10, "code": code}))


main()
