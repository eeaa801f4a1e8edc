"""Fixtures for every room: the command line, stores that go away again, users, privileges.

A fixture that needs something of the machine skips with the reason where that is missing.
Fixtures that talk to other tools stand in ``tests/integration/conftest.py``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = (CHECKOUT, CHECKOUT / "registry", CHECKOUT / "runtime")
PACKAGES = ("ocitool", "registry/ocitool_registry", "runtime/ocitool_runtime")


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended.  ``code`` is negative if a signal ended it."""

    args: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    def ok(self) -> Finished:
        """Return this, or fail the test with all that the program said."""
        assert self.code == 0, str(self)
        return self

    def __str__(self) -> str:
        said = "".join(
            f"\n--- {name}\n{text.rstrip()}"
            for name, text in (("stdout", self.stdout), ("stderr", self.stderr))
            if text.strip()
        )
        return f"{' '.join(self.args)}: exit status {self.code}{said}"


def execute(
    args: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: str | None = None,
    timeout: float = 300.0,  # seconds
    user: OrdinaryUser | None = None,
) -> Finished:
    """Run a program to its end, with nothing on stdin unless told, as *user* if given."""
    identity = (
        {}
        if user is None
        else {"user": user.uid, "group": user.gid, "extra_groups": [user.gid], "umask": 0o022}
    )
    words = tuple(os.fspath(word) for word in args)
    given: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(
        words,
        env=dict(os.environ if env is None else env),
        cwd=cwd if cwd is not None or user is None else user.home,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        **given,  # type: ignore[call-overload]
        **identity,
    )
    return Finished(words, done.returncode, done.stdout, done.stderr)


# -- trees that must go away again ---------------------------------------------------------


def remove_tree(path: Path) -> None:
    """Remove *path* whatever is in it: read-only folders, left mounts, files of other ids.

    Follows no link.  Files of subordinate ids cannot be removed by their owner's parent id
    alone, so an ordinary user enters a user namespace for them.
    """
    for place in reversed(_mounts_under(path)):
        subprocess.run(["umount", "--lazy", place], stderr=subprocess.DEVNULL, check=False)
    if _mounts_under(path):
        raise RuntimeError(f"{path} still holds mounts; nothing of it was removed")
    for folder, names, _ in os.walk(path):
        for name in (*names, "."):
            inner = os.path.normpath(os.path.join(folder, name))
            status = os.lstat(inner)
            if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o700 != 0o700:
                try:
                    os.chmod(inner, 0o700)
                except PermissionError:
                    continue  # another id's: see below
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path) and os.geteuid() != 0:
        inside = ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", str(path)]
        subprocess.run(inside, stderr=subprocess.DEVNULL, check=False)
    if os.path.lexists(path):
        shutil.rmtree(path)


def _mounts_under(path: Path) -> list[str]:
    """Return the mount points at or below *path* in the order in which they were mounted."""
    inside = f"{path.resolve()}/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        places = [line.split()[4].replace("\\040", " ") for line in lines]
    return [place for place in places if f"{place}/".startswith(inside)]


@pytest.fixture(scope="session")
def session_tree() -> Iterator[Path]:
    """A folder that lasts as long as the session; anyone may pass through it, none may list it.

    It is kept short and apart from pytest's own folders: store paths grow long, and pytest
    cannot remove what other ids own.
    """
    path = Path(tempfile.mkdtemp(prefix="ocitool-"))
    path.chmod(0o711)
    yield path
    remove_tree(path)


@pytest.fixture(scope="session")
def session_store(session_tree: Path) -> Path:
    """A store root for all of the session: for tests that want what others already pulled."""
    path = session_tree / "session"
    path.mkdir()
    return path


@pytest.fixture
def store_root(session_tree: Path) -> Iterator[Path]:
    """An empty store root for one test."""
    path = Path(tempfile.mkdtemp(prefix="s", dir=session_tree))
    yield path
    remove_tree(path)


# -- the command line ----------------------------------------------------------------------

RunCli = Callable[..., Finished]


def python_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which this checkout is what ``import ocitool`` finds."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OCITOOL_")}
    env["PYTHONPATH"] = os.pathsep.join(map(str, SOURCE_ROOTS))
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    env["NO_COLOR"] = "1"
    env.update(extra or {})
    return env


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """Return a function that runs ``ocitool ARGS`` in a process of its own.

    ``run_cli("images", root=store_root)``; ``root`` becomes ``--root``, ``env`` is added to the
    environment, ``stdin`` is text, ``user`` an `OrdinaryUser`, ``timeout`` counts seconds.
    """

    def run(
        *args: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: str | None = None,
        timeout: float = 300.0,
        user: OrdinaryUser | None = None,
    ) -> Finished:
        python = [sys.executable] if user is None else [user.python]
        place = [] if root is None else ["--root", os.fspath(root)]
        environment = python_environment(env) if user is None else {**user.env, **(env or {})}
        return execute(
            [*python, "-m", "ocitool", *place, *args],
            env=environment,
            cwd=cwd,
            stdin=stdin,
            timeout=timeout,
            user=user,
        )

    return run


