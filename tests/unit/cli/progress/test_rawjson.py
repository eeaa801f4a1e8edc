"""Progress as BuildKit's clients print it."""

from __future__ import annotations

import base64
import io
import json
import re

from ocitool.cli.progress import choose
from ocitool.progress import (
    CheckWarning,
    Notice,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def lines(*events) -> list[tuple[str, dict[str, object]]]:
    stream = io.StringIO()
    with choose("rawjson", stream, build=True) as sink:
        for event in events:
            sink.emit(event)
    found = []
    for line in stream.getvalue().splitlines():
        ((kind, (fields,)),) = json.loads(line).items()
        found.append((kind, fields))
    return found


def test_a_step_is_one_vertex():
    found = lines(
        StepStarted(step=1, name="[1/2] FROM a"),
        StepFinished(step=1, seconds=1, cached=True),
        StepStarted(step=2, name="[2/2] RUN b"),
        StepOutput(step=2, data=b"out\xff", stream="stdout"),
        StepOutput(step=2, data=b"err", stream="stderr"),
        StepErred(step=2, message="exit code: 1"),
    )
    assert [kind for kind, _ in found] == ["vertexes"] * 3 + ["logs"] * 2 + ["vertexes"]
    first, first_end, second, out, err, second_end = (fields for _, fields in found)
    assert first["digest"] == first_end["digest"] != second["digest"] == second_end["digest"]
    assert re.fullmatch("sha256:[0-9a-f]{64}", first["digest"])
    assert first["name"] == first_end["name"] == "[1/2] FROM a"
    assert "completed" not in first
    assert (first_end["cached"], second_end["error"]) == (True, "exit code: 1")
    assert TIME.fullmatch(first_end["completed"])
    assert out["vertex"] == err["vertex"] == second["digest"]
    assert (out["stream"], err["stream"]) == (1, 2)
    assert base64.b64decode(out["data"]) == b"out\xff"


def test_a_transfer_belongs_to_the_step_and_a_warning_is_written_once():
    found = lines(
        Transfer(key="sha256:1", action="pull", done=1, total=2),
        StepStarted(step=1, name="FROM a"),
        Transfer(key="sha256:2", action="pull", done=1, total=2),
        Transfer(key="sha256:2", action="pull", done=2, total=2, state="done"),
        Notice(text="careful", level="warning"),
        Notice(text="careful", level="warning"),
        Notice(text="hello"),
    )
    assert [kind for kind, _ in found] == ["vertexes", "statuses", "statuses", "warnings"]
    vertex, begun, ended, warning = (fields for _, fields in found)
    assert begun["vertex"] == vertex["digest"]
    assert (begun["current"], begun["total"], ended["current"]) == (1, 2, 2)
    assert "completed" not in begun
    assert TIME.fullmatch(ended["completed"])
    assert base64.b64decode(warning["short"]) == b"careful"


def test_none_writes_nothing():
    stream = io.StringIO()
    with choose("none", stream) as sink:
        sink.emit(Notice(text="careful", level="warning"))
        sink.emit(StepStarted(step=1, name="a"))
    assert stream.getvalue() == ""


def test_what_a_build_check_found_is_a_warning_with_its_lines():
    url = "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/"
    found = CheckWarning(
        rule="LegacyKeyValueFormat",
        url=url,
        detail="a detail",
        file="D",
        line=2,
        excerpt=("a", "b"),
    )
    ((kind, fields),) = lines(found)
    short, (detail,) = fields.pop("short"), fields.pop("detail")
    assert base64.b64decode(short) == b"LegacyKeyValueFormat: a detail (line 2)"
    assert base64.b64decode(detail).startswith(b"Legacy key/value format with whitespace")
    assert kind == "warnings" and fields == {
        "level": 1,
        "url": url,
        "sourceInfo": {"filename": "D", "language": "Dockerfile"},
        "range": [{"start": {"line": line}, "end": {"line": line}} for line in (2, 3)],
    }
