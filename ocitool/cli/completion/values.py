"""What the arguments and options of commands are completed with in a shell.

The functions are ``shell_complete`` of click: they get the beginning of a word.  What fails gives
no candidates: a shell has no place for errors.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from ocitool.errors import FormatError, OcitoolError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def files(
    context: click.Context, parameter: click.Parameter, begin: str
) -> list[CompletionItem[str]]:
    """Let the shell complete a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(begin, type="file")]


def directories(
    context: click.Context, parameter: click.Parameter, begin: str
) -> list[CompletionItem[str]]:
    """Let the shell complete a directory."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(begin, type="dir")]


def images(context: click.Context, parameter: click.Parameter, begin: str) -> list[str]:
    """Return the names of the images in the store, in the short form that begins like the word."""
    from ocitool.oci.reference import Reference
    from ocitool.settings import Settings
    from ocitool.store.directory.layout import Layout
    from ocitool.store.refs import Refs

    given = context.find_root().params
    flags = {name: given.get(name) for name in ("root", "shared_stores")}
    try:
        settings = Settings.load(flags=flags)
        roots = (settings.root, *settings.shared_stores)
        found = [name for root in roots for name, _ in Refs(Layout(root, make=False)).names()]
    except (OcitoolError, OSError):
        return []
    names = set()
    for name in found:
        with contextlib.suppress(FormatError):  # no name, or an invalid one of another tool
            names.add(Reference.parse(name).familiar)
    return sorted(name for name in names if name.startswith(begin))


def drivers(context: click.Context, parameter: click.Parameter, begin: str) -> list[str]:
    """Return the names of the storage drivers."""
    from ocitool.plugins import names

    try:
        known = names("ocitool.drivers")
    except OcitoolError:
        return []
    return [name for name in known if name.startswith(begin)]


def networks(context: click.Context, parameter: click.Parameter, begin: str) -> list[str]:
    """Return the networks that a container may have."""
    from ocitool_runtime.defaults import Network

    return [name.value for name in Network if name.startswith(begin)]


def pull_policies(context: click.Context, parameter: click.Parameter, begin: str) -> list[str]:
    """Return the values of ``--pull``; ``build`` has one more."""
    more = ("newer",) if context.command.name == "build" else ()
    return [name for name in ("always", "missing", *more, "never") if name.startswith(begin)]


def calls(context: click.Context, parameter: click.Parameter, begin: str) -> list[str]:
    """Return the methods of ``--call``."""
    return [
        name
        for name in ("build", "check", "outline", "subrequests.describe", "targets")
        if name.startswith(begin)
    ]


def commands(context: click.Context, parameter: click.Parameter, begin: str) -> list[str]:
    """Return the commands in the group that the words before name."""
    here = context.find_root()
    group = here.command
    for name in context.params.get(parameter.name or "") or ():
        found = group.get_command(here, name) if isinstance(group, click.Group) else None
        if found is None:
            return []
        group = found
    known = group.list_commands(here) if isinstance(group, click.Group) else []
    return [name for name in known if name.startswith(begin)]
