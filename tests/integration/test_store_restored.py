"""A store that was copied without its empty directories, as many tools copy, is a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def lose_empty_directories(root):
    """Leave what a tar of the store's files alone would bring back; of layers, all."""
    paths = []
    for place, folders, _ in os.walk(root):
        if Path(place).name == "layers":
            folders.clear()
        paths.append(place)
    for place in reversed(paths):
        if not os.listdir(place):
            os.rmdir(place)
    assert not os.path.exists(f"{root}/tmp")


@pytest.mark.parametrize("driver", ["erofs", "overlay", "vfs"])
def test_each_command_works(tools_store, run_cli, containers, tmp_path, store_root, driver):
    run_cli("save", "-o", tmp_path / "tools.tar", "tools:1", root=tools_store).ok()
    (tmp_path / "Dockerfile").write_text("FROM tools:1\nRUN mkdir /x && echo 1 > /x/f\n")

    def run(*words):
        return run_cli("--driver", driver, *words, root=store_root)

    run("load", "-i", tmp_path / "tools.tar").ok()
    if (found := run("run", "--rm", "tools:1", "true")).code:
        pytest.skip(f"needs {driver}: {found.stderr}")
    for words in (
        ("build", "-q", "-t", "made:1", tmp_path),
        ("images",),
        ("system", "df"),
        ("system", "check"),
        ("tag", "made:1", "other:1"),
        ("run", "--rm", "made:1", "cat", "/x/f"),
        ("load", "-i", tmp_path / "tools.tar"),
        ("save", "-o", tmp_path / "saved.tar", "made:1"),
        ("system", "check", "--repair"),
        ("rmi", "made:1"),
        ("system", "prune", "-f"),
        ("run", "--rm", "other:1", "cat", "/x/f"),
    ):
        lose_empty_directories(store_root)
        run(*words).ok()
