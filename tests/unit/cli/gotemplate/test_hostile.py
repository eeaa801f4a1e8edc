"""Templates, filters and sizes that are nested without end, or long: an error, and soon."""

from __future__ import annotations

import click
import pytest

from ocitool.cli.gotemplate.template import Template
from ocitool.cli.options.shared import parse_filters, parse_size
from ocitool.errors import FormatError
from tests.fixtures.deadlines import within

NESTED = [
    ("(", ".", ")"),
    ("(print ", ".", ")"),
    ("}}{{if .}}{{", ".", "}}{{end}}{{"),
    ("}}{{with .}}{{", ".", "}}{{end}}{{"),
    ("}}{{range .}}{{", ".", "}}{{end}}{{"),
    ("}}{{if .}}{{else if .}}{{", ".", "}}{{end}}{{"),
]


@pytest.mark.parametrize("before, inner, after", NESTED)
def test_nesting_ends_in_an_error_and_what_is_allowed_runs(before, inner, after):
    def nested(depth: int) -> str:
        return "{{" + before * depth + inner + after * depth + "}}"

    for depth in (33, 400, 10_000):
        with within(10), pytest.raises(FormatError, match="nested more than 32 deep") as caught:
            Template.parse(nested(depth).replace("{{}}", ""))
        assert caught.value.where.startswith("--format, column ")
    # The deepest that is allowed is parsed, rendered and given a heading.
    deepest = 16 if "else" in before else 32
    template = Template.parse("table " + nested(deepest).replace("{{}}", ""))
    value: object = "x"
    for _ in range(deepest):
        value = [value]
    template.render(value)
    template.headings({})


def test_else_if_without_end_is_nesting():
    text = "{{if .}}" + "{{else if .}}" * 10_000 + "{{end}}"
    with within(10), pytest.raises(FormatError, match="nested more than 32 deep"):
        Template.parse(text)


def test_both_kinds_of_nesting_at_once_run():
    inner = "(print " * 32 + "." + ")" * 32
    text = f"{{{{if {inner}}}}}" * 32 + f"{{{{{inner}}}}}" + "{{end}}" * 32
    assert Template.parse(text).render("x") == "x"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "{{" + " . " * 40_000 + "}}",
        "{{" + "$x, " * 30_000 + "}}",
        "{{" + '"' * 120_001,
        "{{/*" + "*/ " * 40_000,
        "{{" + " -" * 60_000,
        "{{" + "`" * 120_001,
        '{{"' + "\\" * 120_001,
        "{{" * 60_000,
        "{{" + "1" * 120_000 + "}}",
        "{{-" + "9" * 5_000 + "}}",
        '{{printf "%2000000s" "x"}}',
        '{{printf "%.' + "9" * 50_000 + 'f" 1.5}}',
        '{{pad "x" 2000000 0}}',
    ],
    ids=range(13),
)
def test_no_template_takes_long_or_much(text):
    with within(10), pytest.raises(FormatError):
        Template.parse(text).render({})


FINE = {"." + "a." * 60_000 + "!": 120_002, '{{printf "' + "%0%" * 40_000 + '"}}': 40_000}


@pytest.mark.slow
@pytest.mark.parametrize(("text", "size"), FINE.items(), ids=range(2))
def test_what_is_only_long_is_rendered(text, size):
    with within(10):
        assert len(Template.parse(text).render({})) == size


@pytest.mark.parametrize(
    "text",
    ["1" * 120_000, "1" * 4301, "." * 120_000, "1h" * 60_000, "9" * 400 + "h", "1." * 60_000],
)
def test_no_filter_and_no_size_takes_long(text):
    with within(10):
        with pytest.raises(click.UsageError) as caught:
            parse_filters([f"until={text}"])
        assert len(caught.value.message) < 200
        with pytest.raises(click.UsageError) as caught:
            parse_size(text, "--size")
        assert len(caught.value.message) < 200
