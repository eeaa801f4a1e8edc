"""``ocitool help``."""

from __future__ import annotations

import click

from ocitool.cli.completion.values import commands
from ocitool.cli.output.output import write
from ocitool.errors import NotFound


@click.command(name="help")
@click.argument("names", nargs=-1, metavar="[COMMAND...]", shell_complete=commands)
@click.pass_context
def command(context: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command"""
    here = context.find_root()
    for name in names:
        group = here.command
        found = group.get_command(here, name) if isinstance(group, click.Group) else None
        if found is None:
            raise NotFound(f"no help for {' '.join(names)!r}: there is no such command")
        here = click.Context(found, parent=here, info_name=name)
    write(here.get_help() + "\n")
