"""Tables, lists and documents on stdout, in docker's look."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from ocitool.cli.output import output
from ocitool.cli.output.output import Column, align, emit_documents, emit_list, table
from ocitool.errors import FormatError

COLUMNS = (
    Column("Repository", "REPOSITORY"),
    Column("Tag", "TAG"),
    Column("Digest", "DIGEST", shown=False),
    Column("ID", "IMAGE ID", short=output.short_id),
    Column("Size", "SIZE"),
)
ROWS = [
    {"Repository": "127.0.0.1:5000/busybox", "Tag": "base", "ID": "sha256:" + "75afe7cde032" * 6}
    | {"Size": "1.98MB", "Digest": "<none>"},
    {"Repository": "web", "Tag": "latest", "ID": "sha256:" + "c318df2cd1df" * 6}
    | {"Size": "233MB", "Digest": "<none>"},
]


def listed(**flags: object) -> str:
    out = io.StringIO()
    emit_list(ROWS, columns=COLUMNS, out=out, **flags)  # type: ignore[arg-type]
    return out.getvalue()


def test_the_table_is_dockers() -> None:
    assert listed() == (
        "REPOSITORY               TAG       IMAGE ID       SIZE\n"
        "127.0.0.1:5000/busybox   base      75afe7cde032   1.98MB\n"
        "web                      latest    c318df2cd1df   233MB\n"
    )
    assert listed(format="table") == listed()


def test_a_table_without_rows_is_its_headers() -> None:
    assert table([], COLUMNS) == "REPOSITORY   TAG       IMAGE ID   SIZE\n"


def test_quiet_prints_the_key_alone() -> None:
    assert listed(quiet=True) == "75afe7cde032\nc318df2cd1df\n"
    assert listed(quiet=True, no_trunc=True).startswith("sha256:75afe7cde03275af")
    assert listed(quiet=True, format="{{.Tag}}") == "base\nlatest\n"


def test_no_trunc_keeps_values_whole() -> None:
    assert "75afe7cde032" * 6 in listed(no_trunc=True)


@pytest.mark.parametrize("format", ["json", "{{json .}}", " json "])
def test_json_is_one_object_a_line_with_sorted_keys(format: str) -> None:
    first, second = (json.loads(line) for line in listed(format=format).splitlines())
    assert list(first) == ["Digest", "ID", "Repository", "Size", "Tag"]
    assert (first["ID"], second["Tag"]) == ("75afe7cde032", "latest")


def test_a_table_template_has_headers() -> None:
    assert listed(format=r"table {{.Tag}}\t{{.Digest}}") == (
        "TAG       DIGEST\nbase      <none>\nlatest    <none>\n"
    )


def test_a_wrong_template_prints_nothing() -> None:
    out = io.StringIO()
    with pytest.raises(FormatError, match="unknown field"):
        emit_list(ROWS, columns=COLUMNS, format="{{.Nope}}", out=out)
    assert out.getvalue() == ""


def test_no_line_ends_in_blanks() -> None:
    assert align([["A", "B", "C"], ["x", "", ""]]) == "A         B         C\nx\n"


def test_wide_and_combining_characters_line_up() -> None:
    text = align([["NAME", "X"], ["日本語の名前", "x"], ["cafe\u0301-latte", "x"]])
    columns = {output.width(line.rpartition(" ")[0]) for line in text.splitlines()}
    assert columns == {14}


def test_a_cell_cannot_break_the_line_or_the_terminal() -> None:
    rows = [{"Repository": "a\nb\x1b[31m", "Tag": "é", "ID": None, "Size": 3}]
    assert table(rows, COLUMNS).splitlines()[1].startswith(r"a\nb\u001b[31m   é  ")


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ("sha256:" + "ab" * 32, "ab" * 6),
        ("ab" * 32, "ab" * 6),
        ("<none>", "<none>"),
        ("a:b", "a:b"),
    ],
)
def test_short_id(value: str, short: str) -> None:
    assert output.short_id(value) == short


def test_ellipsis() -> None:
    assert output.ellipsis(5)("abcdef") == "abcd…"
    assert output.ellipsis(5)("abcde") == "abcde"


def test_documents_are_an_array_or_a_line_each() -> None:
    out = io.StringIO()
    emit_documents([{"Id": "a", "N": None}], out=out)
    assert out.getvalue() == '[\n    {\n        "Id": "a",\n        "N": null\n    }\n]\n'
    out = io.StringIO()
    emit_documents([{"Id": "a"}, {"Id": "b"}], format=r"{{.Id}}\t", out=out)
    assert out.getvalue() == "a\\t\nb\\t\n"


def test_write_escapes_what_the_encoding_lacks() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    output.write("café\n", stream)
    assert raw.getvalue() == b"caf\\xe9\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("term", "no_color", "terminal", "colour"),
    [("xterm", "", True, True), ("dumb", "", False, False), ("xterm", "1", True, False)],
)
def test_colour(
    monkeypatch: pytest.MonkeyPatch, term: str, no_color: str, terminal: bool, colour: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert output.is_terminal(Terminal()) is terminal
    assert output.colour_wanted(Terminal()) is colour
    assert not output.is_terminal(io.StringIO())


def test_the_same_table_as_docker(docker: Callable[..., str]) -> None:
    """Hand docker's own rows to our table, for each way of asking for one."""
    columns = (
        Column("Repository", "REPOSITORY"),
        Column("Tag", "TAG"),
        Column("ID", "IMAGE ID"),
        Column("Size", "SIZE"),
    )
    rows = [json.loads(line) for line in docker("images", "--format", "json").splitlines()]
    dated = [row for row in rows if row["CreatedSince"] and "<none>" not in row["Tag"]]
    if not dated:
        pytest.skip("the docker engine holds no tagged image with a date")
    dated[0].pop("CreatedSince")  # it moves on between two calls
    name = "{Repository}:{Tag}".format(**dated[0])
    for format in (
        r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}",
        r"table {{.Size}}\t{{upper .Tag}}\t{{json .ID}}",
        r"{{.Tag}}\t{{.ID}}\n",
    ):
        out = io.StringIO()
        emit_list(dated[:1], columns=columns, format=format, out=out)
        assert out.getvalue() == docker("images", "--format", format, name)
