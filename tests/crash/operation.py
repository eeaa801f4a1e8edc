"""What is done to a store and killed on the way, and what it must come to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.crash.invariants import digests
from tests.crash.stage import SPARE, Stage

Commands = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One command, and what makes a store ready for it, whatever was done there before."""

    name: str
    words: tuple[str, ...]
    before: Commands = ()  # may fail: what they remove need not be there
    makes: str = ""  # the name of the image that is there afterwards
    removes: str = ""  # the name that is there before, and not afterwards
    repairs: str = ""  # the name of an image with a corrupted layer, which this makes whole
    writes: str = ""  # a file outside of the store
    fresh: bool = False  # begins without a store
    timed: bool = False  # the image says when it was made, and is another each time
    says: bool = False  # the same each time, on its output

    def prepare(self, stage: Stage, root: Path, driver: str) -> None:
        """Make the store ready."""
        if self.writes:
            Path(self.writes).unlink(missing_ok=True)
        for words in self.before:
            stage.run(root, driver, *words)
        if self.repairs:
            _corrupt(root, digests(root)[self.repairs])


def _corrupt(root: Path, manifest: str) -> None:
    blobs = root / "oci" / "blobs" / "sha256"
    document = json.loads((blobs / manifest.removeprefix("sha256:")).read_bytes())
    with open(blobs / document["layers"][-1]["digest"].removeprefix("sha256:"), "r+b") as file:
        file.write(b"corrupted")


def operations(stage: Stage) -> list[Operation]:
    """Return all of them."""
    work = stage.work
    no_cache = ("system", "prune", "-f")
    waste = ("build", "-q", "--no-cache", "-t", "waste:1", f"{work}/waste")
    script = "rm /files/f1; echo said > /new; cat /new /files/f2"
    return [
        Operation(
            name="pull",
            words=("pull", "-q", stage.pulled),
            before=(("rmi", stage.pulled),),
            makes=stage.pulled,
        ),
        Operation(
            name="load",
            words=("load", "-q", "-i", f"{work}/loaded.tar"),
            before=(("rmi", "loaded:1"),),
            makes="loaded:1",
        ),
        Operation(
            name="first load",
            words=("load", "-q", "-i", f"{work}/loaded.tar"),
            makes="loaded:1",
            fresh=True,
        ),
        Operation(
            name="build",
            words=("build", "-q", "-t", "built:1", f"{work}/app"),
            before=(("rmi", "built:1"), no_cache),
            makes="built:1",
        ),
        Operation(
            name="run",
            words=("run", "--rm", "--network", "none", "kept:1", "sh", "-c", script),
            says=True,
        ),
        Operation(
            name="prune",
            words=("system", "prune", "-f"),
            # An image that lost its name, its layer in use by nobody, and the cache's records.
            before=(waste, ("run", "--rm", "waste:1", "none"), ("tag", SPARE, "waste:1"),
                    ("rmi", "waste:1")),
        ),
        Operation(
            name="rmi",
            words=("rmi", SPARE),
            before=(("load", "-q", "-i", f"{work}/spare.tar"), ("run", "--rm", SPARE, "none")),
            removes=SPARE,
        ),
        Operation(
            name="tag",
            words=("tag", "kept:1", "tagged:1"),
            before=(("rmi", "tagged:1"),),
            makes="tagged:1",
        ),
        Operation(
            name="repair",
            words=("system", "check", "--repair"),
            before=(("rmi", stage.pulled), ("pull", "-q", stage.pulled)),
            repairs=stage.pulled,
        ),
        Operation(
            name="save",
            words=("save", "-o", f"{work}/saved.tar", "kept:1"),
            writes=f"{work}/saved.tar",
        ),
        Operation(
            name="import",
            words=("import", f"{work}/tree.tar", "imported:1"),
            before=(("rmi", "imported:1"),),
            makes="imported:1",
            timed=True,
        ),
    ]  # fmt: skip
