"""The programs measured on the store: our drivers, and what does the same work elsewhere.

All unpack the same layer: 20,000 files in 8,600 directories, 145 MB, gzip.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.layertree import make_tree
from tests.benchmarks.tool import LIMITS, Commands, Removals, Row, Tool
from tests.benchmarks.tools import Docker, Podman
from tests.benchmarks.works import MANY, NAME

WORKS = Path(__file__).with_name("works.py")
CROWD = 10_000  # images

ROWS = (
    ("unpack", "gzip layer of 28,600 entries to usable and durable", "<= 0.75 tar, <= 0.27 podman"),
    ("remove", "removing it, as the user sees it", "under 0.05 s"),
    ("commit", "committing a RUN on 28,600 entries", "under 0.03 s"),
    ("pack", "the tar of 28,600 entries with its SHA-256", "<= tar"),
    ("walk", "20 layers: a walk, and 20,000 look-ups in vain", "<= overlay / 4"),
    ("names", "images NAME among 10,000", "under 0.15 s, flat"),
    ("tag", "tag among 10,000 images", "under 0.15 s, flat"),
    ("together", "16 containers at once", "<= podman / 4"),
)


@dataclass(slots=True)
class Layered(Tool):
    """A tool that unpacks the layer; ``cache`` is where it is made once for all."""

    cache: Path = Path()

    @property
    def archive(self) -> Path:
        """The image as an archive that docker and podman load."""
        return self.cache / "layer.archive"

    @property
    def layout(self) -> Path:
        """The same as an OCI layout."""
        return self.cache / "layer.store" / "oci"

    @property
    def tree(self) -> Path:
        """What is in it."""
        return self.cache / "layer.tree"

    def made(self) -> None:
        """Make the layer, unless it is there."""
        make_tree(self.tree)
        if not (self.cache / "layer.archive.many").exists():
            self.call(works("make", self.layout.parent, self.tree, self.archive))


def works(work: str, *words: object) -> list[str]:
    """Return the words that do a piece of work of the library."""
    return [sys.executable, str(WORKS), work, *map(str, words)]


class OurDriver(Layered):
    """A store of ours with one driver."""

    root: str = ""

    @property
    def driver(self) -> str:
        """Our default is measured under our name."""
        return self.name.removeprefix("ocitool-") if "-" in self.name else "erofs"

    def said(self, words: object) -> str:
        return f"driver {self.driver}"

    def prepare(self, row: Row) -> None:
        self.made()
        self.root = self.fresh()
        if row.work == "commit":
            self.call(works("put", self.root, self.archive))
            self.call(works("unpack", self.root, self.driver))
        elif row.work == "walk":
            self.call(works("put", self.root, f"{self.archive}.many"))
            self.call(works("walk", self.root, self.driver, MANY))
        elif row.work in ("names", "tag"):
            self.call(works("crowd", self.root, CROWD))
            self.call(self.commands(row)[0])
        elif row.work == "together":
            words = [sys.executable, "-m", "ocitool", "--root", self.root]
            self.call([*words, "pull", self.base])

    def before(self, row: Row) -> None:
        if row.work in ("unpack", "remove"):
            self.root = self.fresh()
            self.call(works("put", self.root, self.archive))
        if row.work == "remove":
            self.call(works("unpack", self.root, self.driver))

    def commands(self, row: Row) -> Commands:
        command = [sys.executable, "-m", "ocitool", "--root", self.root]
        if row.work == "names":
            return [[*command, "images", "crowd-7777"]]
        if row.work == "tag":
            return [[*command, "tag", "crowd-7777:1", f"crowd-7777:tag{self.count}"]]
        if row.work == "together":
            return [works("together", self.root, self.base)]
        if row.work == "pack":
            return [works("pack", self.tree)]
        return [works(row.work, self.root, self.driver, *([MANY] if row.work == "walk" else []))]


class GnuTar(Layered):
    """GNU tar: it hashes nothing when it unpacks, and syncs nothing."""

    def prepare(self, row: Row) -> None:
        self.made()

    def program(self) -> list[str]:
        return ["tar"]

    def commands(self, row: Row) -> Commands:
        if row.work == "pack":
            script = f"tar --sort=name -cf - -C {self.tree} . | sha256sum"
            return [["sh", "-c", script]]
        (blob,) = (path for path in blobs(self.layout) if path.stat().st_size > 20_000_000)
        return [["tar", "-xzf", str(blob), "-C", self.fresh()]]


class TarFile(Layered):
    """Python's own."""

    def prepare(self, row: Row) -> None:
        self.made()

    def version(self) -> str:
        return sys.version.split()[0]

    def program(self) -> list[str]:
        return [sys.executable]

    def commands(self, row: Row) -> Commands:
        return [works("pack_tarfile", self.tree)]


