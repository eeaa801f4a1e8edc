"""A small image of the host's own tools, and sandboxes on it with what they printed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocitool_runtime import Exit, Mount, Sandbox, Stdio, get_isolation
from ocitool_runtime.host.userns.idmap import Maps, current_maps
from ocitool_runtime.sandbox.cgroups import cgroups
from tests.fixtures.tools import GROUP, PASSWD, install_tools
from tests.fixtures.trees import remove_tree


@dataclass(frozen=True, slots=True)
class Ran:
    """A sandbox that has ended."""

    exit: Exit
    out: str
    err: str
    upper: Path

    @property
    def code(self) -> int:
        return self.exit.code

    def ok(self) -> str:
        assert self.exit.code == 0, f"{self.exit}\n{self.out}\n{self.err}"
        return self.out


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def maps() -> Maps:
    """The id maps of whoever runs the tests; skips where the isolation cannot work."""
    support = get_isolation().probe()
    if not support.ok:
        pytest.skip(f"no namespaces here: {support.reason}")
    return current_maps()


@pytest.fixture(scope="session")
def image(session_tree: Path) -> Path:
    """A file tree with a few tools, of which nothing is ever changed."""
    tree = Path(tempfile.mkdtemp(prefix="image", dir=session_tree))
    tree.chmod(0o755)
    (tree / "bin").mkdir(parents=True)
    (tree / "tmp").mkdir()
    (tree / "tmp").chmod(0o1777)
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text(PASSWD)
    (tree / "etc/group").write_text(GROUP)
    install_tools(tree)
    return tree


@pytest.fixture
def scratch(session_tree: Path) -> Iterator[Path]:
    """A folder for one test, on a file system that overlay can write to."""
    path = Path(tempfile.mkdtemp(prefix="r", dir=session_tree))
    yield path
    remove_tree(path)


def overlay(scratch: Path, *lower: Path) -> Mount:
    """Return a writable overlay over *lower*, the topmost first."""
    for name in ("upper", "work"):
        (scratch / name).mkdir(exist_ok=True)
    return Mount(
        type="overlay",
        lower=tuple(map(str, lower)),
        upper=str(scratch / "upper"),
        work=str(scratch / "work"),
        options=() if os.geteuid() == 0 else ("userxattr",),
    )


@pytest.fixture
def make(image: Path, scratch: Path, maps: Maps) -> Callable[..., Sandbox]:
    """Return a function that describes a sandbox: a shell script or args, and any field."""

    def make(script: str | tuple[str, ...], **fields: object) -> Sandbox:
        given = {
            "rootfs": (overlay(scratch, image),),
            "args": ("sh", "-c", script) if isinstance(script, str) else script,
            "env": ("PATH=/bin",),
            "network": "none",
            "uid_maps": maps.uid_maps,
            "gid_maps": maps.gid_maps,
        }
        return Sandbox(**{**given, **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture
def run(make: Callable[..., Sandbox], scratch: Path) -> Run:
    """Return a function that runs such a sandbox to its end."""

    def run(script: str | tuple[str, ...], *, stdin: str = "", **fields: object) -> Ran:
        return finish(make(script, **fields), scratch, stdin)

    return run


def finish(sandbox: Sandbox, scratch: Path, stdin: str = "") -> Ran:
    """Run *sandbox* with files for streams."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write(stdin)
        given.seek(0)
        stdio = Stdio(stdin=given.fileno(), stdout=out.fileno(), stderr=err.fileno())
        ended = get_isolation().start(sandbox, stdio).wait(60)
        out.seek(0)
        err.seek(0)
        return Ran(ended, out.read(), err.read(), scratch / "upper")


@pytest.fixture
def host_python(maps: Maps, scratch: Path) -> Callable[..., Ran]:
    """Return a function that runs Python code in a sandbox that sees the host's tree read-only."""

    def run(code: str, **fields: object) -> Ran:
        given = {
            "rootfs": (Mount(type="bind", source="/", options=("rbind", "ro")),),
            "args": (os.path.realpath(sys.executable), "-I", "-S", "-c", code),
            "network": "none",
            "uid_maps": maps.uid_maps,
            "gid_maps": maps.gid_maps,
        }
        return finish(Sandbox(**{**given, **fields}), scratch)  # type: ignore[arg-type]

    return run


@pytest.fixture
def mount_table(session_tree: Path) -> Callable[[], list[str]]:
    """Return a function that lists the mounts, but those of other tests and of docker's engine."""
    engine = os.path.dirname(os.environ.get("DOCKER_HOST", "").removeprefix("unix://"))
    others = (f"{tempfile.gettempdir()}/", f"{engine or tempfile.gettempdir()}/")

    def table() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        ours = f"{session_tree}/"
        points = [(line, f"{line.split()[4]}/") for line in lines]
        return [line for line, at in points if at.startswith(ours) or not at.startswith(others)]

    return table


@pytest.fixture
def own_cgroup() -> None:
    """Skip unless sandboxes of this user get a cgroup of their own."""
    for path, _ in cgroups.own_cgroups():
        if os.access(path, os.W_OK) and not os.statvfs(path).f_flag & os.ST_RDONLY:
            return
    pytest.skip("needs a cgroup in which this user can make another")
