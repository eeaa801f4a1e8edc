"""The command ``ocitool``: global options, and the table of commands."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

import click

from ocitool import __version__
from ocitool.cli.app import App
from ocitool.cli.errors import run_guarded
from ocitool.cli.lazy import LazyGroup

_HERE: Final = "ocitool.cli.commands"
_COMMANDS: Final = {
    "build": (f"{_HERE}.build:command", "Build an image from a Dockerfile."),
    "completion": (f"{_HERE}.completion:command", "Print the shell's completion script."),
    "export": (f"{_HERE}.archives:export", "Write an image's file system as a tar."),
    "history": (f"{_HERE}.images:history", "Show the steps that made an image."),
    "images": (f"{_HERE}.images:images", "List images."),
    "import": (f"{_HERE}.archives:import_", "Make an image of a tar of a file system."),
    "info": (f"{_HERE}.system:info", "Show what is used here, and why."),
    "inspect": (f"{_HERE}.images:inspect", "Show everything about images."),
    "load": (f"{_HERE}.archives:load", "Load images from an archive."),
    "login": (f"{_HERE}.registry:login", "Log in to a registry."),
    "logout": (f"{_HERE}.registry:logout", "Log out of a registry."),
    "pull": (f"{_HERE}.registry:pull", "Bring an image from a registry."),
    "push": (f"{_HERE}.registry:push", "Send an image to a registry."),
    "registry": (f"{_HERE}.registry:registry", "Be a registry."),
    "rmi": (f"{_HERE}.images:rmi", "Remove images."),
    "run": (f"{_HERE}.run:command", "Run a command in a new container."),
    "save": (f"{_HERE}.archives:save", "Save images to an archive."),
    "system": (f"{_HERE}.system:system", "Look after the store."),
    "tag": (f"{_HERE}.images:tag", "Give an image another name."),
    "version": (f"{_HERE}.system:version", "Show the version."),
}


@click.group(
    cls=LazyGroup,
    table=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--root", metavar="DIR", help="The store's directory.  [env: OCITOOL_ROOT]")
@click.option("--driver", metavar="NAME", help="The storage driver.  [env: OCITOOL_DRIVER]")
@click.option(
    "--shared-stores", metavar="DIR[:DIR...]",
    help="Stores of others to use, too, never changed.  [env: OCITOOL_SHARED_STORES]",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show details, and tracebacks of errors.")
@click.version_option(__version__, "-v", "--version", message="ocitool version %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    root: str | None,
    driver: str | None,
    shared_stores: str | None,
    debug: bool,
) -> None:
    """Build, store, move and run OCI images without a daemon."""
    context.obj = App(root=root, driver=driver, debug=debug, shared_stores=shared_stores)


def _open_streams() -> None:
    """Let closed standard streams lead nowhere: the next file to be opened would take their place.

    Which of them are closed is the caller's doing (``>&-``, some cron and init systems).
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(free, True)
    os.close(free)
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


def main() -> NoReturn:
    """Run the command line and exit."""
    _open_streams()
    debug = "--debug" in sys.argv
    code = run_guarded(lambda: cli.main(prog_name="ocitool", standalone_mode=False), debug=debug)

    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
