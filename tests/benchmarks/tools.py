"""Every program that is measured: ours, and the peers."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import sys
from pathlib import Path

from tests.benchmarks.tool import LIMITS, Commands, Removals, Row, Tool


class Ours(Tool):
    """ocitool of this checkout."""

    root: str = ""

    def missing(self) -> str:
        done = self.call([*self.program(), "--version"], check=False)
        return "" if re.search(r"\d+\.\d+", done) else done.strip().splitlines()[-1]

    def program(self) -> list[str]:
        script = Path(sys.executable).with_name("ocitool")
        found = [str(script)] if script.exists() else [sys.executable, "-m", "ocitool"]
        return [*found, "--root", self.root] if self.root else found

    def version(self) -> str:
        checkout = Path(__file__).resolve().parents[2]
        words = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
        return f"{self.said(['--version'])} {self.call(words, check=False).strip()}"

    def prepare(self, row: Row) -> None:
        self.root = str(self.work / "store")
        if row.work in ("cached", "run"):
            self.call([*self.program(), "pull", self.base])
        if row.work == "cached":
            self.call([*self.program(), *self.build(row, "-q")])
        if row.work == "run":
            self.call(self.commands(row)[0])

    def before(self, row: Row) -> None:
        if row.work in ("cold", "pull"):
            self.root = self.fresh()
        if row.work == "cold":
            self.call([*self.program(), "pull", self.base])
            # The base is there for good: unpacked, as a peer has it after its pull.
            self.call([*self.program(), "run", "--rm", "--network", "none", self.base, "true"])

    def commands(self, row: Row) -> Commands:
        run = [*self.program(), "run", "--rm", "--network", "none"]
        if row.work == "run":
            return [[*run, self.base, "true"]]
        if row.work == "pull":  # a pull may leave the unpacking to the first run: count both
            return [[*self.program(), "pull", row.image], [*run, row.image, "true"]]
        return [[*self.program(), *self.build(row)]]


class Docker(Tool):
    """A docker engine's classic builder, and its pull and run."""

    kit: str = "0"

    def missing(self) -> str:
        if not self.env.get("DOCKER_HOST"):
            return "DOCKER_HOST is not set: its engine's build cache would be emptied"
        if shutil.which(self.program()[0]) is None:
            return "not installed"
        self.env = {**self.env, "DOCKER_BUILDKIT": self.kit}
        self.shown = f"DOCKER_BUILDKIT={self.kit} "
        return "" if self.server() else "its engine does not answer"

    def program(self) -> list[str]:
        return [os.environ.get("OCITOOL_DOCKER", "docker")]

    def version(self) -> str:
        return self.said(["version", "--format", "{{.Server.Version}}"])

    def prepare(self, row: Row) -> None:
        self.call([*self.program(), "pull", self.base])
        if row.work == "cached":
            self.call(self.commands(row)[0])

    def before(self, row: Row) -> None:
        if row.work in ("cold", "pull"):
            self.close()

    def commands(self, row: Row) -> Commands:
        if row.work == "run":
            return [[*self.program(), "run", "--rm", "--network", "none", self.base, "true"]]
        if row.work == "pull":
            return [[*self.program(), "pull", row.image]]
        cold = ["--no-cache"] if row.work == "cold" else []
        return [[*self.program(), *self.build(row, "--network", "host", *cold)]]

    def close(self) -> None:
        found = self.call(
            [*self.program(), "images", "--format", "{{.Repository}}:{{.Tag}}"], check=False
        )
        ours = [line for line in found.split() if "ocitool-bench" in line]
        if ours:
            self.call([*self.program(), "image", "rm", "-f", *ours], check=False)
        self.call([*self.program(), "image", "prune", "-f"], check=False)
        self.call([*self.program(), "builder", "prune", "-a", "-f"], check=False)
        Removals.noted()

    def server(self) -> int:
        """Ask the socket which process listens on it."""
        address = self.env.get("DOCKER_HOST", "").removeprefix("unix://")
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(address)
                peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except OSError:
            return 0
        return int(struct.unpack("3i", peer)[0])


#: Many files made, looked at, copied and removed, by many processes.
FILES = (
    "mkdir /a && cd /a && i=0 && while [ $i -lt 300 ]; do echo $i > $i; cat $i; i=$((i + 1)); done"
    " && for n in 1 2 3 4 5 6 7 8 9; do cp -a /a /b$n && find /b$n -type f | wc -l; done"
    " && rm -r /b*"
)


#: Their archives are in the image, so that no mirror is measured.
PACKAGES = "ca-certificates curl file git less nano procps python3 sqlite3 xz-utils"
ARCHIVES = "rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update -q && apt-get install -q -y"
APT = "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-download --no-install-recommends"