# -- who runs the tests, and what the kernel lets them do ----------------------------------


@pytest.fixture(scope="session")
def root_only() -> None:
    """Skip unless root runs the tests."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def user_namespaces() -> None:
    """Skip unless the user who runs the tests may make a user and a mount namespace."""
    if shutil.which("unshare") is None:
        pytest.skip("needs the program unshare, to find out about user namespaces")
    probe = execute(["unshare", "--user", "--map-root-user", "--mount", "true"])
    if probe.code != 0:
        pytest.skip(f"needs user namespaces: {probe.stderr.strip() or probe.code}")


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """A user made for the tests, with subordinate ids and a home folder.

    ``python`` and ``env`` run this checkout as that user; give both to a program, or use
    ``run_cli(..., user=user)``.
    """

    name: str
    uid: int
    gid: int
    home: Path
    python: str
    env: dict[str, str]

    def run(self, *args: str | os.PathLike[str], **options: object) -> Finished:
        """Run a program as this user, in its home folder."""
        options.setdefault("env", self.env)
        return execute(args, user=self, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def ordinary_user() -> Iterator[OrdinaryUser]:
    """Make a user with subordinate ids; the user, its processes and files go at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make an ordinary user")
    for program in ("useradd", "userdel", "usermod", "newuidmap", "newgidmap"):
        if shutil.which(program, path=_SBIN) is None:
            pytest.skip(f"needs the program {program}")
    name = f"ocitool{os.getpid()}"
    _manage("useradd", "--create-home", "--shell", "/bin/sh", name)
    try:
        entry = pwd.getpwnam(name)
        _grant_subordinate_ids(name)
        home = Path(entry.pw_dir)
        env = {
            "HOME": str(home),
            "USER": name,
            "LOGNAME": name,
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
            "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS)),
        }
        for name_, value in os.environ.items():
            if name_.lower().endswith("_proxy") or name_ in ("REGISTRY", "SOURCE_DATE_EPOCH"):
                env[name_] = value
        user = OrdinaryUser(name, entry.pw_uid, entry.pw_gid, home, sys.executable, env)
        yield _with_readable_python(user)
    finally:
        _end_processes_of(pwd.getpwnam(name).pw_uid)
        remove_tree(Path(pwd.getpwnam(name).pw_dir))
        _manage("userdel", name)


_SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def _manage(program: str, *args: str) -> None:
    found = shutil.which(program, path=_SBIN) or program
    execute([found, *args]).ok()


def _grant_subordinate_ids(name: str) -> None:
    """See to 65,536 subordinate ids of either kind, beyond those of every other user."""
    for kind in ("uid", "gid"):
        first, mine = 100_000, False
        with open(f"/etc/sub{kind}", "a+", encoding="ascii") as lines:
            lines.seek(0)
            for line in lines:
                owner, start, count = line.strip().split(":")
                first = max(first, int(start) + int(count))
                mine = mine or (owner == name and int(count) >= 65_536)
        if not mine:
            _manage("usermod", f"--add-sub{kind}s", f"{first}-{first + 65_535}", name)


def _with_readable_python(user: OrdinaryUser) -> OrdinaryUser:
    """Return *user* with a Python and a checkout it can read, copied to its home if need be."""
    probe = "import click, ocitool, ocitool_registry, ocitool_runtime"
    if user.run(user.python, "-c", probe).code == 0:
        return user
    copies = user.home / "python"
    shutil.copytree(sysconfig.get_path("purelib"), copies / "site", symlinks=True)
    for package in PACKAGES:
        shutil.copytree(
            CHECKOUT / package,
            copies / Path(package).name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    env = {**user.env, "PYTHONPATH": os.pathsep.join((str(copies), str(copies / "site")))}
    base = os.path.realpath(sys.executable)
    moved = OrdinaryUser(user.name, user.uid, user.gid, user.home, base, env)
    tried = moved.run(base, "-c", probe)
    if tried.code != 0:
        pytest.skip(f"an ordinary user cannot run {base}: {tried.stderr.strip()[-200:]}")
    return moved


def _end_processes_of(uid: int) -> None:
    """End what the user left running, each process by its id."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                continue
