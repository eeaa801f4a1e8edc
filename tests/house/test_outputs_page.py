"""docs/outputs.md has a row for each type and attribute of --output, and the tests that try it."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ocitool.builder.outputs import output
from ocitool.cli.build_options import outputs
from ocitool.cli.commands.build import command

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/outputs.md").read_text(encoding="utf-8")


def rows(section: str) -> dict[str, str]:
    """The rows of a section's table: the first column, and the file of tests."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return dict(
        re.findall(r"^\| (`[^|]*(?:\\\|[^|]*)*) \|.*\| `(\w+\.py)` \|$", text, re.MULTILINE)
    )


def text_of(name: str) -> str:
    return (TOP / "tests/unit/builder" / name).read_text(encoding="utf-8")


def declared() -> list[click.Parameter]:
    """The options of the module that is about outputs."""

    def function() -> None:
        return None

    outputs.exports(outputs.form(function))
    found: list[click.Parameter] = function.__click_params__  # type: ignore[attr-defined]
    return found


def test_each_type_has_a_row_and_its_tests() -> None:
    table = {kind: name for first, name in rows("Types").items()
             for kind in re.findall(r"type=(\w+)", first)}  # fmt: skip
    assert table.keys() - {"push"} == output._TYPES.keys()
    assert all(f"type={kind}" in text_of(name) for kind, name in table.items())


def test_each_attribute_has_a_row_and_its_tests() -> None:
    table = {re.split("[`=]", first)[1]: name for first, name in rows("Attributes").items()}
    annotations = {key for key in table if key.startswith("annotation")}
    assert table.keys() - annotations == output._ATTRIBUTES.keys() and len(annotations) == 2
    wrong = [key for key, name in table.items() if key.removesuffix("KEY") not in text_of(name)]
    assert wrong == []


def test_each_option_has_a_row_and_its_tests() -> None:
    parameters = {name: each.name for each in command.params for name in each.opts}
    table = {option: name for first, name in rows("Options").items()
             for option in re.findall(r"--[\w-]+", first)}  # fmt: skip
    given = {each.name for each in declared()}
    assert given - {"outputs"} <= {parameters[option] for option in table}
    wrong = [o for o, n in table.items() if f"{parameters[o]}=" not in text_of(n)
             and f'"{parameters[o]}"' not in text_of(n)]  # fmt: skip
    assert wrong == []