class Skopeo(Layered):
    """skopeo into storage like podman's."""

    def missing(self) -> str:
        return "" if shutil.which("skopeo") else "not installed"

    def prepare(self, row: Row) -> None:
        self.made()

    def commands(self, row: Row) -> Commands:
        place = self.fresh()
        storage = f"containers-storage:[overlay@{place}/root+{place}/run]bench/layer:1"
        return [["skopeo", "copy", "-q", f"docker-archive:{self.archive}", storage]]


class Umoci(Layered):
    """umoci, which unpacks an image from a layout."""

    def missing(self) -> str:
        return "" if shutil.which("umoci") else "not installed"

    def prepare(self, row: Row) -> None:
        self.made()
        if not (self.cache / "layer.umoci").exists():
            target = f"oci:{self.cache / 'layer.umoci'}:one"
            self.call(["skopeo", "copy", "-q", f"docker-archive:{self.archive}", target])

    def commands(self, row: Row) -> Commands:
        image = f"{self.cache / 'layer.umoci'}:one"
        return [["umoci", "raw", "unpack", "--image", image, f"{self.fresh()}/rootfs"]]


class PodmanStore(Layered):
    """podman's store, on overlay."""

    place: str = ""
    missing = Podman.missing

    def program(self) -> list[str]:
        roots = ["--root", f"{self.place}/root", "--runroot", f"{self.place}/run"]
        return ["podman", *roots, "--storage-driver", "overlay"] if self.place else ["podman"]

    def prepare(self, row: Row) -> None:
        self.made()
        self.place = self.fresh()
        if row.work in ("names", "tag"):
            self.call([*self.program(), "load", "-i", str(self.archive)])
            for first in range(0, CROWD, 1000):
                names = [f"crowd-{number}:1" for number in range(first, first + 1000)]
                self.call([*self.program(), "tag", NAME, *names])
        if row.work == "together":
            self.call([*self.program(), "pull", "-q", "--tls-verify=false", self.base])

    def before(self, row: Row) -> None:
        if row.work in ("unpack", "remove"):
            self.place = self.fresh()
        if row.work == "remove":
            self.call([*self.program(), "load", "-i", str(self.archive)])
            Removals.noted()

    def commands(self, row: Row) -> Commands:
        if row.work == "unpack":
            return [[*self.program(), "load", "-i", str(self.archive)]]
        if row.work == "remove":
            return [[*self.program(), "rmi", NAME]]
        if row.work == "names":
            return [[*self.program(), "images", "crowd-7777"]]
        if row.work == "tag":
            return [[*self.program(), "tag", "crowd-7777:1", f"crowd-7777:tag{self.count}"]]
        run = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm"]
        one = " ".join([*self.program(), *run, "--network", "none", *LIMITS, self.base, "true"])
        return [["sh", "-c", f"for n in $(seq 16); do {one} & done; wait"]]


class OurCommand(OurDriver):
    """Our command line where `OurDriver` measures the library."""

    def commands(self, row: Row) -> Commands:
        command = f"{sys.executable} -m ocitool --root {self.root}"
        if row.work == "remove":
            return [[*command.split(), "rmi", NAME]]
        one = f"{command} run --rm --network none {self.base} true"
        return [["sh", "-c", f"for n in $(seq 16); do {one} & done; wait"]]


class DockerStore(Docker):
    """A docker engine's store."""

    cache: Path = Path()

    def prepare(self, row: Row) -> None:
        return None

    def before(self, row: Row) -> None:
        self.call([*self.program(), "image", "rm", "-f", NAME], check=False)
        if row.work == "remove":
            self.call([*self.program(), "load", "-i", str(self.cache / "layer.archive")])
        Removals.noted()

    def commands(self, row: Row) -> Commands:
        if row.work == "remove":
            return [[*self.program(), "image", "rm", NAME]]
        return [[*self.program(), "load", "-i", str(self.cache / "layer.archive")]]


def blobs(layout: Path) -> list[Path]:
    """Return the blobs of an OCI layout that are compressed."""
    found = []
    for path in (layout / "blobs" / "sha256").iterdir():
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                found.append(path)
    return found


def store_tools(work: Path, base: str, cache: Path) -> list[Tool]:
    """Return every tool that is measured on the store."""
    kinds: list[tuple[type[Layered | DockerStore], str, str]] = [
        (OurDriver, "ocitool", "unpack remove commit pack walk names tag together"),
        (OurDriver, "ocitool-overlay", "unpack remove commit walk"),
        (OurCommand, "ocitool (command)", "remove together"),
        (GnuTar, "tar", "unpack pack"),
        (TarFile, "tarfile", "pack"),
        (Skopeo, "skopeo", "unpack"),
        (Umoci, "umoci", "unpack"),
        (PodmanStore, "podman", "unpack remove names tag together"),
        (DockerStore, "docker", "unpack remove"),
    ]
    made: list[Tool] = []
    for kind, name, able in kinds:
        place = work / f"s{len(made)}"  # short: podman takes no longer path than 50 characters
        place.mkdir()
        tool = kind(work=place, base=base, name=name, works=tuple(able.split()))
        tool.cache = cache
        made.append(tool)
    return made
