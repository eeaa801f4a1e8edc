"""docs/dockerfile.md has a row for each flag of COPY and ADD, and a file of tests that tries it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from ocitool.builder.dockerfile.instructions import Add, Copy

TOP = Path(__file__).parents[2]
OTHERS = {"span", "sources", "dest", "heredocs"}


def test_each_flag_of_copy_has_a_row_and_its_tests() -> None:
    page = (TOP / "docs/dockerfile.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--([\w-]+)[^|]*\|[^|]*\| `(\w+\.py)` \|$", page, re.MULTILINE))
    flags = {
        field.name.rstrip("_").replace("_", "-") for kind in (Copy, Add) for field in fields(kind)
    } - OTHERS
    assert rows.keys() == flags
    for flag, name in rows.items():
        tests = (TOP / "tests/unit/builder" / name).read_text(encoding="utf-8")
        assert f"--{flag}" in tests, f"{name} does not try --{flag}"
