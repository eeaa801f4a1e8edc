"""What is wrong with a Dockerfile, in BuildKit's words: message and line, from a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocitool import BuildOptions
from ocitool.builder.calls import documents
from ocitool.builder.calls.calls import check
from tests.fixtures.tables import read_table

CASES = read_table(Path(__file__).parents[3] / "testdata/dockerfile/errors.yaml")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [pytest.param(*case, id=case[0]) for cases in CASES.values() for case in cases],
)
def test_an_error_has_buildkits_words(tmp_path: Path, text: str, line: int, message: str) -> None:
    if not text.startswith(("#", "FROM", "RUN", "ARG")):
        text = f"FROM scratch\n{text}"
    options = BuildOptions(context=str(tmp_path), dockerfile=text.encode())
    error = documents.checks_document(check(options))["buildError"]
    place = error["location"].get("ranges", [{"start": {"line": 0}}])
    assert (error["message"], place[0]["start"]["line"]) == (message, line)