class Isolated(Ours):
    """ocitool with the isolation that the tool is named after."""

    def program(self) -> list[str]:
        how = ["--driver", "vfs", "--isolation", self.name.removeprefix("ocitool-")]
        return [*super().program(), *how]

    def missing(self) -> str:
        return "" if os.geteuid() == 0 else "needs root"

    def prepare(self, row: Row) -> None:
        self.root = str(self.work / "store")
        self.call([*self.program(), "pull", self.base])
        if row.work == "apt":
            (self.work / "context").mkdir(exist_ok=True)
            (self.work / "context/Dockerfile").write_text(
                f"FROM {row.image}\nRUN {ARCHIVES} --download-only {PACKAGES}\n"
            )
            build = ("build", "-q", "-t", "archives", "--network", "host", self.work / "context")
            self.call([*self.program(), *map(str, build)])
        self.call(self.commands(row)[0])

    def commands(self, row: Row) -> Commands:
        image = "archives" if row.work == "apt" else self.base
        script = {"files": FILES, "apt": f"{APT} {PACKAGES}"}.get(row.work, "true")
        words = ("run", "--rm", "--network", "host", image, "sh", "-c", script)
        return [[*self.program(), *words]]


class Networked(Ours):
    """ocitool with the network that the tool is named after."""

    def missing(self) -> str:
        helpers = ("slirp4netns", "pasta")
        here = self.name != "ocitool-private" or any(map(shutil.which, helpers))
        return "" if here else "neither slirp4netns nor pasta is installed"

    def prepare(self, row: Row) -> None:
        self.root = str(self.work / "store")
        self.call([*self.program(), "pull", self.base])

    def commands(self, row: Row) -> Commands:
        network = self.name.removeprefix("ocitool-")
        return [[*self.program(), "run", "--rm", "--network", network, self.base, "true"]]


class BuildKit(Docker):
    """The same engine's BuildKit."""

    kit = "1"


class Containers(Tool):
    """What buildah and podman share: storage that is given by options."""

    place: str = ""

    def missing(self) -> str:
        if os.geteuid() != 0:
            return "is measured as root"
        return "" if shutil.which(self.name) and shutil.which("runc") else "not installed"

    def program(self) -> list[str]:
        roots = ["--root", f"{self.place}/root", "--runroot", f"{self.place}/run"]
        return [self.name, *roots, "--storage-driver", "overlay"] if self.place else [self.name]

    def pull(self, image: str) -> list[str]:
        """Return the words of a pull from a plain registry."""
        return [*self.program(), "pull", "-q", "--tls-verify=false", image]

    def prepare(self, row: Row) -> None:
        self.place = str(self.work / "store")
        self.call(self.pull(self.base))


class Buildah(Containers):
    """buildah on runc, with its layers cached."""

    def prepare(self, row: Row) -> None:
        Containers.prepare(self, row)
        if row.work == "cached":
            self.call(self.commands(row)[0])

    def commands(self, row: Row) -> Commands:
        cold = ["--no-cache"] if row.work == "cold" else []
        options = ["--runtime", "runc", "--tls-verify=false", "--layers", "--network", "host"]
        return [[*self.program(), *self.build(row, *options, *LIMITS, *cold)]]

    def before(self, row: Row) -> None:
        if row.work == "cold":
            self.place = self.fresh()
            self.call(self.pull(self.base))


class Podman(Containers):
    """podman on runc."""

    def before(self, row: Row) -> None:
        if row.work == "pull":
            self.place = self.fresh()

    def commands(self, row: Row) -> Commands:
        if row.work == "pull":
            return [self.pull(row.image)]
        runtime = ["--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        run = ["run", "--rm", "--network", "none", *LIMITS, self.base, "true"]
        return [[*self.program(), *runtime, *run]]


def tools(work: Path, base: str) -> list[Tool]:
    """Return every tool that could be measured, ours first."""
    build, run = ("cached", "cold"), ("pull", "run")
    kinds: list[tuple[type[Tool], str, tuple[str, ...]]] = [
        (Ours, "ocitool", build + run),
        (BuildKit, "buildkit", build),
        (Docker, "docker", build + run),
        (Buildah, "buildah", build),
        (Podman, "podman", run),
        (Isolated, "ocitool-chroot", ("isolation", "files", "apt")),
        (Isolated, "ocitool-namespaces", ("isolation", "files", "apt")),
        (Networked, "ocitool-host", ("network",)),
        (Networked, "ocitool-private", ("network",)),
        (Networked, "ocitool-none", ("network",)),
    ]
    for _, name, _ in kinds:
        (work / name).mkdir()
    return [kind(work=work / name, base=base, name=name, works=w) for kind, name, w in kinds]
