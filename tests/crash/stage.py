"""What a campaign works with: a folder, a registry of its own, archives, contexts, stores."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.disk import make
from tests.fixtures.programs import Finished, RunCli, User, execute, python_environment
from tests.fixtures.trees import remove_tree

#: Images that are finished before anything is killed, and that nothing here removes.
FINISHED = ("base:1", "kept:1")
SPARE = "spare:1"
#: All images get no later times than this, so that they are the same each time they are made.
EPOCH = "1700000000"
_FILES = 40
_BTRFS = 4 << 30  # bytes; most of it is never written


@dataclass(slots=True)
class Stage:
    """The folder *work* with all that is in it, from `set_up` to `strike`."""

    work: Path
    address: str = ""  # HOST:PORT of the registry
    user: User | None = None  # who runs the commands, if another than this process
    stores: Path | None = None  # where stores lie, if not in that folder
    cli: RunCli | None = None  # runs commands that nothing kills, if they need no new interpreter
    _server: subprocess.Popen[bytes] | None = None
    _templates: dict[str, Path] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of every command."""
        return python_environment(self._variables)

    @property
    def _variables(self) -> dict[str, str]:
        own = {"HOME": str(self.work), "XDG_RUNTIME_DIR": "", "DOCKER_CONFIG": ""}
        return {**(own if self.user is None else {}), "SOURCE_DATE_EPOCH": EPOCH}

    @property
    def pulled(self) -> str:
        """The name of the image in the registry."""
        return f"{self.address}/pulled:1"

    def command(self, root: Path, driver: str, *words: str, debug: bool = True) -> list[str]:
        """Return a command line on the store *root*; with *debug* it tells where it failed."""
        python = sys.executable if self.user is None else self.user.python
        program = [python, "-m", "ocitool", *(["--debug"] if debug else [])]
        return [*program, "--root", str(root), "--driver", driver, *words]

    def run(self, root: Path, driver: str, *words: str, debug: bool = True) -> Finished:
        """Run a command to its end, whatever that is."""
        if self.cli is not None:
            how = ["--debug"] if debug else []
            where: dict[str, Any] = {"root": root, "cwd": self.work, "user": self.user}
            return self.cli(*how, "--driver", driver, *words, env=self._variables, **where)
        program = self.command(root, driver, *words, debug=debug)
        env = self.env if self.user is None else {**self.user.env, **self._variables}
        return execute(program, env=env, cwd=self.work, user=self.user)

    def set_up(self) -> None:
        """Make contexts, images, archives, and the registry."""
        self._contexts()
        yard = self.work / "yard"
        for name in ("base", "kept", "spare", "loaded", "pulled"):
            self.run(yard, "vfs", "build", "-q", "-t", f"{name}:1", f"{self.work}/{name}").ok()
        save = ("save", "-o")
        self.run(yard, "vfs", *save, f"{self.work}/images.tar", *FINISHED).ok()
        for name in ("spare", "loaded"):
            self.run(yard, "vfs", *save, f"{self.work}/{name}.tar", f"{name}:1").ok()
        self._serve()
        self.run(yard, "vfs", "push", "-q", "pulled:1", self.pulled).ok()
        remove_tree(yard)

    def strike(self, *, keep: bool = False) -> None:
        """End the registry and remove the folder with all that is mounted there."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                print("the registry does not end when it is asked to", flush=True)
                self._server.kill()
                self._server.wait()
        if not keep:
            remove_tree(self.work)

    def home(self, driver: str) -> Path:
        """Return where stores of *driver* lie: btrfs needs a file system of its own."""
        if driver != "btrfs":
            return self.stores or self.work
        place = self.work / "btrfs"
        if not place.exists():
            place.mkdir()
            make(self.work / "btrfs.img", _BTRFS, place, "mkfs.btrfs", "-q")
        return place

    def template(self, driver: str) -> Path:
        """Return a store of *driver* with the finished images, unpacked; copy it."""
        if driver not in self._templates:
            root = self.work / "templates" / driver
            root.parent.mkdir(exist_ok=True)
            self.fill(root, driver)
            self._templates[driver] = root
        return self._templates[driver]

    def fill(self, root: Path, driver: str) -> None:
        """Bring the finished images and the spare one into a store, and unpack them."""
        for name in ("images", "spare"):
            self.run(root, driver, "load", "-q", "-i", f"{self.work}/{name}.tar").ok()
        for name in FINISHED:
            self.run(root, driver, "run", "--rm", "--network", "none", name, "true").ok()

    # -- parts ------------------------------------------------------------------------------

    def _contexts(self) -> None:
        tree = self.work / "base" / "tree"
        (tree / "bin").mkdir(parents=True)
        shutil.copy(_busybox(), tree / "bin" / "busybox")
        for tool in ("sh", "true", "cat", "rm", "mkdir", "ls"):
            (tree / "bin" / tool).symlink_to("busybox")
        self._context("base", "FROM scratch\nCOPY tree/ /\nCOPY files /files\nENV PATH=/bin\n")
        self._context("kept", "FROM base:1\nCOPY files /kept\nRUN echo kept > /kept/by-run\n")
        self._context("spare", "FROM scratch\nCOPY files /spare\n")
        self._context("waste", "FROM scratch\nCOPY files /waste\n")
        self._context("loaded", "FROM scratch\nCOPY files /one\nCOPY files /two/\n")
        self._context("pulled", "FROM base:1\nCOPY files /pulled\nCOPY files /more/\n")
        steps = "COPY files /app\nRUN rm /app/f1 && mkdir /made && cat /app/f2 > /made/f2\n"
        self._context("app", f"FROM base:1\n{steps}COPY files /last\nRUN rm -r /files\n")
        pack = ["tar", "--sort=name", "--mtime=@0", "-cf", str(self.work / "tree.tar"), "files"]
        subprocess.run(pack, cwd=self.work / "spare", check=True)

    def _context(self, name: str, dockerfile: str) -> None:
        place = self.work / name
        for at in range(_FILES):
            folder = place / "files" / f"d{at % 4}" if at % 2 else place / "files"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"f{at}").write_text(f"{name} {at}\n" * (at * 20 + 1))
        for odd in ("f1", "f2"):
            (place / "files" / odd).write_text(f"{name} {odd}\n")
        (place / "files" / "link").symlink_to("f2")
        os.link(place / "files" / "f2", place / "files" / "hard")
        (place / "Dockerfile").write_text(dockerfile)

    def _serve(self) -> None:
        words = self.command(self.work / "served", "vfs", "registry", "serve")
        log = self.work / "registry.log"
        with open(log, "xb") as file:
            self._server = subprocess.Popen(
                [*words, "--addr", "127.0.0.1:0"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        while not (found := re.search(r"127\.0\.0\.1:\d+\n", log.read_text())):
            if self._server.poll() is not None:
                raise RuntimeError(f"the registry does not start: {log.read_text()}")
            time.sleep(0.01)
        self.address = found[0].strip()


def _busybox() -> str:
    found = shutil.which("busybox")
    if found is None:
        raise SystemExit("needs busybox, linked statically (Debian: busybox-static)")
    return found


def copy_store(template: Path, target: Path) -> None:
    """Copy a store that nobody uses: owners, times, attributes, hard links, devices and all."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(template), str(target)], check=True)
