"""On a disk without a free byte each command works or says that the disk is full."""

from __future__ import annotations

import contextlib
import os

import pytest

from tests.fixtures.disks import disk

_SAYS = ("the disk is full", "o space left", "and the disk has")


@pytest.fixture(scope="module")
def small(session_tree):
    """A file system that is soon full."""
    with disk(session_tree, "ext4", "-m", "0") as top:
        yield top


def fill(top):
    """Leave not one byte; returns what does."""
    path, size = f"{top}/filler", 0
    with open(path, "wb", buffering=0) as file:
        for step in (64 << 20, 1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
    with pytest.raises(OSError, match="No space left"), open(f"{top}/more", "wb") as more:
        more.write(b"1")
    return path


@pytest.mark.parametrize(
    "driver",
    ["overlay", *(pytest.param(name, marks=pytest.mark.campaign) for name in ("erofs", "vfs"))],
)
def test_it_says_so(small, tools_store, run_cli, containers, tmp_path, driver):
    run_cli("save", "-o", tmp_path / "tools.tar", "tools:1", root=tools_store).ok()
    (tmp_path / "Dockerfile").write_text("FROM tools:1\nRUN mkdir /x && echo 1 > /x/f\n")
    other = tmp_path / "other"
    run_cli("load", "-i", tmp_path / "tools.tar", root=other).ok()
    run_cli("build", "-q", "-t", "new:1", tmp_path, root=other).ok()
    run_cli("save", "-o", tmp_path / "new.tar", "new:1", root=other).ok()
    root = small / f"store-{driver}"

    def run(*words):
        return run_cli("--driver", driver, *words, root=root)

    run("load", "-i", tmp_path / "tools.tar").ok()
    if (found := run("run", "--rm", "tools:1", "true")).code:
        pytest.skip(f"needs {driver}: {found.stderr}")
    said = {}
    for words in (
        ("images",),
        ("info",),
        ("system", "df"),
        ("system", "check"),
        ("system", "check", "--repair"),
        ("tag", "tools:1", "other:1"),
        ("build", "-q", "-t", "made:1", tmp_path),
        ("load", "-i", tmp_path / "new.tar"),
        ("import", tmp_path / "new.tar", "imported:1"),
        ("pull", "--tls-verify", "false", "127.0.0.1:9/none:1"),
        ("push", "--tls-verify", "false", "tools:1", "127.0.0.1:9/none:1"),
        ("run", "--rm", "tools:1", "true"),
        ("save", "-o", small / "saved.tar", "tools:1"),
        ("export", "-o", small / "exported.tar", "tools:1"),
        ("system", "prune", "-f"),
        ("rmi", "tools:1"),
    ):
        if words[-1] in ("-f", "tools:1"):
            run("run", "--rm", "tools:1", "true").ok()  # keeps room for what removes things
        filler = fill(small)
        said[words] = run(*words)
        os.unlink(filler)
    wrong = [
        str(done)
        for words, done in said.items()
        if done.code != 0
        and not any(text in done.stderr + done.stdout for text in _SAYS)
        and words[0] not in ("pull", "push")  # nobody answers there
    ]
    assert wrong == []
    assert [done for done in said.values() if "disk I/O error" in done.stderr] == []
    assert said[("system", "prune", "-f")].code == said[("rmi", "tools:1")].code == 0
    run("system", "check").ok()
