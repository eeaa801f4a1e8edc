"""Two build contexts of known shapes, the same bytes on every machine.

Shape ``a`` is like a Python installation, shape ``b`` like ``/usr/share``: the spread of sizes
and folders was taken from real ones.  Every byte comes from a seeded generator whose numbers
are the same in all versions of Python; sizes come from tables, not from a library's logarithm.
"""

from __future__ import annotations

import os
import random
import shutil
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

FORMAT = "3"  # of the generated trees; another number makes them anew
MTIME = 1_700_000_000
POOL = 12 << 20  # bytes that the contents of files are cut from


@dataclass(frozen=True, slots=True)
class Shape:
    """How a tree looks.

    ``sizes`` are points of the distribution of file sizes: the share of files that are at most
    so many bytes long, straight lines between.  All is scaled so that ``total`` comes out.
    """

    name: str
    files: int
    total: int  # bytes
    folders: int
    crowded: float  # share of the files that lie in the ten fullest folders
    sizes: tuple[tuple[float, int], ...]
    suffixes: tuple[str, ...]
    dockerfile: str


A = Shape(
    name="a",
    files=9_200,
    total=308_000_000,
    folders=900,
    crowded=0.12,
    sizes=(
        (0.0, 0),
        (0.1, 600),
        (0.25, 2_100),
        (0.5, 7_800),
        (0.75, 21_000),
        (0.9, 50_000),
        (0.95, 92_000),
        (0.99, 420_000),
        (0.999, 3_600_000),
        (1.0, 14_000_000),
    ),
    suffixes=(".py", ".py", ".pyc", ".pyi", ".txt", ".so", ".h", ".json"),
    dockerfile="ARG BASE\nFROM ${BASE}\nCOPY tree/ /opt/python/\n",
)
B = Shape(
    name="b",
    files=54_500,
    total=582_000_000,
    folders=3_700,
    crowded=0.4,
    sizes=(
        (0.0, 0),
        (0.1, 370),
        (0.25, 690),
        (0.5, 1_300),
        (0.75, 2_800),
        (0.9, 11_700),
        (0.95, 30_000),
        (0.99, 160_000),
        (0.999, 790_000),
        (1.0, 6_000_000),
    ),
    suffixes=(".svg", ".png", ".gz", ".md", ".list", ".conf", ".mo", ".html", ".xml", ""),
    dockerfile=(
        "ARG BASE\nFROM ${BASE}\nCOPY tree/ /usr/share/tree/\n"
        "RUN mkdir /made && echo one > /made/one\n"
        "RUN cat /made/one /made/one > /made/two\n"
        "RUN rm /made/one && ls /usr/share/tree > /made/listing\n"
    ),
)
SHAPES = (A, B)


def context(shape: Shape, home: Path, *, scale: float = 1.0) -> Path:
    """Return the build context of *shape* beneath *home*, made if it is not there."""
    files = max(20, int(shape.files * scale))
    total = int(shape.total * scale)
    path = home / f"{shape.name}-{files}"
    stamp = path / ".dockerignore"  # holds the format, and keeps itself out of the image
    wanted = f"# {FORMAT}\n.dockerignore\nDockerfile\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return path
    shutil.rmtree(path, ignore_errors=True)
    (path / "tree").mkdir(parents=True)
    _fill(path / "tree", shape, files, total)
    (path / "Dockerfile").write_text(shape.dockerfile)
    stamp.write_text(wanted)
    return path


def read_through(path: Path) -> int:
    """Read every file once, so that the page cache is the same for whoever comes next."""
    count = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(folder, name), "rb", buffering=0) as stream:
                while chunk := stream.read(1 << 20):
                    count += len(chunk)
    return count


def _fill(top: Path, shape: Shape, files: int, total: int) -> None:
    generator = random.Random(f"ocitool {shape.name}")
    pool = _pool(generator)
    folders = _folders(generator, max(4, shape.folders * files // shape.files))
    for folder in folders:
        os.makedirs(top / folder, exist_ok=True)
    full = folders[:: max(1, len(folders) // 10)][:10]
    sizes = _sizes(generator, shape, files, total)
    for number, size in enumerate(sizes):
        crowd = full if generator.random() < shape.crowded else folders
        folder = crowd[int(generator.random() * len(crowd))]
        suffix = shape.suffixes[int(generator.random() * len(shape.suffixes))]
        path = os.path.join(top, folder, f"{_word(generator)}{number:x}{suffix}")
        start = int(generator.random() * POOL)
        with open(path, "wb", buffering=0) as stream:
            head = b"%x\n" % generator.getrandbits(64)  # no two files are alike
            stream.write(head[:size])
            left = size - len(head)
            while left > 0:
                piece = pool[start : start + left]
                stream.write(piece)
                left -= len(piece)
                start = 0
        if suffix == ".so":
            os.chmod(path, 0o755)
        os.utime(path, (MTIME, MTIME))


def _sizes(generator: random.Random, shape: Shape, files: int, total: int) -> list[int]:
    """Draw sizes; their sum is *total* to the byte."""
    shares = [share for share, _ in shape.sizes]
    drawn = []
    for _ in range(files):
        at = generator.random()
        place = min(bisect(shares, at), len(shares) - 1)
        (low, small), (high, large) = shape.sizes[place - 1], shape.sizes[place]
        drawn.append(small + (large - small) * (at - low) / (high - low))
    factor = total / sum(drawn)
    sizes = [int(size * factor) for size in drawn]
    sizes[sizes.index(max(sizes))] += total - sum(sizes)
    return sizes


def _folders(generator: random.Random, count: int) -> list[str]:
    """Name *count* folders, each beneath one named before: few deep, most near the top."""
    named = [_word(generator)]
    while len(named) < count:
        parent = (
            "" if generator.random() < 0.12 else named[int(generator.random() ** 2 * len(named))]
        )
        if parent.count("/") < 7:
            named.append(os.path.join(parent, f"{_word(generator)}{len(named):x}"))
    return named


def _word(generator: random.Random) -> str:
    letters = "etaoinshrdlucmfwypvbgk"
    length = 3 + int(generator.random() * 7)
    return "".join(letters[int(generator.random() ** 1.5 * len(letters))] for _ in range(length))


def _pool(generator: random.Random) -> bytes:
    """Return bytes that compress to about a third: words by frequency, some of it noise."""
    words = [f"{_word(generator)} ".encode() for _ in range(6_000)]
    for rank in range(0, len(words), 3):  # every third is a phrase that comes again as it is
        words[rank] += b"".join(generator.choices(words, k=3))
    weights = list(accumulate(1_000_000 // (rank + 8) for rank in range(len(words))))
    made = bytearray()
    while len(made) < POOL:
        made += b"".join(generator.choices(words, cum_weights=weights, k=400))
        made += generator.randbytes(60)
    return bytes(made[:POOL])
