"""The rules of the language, a row each, in ``testdata/rules``: what is written, what is made.

A row has a ``dockerfile``, and of these what it is about: ``options`` of the build, ``files`` of a
context of its own (else that of ``testdata/builds/context.yaml``), ``images`` to build on; and what
there is then: ``env`` without PATH, fields of ``config`` (null: not there), ``tree`` (type, mode
and owner of some paths), ``paths`` (all), ``changed`` (those of the last layer), ``texts`` and
``times`` of files, ``history`` from below, number of ``layers``, ``author``, ``warnings``; or the
``error``.  What is built is built again, as it is and with the files of its context touched: each
step is cached, and the image is the same.  A row with ``tests`` names those that try its rule.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ocitool import Store
from ocitool.errors import OcitoolError
from ocitool_runtime import get_isolation
from tests.fixtures.builds import RECIPES, RULES
from tests.fixtures.programs import CHECKOUT
from tests.fixtures.tables import read_table
from tests.unit.builder.conftest import BuildFixture, Built, with_tools

CONTEXT = RECIPES / "context.yaml"
#: The image with a shell, for rows that run commands.
BASE = "base:1"
TRIED = [
    pytest.param(
        row,
        id=f"{part}: {row['rule']}",
        marks=[pytest.mark.slow] if BASE in row["dockerfile"] else [],
    )
    for part, rows in RULES.items()
    for row in rows
    if "dockerfile" in row
]
#: When the files of contexts were changed last.
TIME = 1_000_000_000  # seconds
KINDS = {"file": "0", "dir": "5", "link": "2", "fifo": "6", "char": "3"}


@pytest.fixture(scope="module")
def store(session_tree) -> Iterator[Store]:
    """A store that all rows share; it has the image ``base:1`` where there are containers."""
    with Store.open(os.fspath(session_tree / "rules")) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(store, session_tree) -> BuildFixture:
    """The context of ``testdata/builds``, and what else the rows share."""
    top = session_tree / "rules-context"
    top.mkdir()
    made = BuildFixture(top, store)
    if get_isolation().probe().ok:
        (session_tree / "rules-base").mkdir()
        with_tools(BuildFixture(session_tree / "rules-base", store))
    made.put(read_table(CONTEXT))
    touch(top, TIME)
    return made


def touch(top: Path, time: int) -> None:
    for path in (*top.rglob("*"), top):
        os.utime(path, (time, time), follow_symlinks=False)


@pytest.mark.parametrize("row", TRIED)
def test_rule(row, shared, tmp_path, monkeypatch):
    project = shared
    if BASE in row["dockerfile"] and not get_isolation().probe().ok:
        pytest.skip("needs containers")
    if "files" in row:
        project = BuildFixture(tmp_path, shared.store)
        project.put(row["files"])
        touch(tmp_path, TIME)
    monkeypatch.chdir(project.top)
    for name, image in row.get("images", {}).items():
        fields = {key: value for key, value in image.items() if key != "layers"}
        project.image(name, *image.get("layers", []), **fields)
    options = row.get("options", {})
    if "error" in row:
        with pytest.raises(OcitoolError) as caught:
            project.build(row["dockerfile"], **options)
        assert str(caught.value) == row["error"]
        assert os.listdir(project.store.lease().path) == []
        return
    built = project.build(row["dockerfile"], **options)
    found = said(built, row)
    assert found == {key: row[key] for key in found}
    assert row.keys() <= found.keys() | {"rule", "dockerfile", "options", "files", "images"}
    again = project.build(row["dockerfile"], **options)
    assert (again.executed, again.digest) == ([], built.digest)
    touch(project.top, TIME + 1)
    again = project.build(row["dockerfile"], **options)
    touch(project.top, TIME)
    assert (again.executed, again.digest) == ([], built.digest)


def said(built: Built, row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row is about, as it was built."""
    every: dict[str, Callable[[], Any]] = {
        "env": lambda: _environment(built),
        "config": lambda: {key: built.config.get(key) for key in row["config"]},
        "tree": lambda: _entries(built.tree, row["tree"]),
        "paths": lambda: sorted(built.tree),
        "changed": lambda: sorted(built.names()) if built.blobs else [],
        "texts": lambda: {path: built.read(path) for path in row["texts"]},
        "times": lambda: _times(built, row["times"]),
        "history": lambda: [entry.get("created_by", "") for entry in built.history],
        "layers": lambda: len(built.blobs),
        "author": lambda: built.document.get("author"),
        "warnings": lambda: list(built.warnings),
    }
    return {key: value() for key, value in every.items() if key in row}


def _environment(built: Built) -> dict[str, str]:
    env = dict(value.split("=", 1) for value in built.config.get("Env", ()))
    env.pop("PATH", None)
    return env


def _entries(tree: Mapping[str, str], paths: Iterable[str]) -> dict[str, str | None]:
    return {path: _named(tree[path]) if path in tree else None for path in paths}


def _times(built: Built, paths: Iterable[str]) -> dict[str, int]:
    times = {member.name: int(member.mtime) for layer in built.layers for member in layer}
    return {path: times[path] for path in paths}


def _named(entry: str) -> str:
    """Return ``file 644 0:0``, or ``link -> target``, of an entry of a tree."""
    kind = next(name for name, letter in KINDS.items() if entry[0] == letter)
    if kind == "link":
        return f"link -> {entry.partition(' -> ')[2]}"
    return " ".join([kind, *entry.split()[1:3]])


@pytest.mark.parametrize("part", RULES)
def test_each_rule_is_tried_by_a_row_or_by_tests_that_there_are(part):
    rules = [row["rule"] for row in RULES[part]]
    assert len(set(rules)) == len(rules)
    for row in RULES[part]:
        assert ("dockerfile" in row) != ("tests" in row), row
        for name in row.get("tests", ()):
            path, _, function = name.partition("::")
            assert function in {"", *_tests(path)}, name


@cache
def _tests(path: str) -> frozenset[str]:
    tree = ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef))
