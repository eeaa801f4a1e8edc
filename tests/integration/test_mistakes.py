"""Mistakes of users, through the command: message with place and remedy, exit code, no rests."""

from __future__ import annotations

import io
import os
import re
import shlex
import tarfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fixtures.programs import CHECKOUT, RunCli
from tests.fixtures.tables import read_table

TABLE: Final[list[dict[str, Any]]] = read_table(CHECKOUT / "testdata/mistakes.yaml")


def _archive(name: str) -> bytes:
    """Return a tar of one member."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 5000
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    return data.getvalue()


#: By what is written in the table: one ends within its member.
ARCHIVES: Final = {"CUT": _archive("a")[:3000], "TAR": _archive("app/Dockerfile")}


def _put(context: Path, file: str) -> None:
    path, link, target = file.partition(" -> ")
    if link:
        (context / path).symlink_to(target)
        return
    path, _, text = file.partition("=")
    (context / path).parent.mkdir(parents=True, exist_ok=True)
    data = ARCHIVES.get(text) or (text or path).encode()
    (context / path).write_bytes(data)


@pytest.fixture(scope="module")
def store(session_tree: Path) -> Path:
    return session_tree / "mistakes-store"


@pytest.mark.parametrize("case", TABLE, ids=[case["mistake"] for case in TABLE])
def test_a_mistake(
    case: dict[str, Any], run_cli: RunCli, store: Path, tmp_path: Path, request: Any
) -> None:
    text = case["dockerfile"]
    has_base = "$BASE" in text
    if has_base:
        for needed in ("root_only", "containers"):
            request.getfixturevalue(needed)
        text = text.replace("$BASE", request.getfixturevalue("busybox_base"))
    if case.get("files") != "none":
        (tmp_path / "Dockerfile").write_text(text)
        for file in case.get("files", ()):
            _put(tmp_path, file)
    before = sorted(os.listdir(tmp_path))
    root = store / "with-base" if has_base else store / "without"
    words = ("build", "-q", *shlex.split(case.get("options", "")), case.get("context", "."))
    done = run_cli(*words, root=root, cwd=tmp_path, env={"NO_PROXY": "127.0.0.1"})
    assert done.code == case["exit"], done
    said = done.stderr.replace(str(tmp_path), "CONTEXT")
    error = re.search(r"^Error: (.*)$", said, re.MULTILINE)
    assert error is not None and error[1] == case["error"], done
    if "hint" in case:
        assert f"\nhint: {case['hint']}\n" in said
    assert done.stdout == ""
    assert sorted(os.listdir(tmp_path)) == before
    images = run_cli("images", "--format", "{{.Repository}}", root=root).ok().stdout.split()
    assert [name for name in images if not has_base or not name.endswith("busybox")] == []


def test_a_place_or_a_remedy_is_always_named() -> None:
    assert len(TABLE) >= 60
    for case in TABLE:
        place = re.match(r"Dockerfile:\d+: ", case["error"])
        assert place or "hint" in case or case["exit"] == 2 or "did you mean" in case["error"], case
