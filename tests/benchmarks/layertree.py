"""The tree of the layer that is unpacked: 20,000 files in 8,600 directories, 145 MB.

The same on every machine: names, sizes and bytes come from a seeded generator.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

FILES = 20_000
FOLDERS = 8_600
MEAN = 6_500  # bytes of a file
LARGEST = 64 << 10  # bytes
MTIME = 1_700_000_000
DONE = ".done"


def make_tree(top: Path) -> None:
    """Make the tree below *top*, unless it is there."""
    if top.with_suffix(DONE).exists():
        return
    noise = random.Random(20_000)
    pool = b" ".join(b"%x" % noise.getrandbits(40) for _ in range(400_000))
    folders = [top]
    top.mkdir(parents=True)
    while len(folders) <= FOLDERS:
        near = noise.random() < 0.7
        above = noise.choice(folders[-400:] if near else folders)
        if len(above.relative_to(top).parts) < 9:
            folders.append(above / f"d{len(folders)}")
            folders[-1].mkdir()
    for number in range(FILES):
        size = min(LARGEST, int(noise.expovariate(1 / MEAN)))
        start = noise.randrange(len(pool) - LARGEST)
        path = noise.choice(folders) / f"file-{number}.txt"
        path.write_bytes(pool[start : start + size])
        os.utime(path, (MTIME, MTIME))
    for folder in folders:
        os.utime(folder, (MTIME, MTIME))
    top.with_suffix(DONE).touch()
