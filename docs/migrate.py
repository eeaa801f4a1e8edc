"""Writes ``docs/migrate.md``: options of other builders beside ours.

The options are in ``testdata/migrate.yaml``.  Whether one is supported, and why not, is what the
commands say of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import yaml

PAGE = Path(__file__).with_name("migrate.md")
TABLE = PAGE.parents[1] / "testdata/migrate.yaml"
HEAD = """\
# Moving from docker, buildah and kaniko

Made from `testdata/migrate.yaml` and the commands by `make docs`; do not edit.

`ocitool build` takes the options of `docker build`, `docker buildx build` and `buildah build`,
`ocitool kaniko-executor` those of kaniko's executor; [ci.md](ci.md#from-kaniko) has a recipe for
its users. These are `ocitool build`, too: `ocitool buildx build`, `builder build`, `image build`,
`bud` and `build-using-dockerfile`. No option is accepted and ignored silently: "accepted" means
that the result is the same without it, and what is not supported is an error that says what to
use. Differences of the language: [dockerfile.md](dockerfile.md). `testdata/ci-calls.yaml` has calls
of CI files that a test tries.
"""
#: Which command of ours takes the options of a builder, if not `build`; "": before the command.
COMMANDS = {
    "/kaniko/executor": "kaniko-executor",
    "docker [OPTIONS]": "",
    "docker buildx [OPTIONS]": "buildx",
    "buildah [OPTIONS]": "",
    "podman [OPTIONS]": "",
}
#: Tables of the page that are no builder's, with their titles.
TABLES = {
    "output": "Output and exit codes",
    "variables": "Variables of the environment",
    "files": "Files of configuration",
}


@dataclass(frozen=True)
class Row:
    """An option of another builder."""

    names: tuple[str, ...]  # ("-f", "--file")
    words: tuple[str, ...]  # of a call
    note: str  # what is different here
    refusal: str | None  # why it is not supported; None: it is

    @property
    def ours(self) -> str:
        """What the page says of it."""
        if self.refusal is not None:
            return f"not supported: {self.refusal}"
        return self.note or "the same"


def rows(builder: str) -> list[Row]:
    """Return the options of *builder*, sorted by their long names."""
    from ocitool.cli.main import cli
    from ocitool.cli.unsupported import OPTIONS

    name = COMMANDS.get(builder, "build")
    command = cli.get_command(click.Context(cli), name) if name else cli
    assert command is not None and command.name is not None
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    found = []
    for written, value in _table()[builder].items():
        names = tuple(written.split(", "))  # the last is the one to use
        words, note = value if isinstance(value, list) else (value, "")
        missing = [each for each in names if each not in known]
        refusal = OPTIONS[command.name].get(names[-1]) if missing else None
        if missing and refusal is None:
            raise LookupError(f"{builder} {written}: neither supported nor refused by name")
        found.append(Row(names, tuple(words.split()), note, refusal))
    return sorted(found, key=lambda row: row.names[-1].lower())


def builders() -> list[str]:
    """Return the names of the other builders, as commands."""
    return [name for name in _table() if name not in TABLES]


def variables() -> dict[str, str]:
    """Return what becomes of variables of the environment, by name."""
    return dict(_table()["variables"])


def call(builder: str, words: Sequence[str]) -> list[str]:
    """Return a call of ocitool that has *words* where *builder* takes them."""
    if builder.endswith("[OPTIONS]"):
        return [*filter(None, [COMMANDS[builder]]), *words, "build"]
    return [COMMANDS.get(builder, "build"), *words]


def page() -> str:
    """Return the whole page."""
    options = (line for builder in builders() for line in _section(builder))
    return "".join((HEAD, *options, *map(_further, TABLES)))


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Any] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return found


def _section(builder: str) -> Iterator[str]:
    name = COMMANDS.get(builder, "build")
    ours = " ".join(filter(None, ("ocitool", name)))
    yield f"\n## {builder}\n\n| option | `{ours}` |\n|---|---|\n"
    for row in rows(builder):
        names = ", ".join(f"`{each}`" for each in row.names)
        yield f"| {names} | {row.ours} |\n"


def _further(name: str) -> str:
    rows = (f"| {each} | {text} |\n" for each, text in _table()[name].items())
    return f"\n## {TABLES[name]}\n\n| | `ocitool` |\n|---|---|\n{''.join(rows)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
