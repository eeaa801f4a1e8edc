"""``image``, ``container``, ``builder``, ``system`` and ``registry``: commands by their subject.

Most are other names of commands that stand by themselves, as in docker: ``image ls`` is ``images``.
"""

from __future__ import annotations

from typing import Final

import click

from ocitool.cli.commands.table import COMMANDS, hidden, named
from ocitool.cli.lazy import Entry, LazyGroup
from ocitool.cli.options.shared import debug_option
from ocitool.cli.unsupported import BUILDER, BUILDX, CONTAINER, SYSTEM

_PACKAGE: Final = "ocitool.cli.commands"
_PRUNE_BUILDS: Final = Entry(f"{_PACKAGE}.prune:build_cache", "Remove the build cache")


@click.group(
    cls=LazyGroup,
    table={
        **named("build", "history", "import", "inspect", "load", "pull", "push", "save", "tag"),
        "list": hidden("images"),
        "ls": COMMANDS["images"],
        "prune": Entry(f"{_PACKAGE}.prune:images", "Remove unused images"),
        "remove": hidden("rmi"),
        "rm": COMMANDS["rmi"],
    },
)
def image() -> None:
    """Manage images"""


@click.group(
    cls=LazyGroup,
    table=named("run"),
    unsupported=CONTAINER,
)
def container() -> None:
    """Run containers"""


@click.group(
    cls=LazyGroup,
    table={**named("build"), "prune": _PRUNE_BUILDS},
    unsupported=BUILDER,
)
def builder() -> None:
    """Manage builds"""


@click.group(
    cls=LazyGroup,
    table={"b": hidden("build"), **named("build"), "prune": _PRUNE_BUILDS},
    unsupported=BUILDX,
)
@debug_option
def buildx() -> None:
    """Build images, as docker's plugin of this name"""


@click.group(
    cls=LazyGroup,
    table={
        "check": Entry(f"{_PACKAGE}.system:check", "Check the integrity of the store"),
        "df": Entry(f"{_PACKAGE}.system:df", "Show disk usage"),
        **named("info"),
        "prune": Entry(f"{_PACKAGE}.prune:everything", "Remove unused data"),
        "reset": Entry(f"{_PACKAGE}.prune:reset", "Remove the store with everything in it"),
    },
    unsupported=SYSTEM,
)
def system() -> None:
    """Manage storage"""


@click.group(
    cls=LazyGroup,
    table={"serve": Entry(f"{_PACKAGE}.registry:serve", "Start a registry server")},
)
def registry() -> None:
    """Run a registry server"""
