"""Writes ``docs/cli.md`` from the commands' own help.

The pages are made for a terminal of 80 columns, whatever the one at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 80
HEAD = """\
# The command line

Made from the commands' own help by `make docs`; do not edit.
"""


def program() -> click.Group:
    """Return the root of the commands: the group of ``ocitool.cli.main`` that is in no other."""
    from ocitool.cli import main

    groups = [value for value in vars(main).values() if isinstance(value, click.Group)]
    inner = [command for group in groups for command in group.commands.values()]
    roots = [group for group in groups if group not in inner]
    if len(roots) != 1:
        raise LookupError(f"ocitool.cli.main holds {len(roots)} roots of commands, not one")
    return roots[0]


def helps() -> dict[str, str]:
    """Return the help of every command that is not hidden, ``ocitool image`` -> text, once.

    What is in several groups has the shortest of its names.
    """
    found: dict[str, str] = {}
    seen: set[int] = set()
    level: list[Named] = [(program(), None, "ocitool")]
    while level:
        contexts = [_context(*each) for each in level if id(each[0]) not in seen]
        seen.update(id(context.command) for context in contexts)
        found |= {each.command_path: f"{each.get_help().rstrip()}\n" for each in contexts}
        level = [inner for context in contexts for inner in _inner(context)]
    return dict(sorted(found.items()))


Named = tuple[click.Command, click.Context | None, str]


def _context(command: click.Command, parent: click.Context | None, name: str) -> click.Context:
    return click.Context(
        command, parent=parent, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH
    )


def _inner(context: click.Context) -> Iterator[Named]:
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            if found is not None and not found.hidden:
                yield found, context, name


def page() -> str:
    """Return the whole page."""
    parts = (f"\n## {path}\n\n```text\n{text}```\n" for path, text in helps().items())
    return HEAD + "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
