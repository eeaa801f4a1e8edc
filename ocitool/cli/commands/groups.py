"""``image``, ``container``, ``builder``, ``system`` and ``registry``: commands by their subject.

Most are other names of commands that stand by themselves, as in docker: ``image ls`` is ``images``.
"""

from __future__ import annotations

from typing import Final

import click

from ocitool.cli.lazy import Entry, LazyGroup
from ocitool.cli.options.shared import debug_option
from ocitool.cli.unsupported import BUILDER, BUILDX, CONTAINER, SYSTEM

_PACKAGE: Final = "ocitool.cli.commands"
_BUILD: Final = Entry(f"{_PACKAGE}.build:command", "Build an image from a Dockerfile")
_LIST: Final = Entry(f"{_PACKAGE}.images:images", "List images")
_REMOVE: Final = Entry(f"{_PACKAGE}.images:rmi", "Remove images")


@click.group(
    cls=LazyGroup,
    table={
        "build": _BUILD,
        "history": Entry(f"{_PACKAGE}.images:history", "Show the history of an image"),
        "import": Entry(f"{_PACKAGE}.archives:import_", "Import a tar archive to create an image"),
        "inspect": Entry(f"{_PACKAGE}.images:inspect", "Display detailed information on images"),
        "list": _LIST._replace(hidden=True),
        "load": Entry(f"{_PACKAGE}.archives:load", "Load images from a tar archive or stdin"),
        "ls": _LIST,
        "prune": Entry(f"{_PACKAGE}.prune:images", "Remove unused images"),
        "pull": Entry(f"{_PACKAGE}.registry:pull", "Pull an image from a registry"),
        "push": Entry(f"{_PACKAGE}.registry:push", "Push an image to a registry"),
        "remove": _REMOVE._replace(hidden=True),
        "rm": _REMOVE,
        "save": Entry(f"{_PACKAGE}.archives:save", "Save images to a tar archive"),
        "tag": Entry(f"{_PACKAGE}.images:tag", "Add a name to an image"),
    },
)
def image() -> None:
    """Manage images"""


@click.group(
    cls=LazyGroup,
    table={"run": Entry(f"{_PACKAGE}.run:command", "Run a command in a new container")},
    unsupported=CONTAINER,
)
def container() -> None:
    """Run containers"""


@click.group(
    cls=LazyGroup,
    table={
        "build": _BUILD,
        "prune": Entry(f"{_PACKAGE}.prune:build_cache", "Remove the build cache"),
    },
    unsupported=BUILDER,
)
def builder() -> None:
    """Manage builds"""


@click.group(
    cls=LazyGroup,
    table={
        "b": _BUILD._replace(hidden=True),
        "build": _BUILD,
        "prune": Entry(f"{_PACKAGE}.prune:build_cache", "Remove the build cache"),
    },
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
        "info": Entry(f"{_PACKAGE}.system:info", "Display system-wide information"),
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
