"""The ``ocitool`` command: global options and the table of commands."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final, NoReturn

import click

from ocitool import __version__
from ocitool.cli.app import App
from ocitool.cli.completion.values import directories, drivers
from ocitool.cli.errors import INTERRUPTED, run_guarded
from ocitool.cli.lazy import Entry, LazyGroup, help_option
from ocitool.cli.options.before_command import before_command, is_debug
from ocitool.cli.unsupported import UNSUPPORTED

_PACKAGE: Final = "ocitool.cli.commands"
_BUILD: Final = Entry(f"{_PACKAGE}.build:command", "Build an image from a Dockerfile")
_COMMANDS: Final = {
    "build": _BUILD,
    "bud": _BUILD._replace(hidden=True),  # buildah's names
    "build-using-dockerfile": _BUILD._replace(hidden=True),
    "builder": Entry(f"{_PACKAGE}.groups:builder", "Manage builds"),
    "buildx": Entry(f"{_PACKAGE}.groups:buildx", "Build images", hidden=True),
    "completion": Entry(f"{_PACKAGE}.completion:command", "Print a shell completion script"),
    "container": Entry(f"{_PACKAGE}.groups:container", "Run containers"),
    "export": Entry(
        f"{_PACKAGE}.archives:export", "Export the root file system of an image as a tar archive"
    ),
    "help": Entry(f"{_PACKAGE}.help:command", "Show the help of a command"),
    "history": Entry(f"{_PACKAGE}.images:history", "Show the history of an image"),
    "image": Entry(f"{_PACKAGE}.groups:image", "Manage images"),
    "images": Entry(f"{_PACKAGE}.images:images", "List images"),
    "import": Entry(f"{_PACKAGE}.archives:import_", "Import a tar archive to create an image"),
    "info": Entry(f"{_PACKAGE}.system:info", "Display system-wide information"),
    "inspect": Entry(f"{_PACKAGE}.images:inspect", "Display detailed information on images"),
    "kaniko-executor": Entry(
        f"{_PACKAGE}.kaniko:command", "Build and push an image as kaniko's executor"
    ),
    "load": Entry(f"{_PACKAGE}.archives:load", "Load images from a tar archive or stdin"),
    "login": Entry(f"{_PACKAGE}.registry:login", "Log in to a registry"),
    "logout": Entry(f"{_PACKAGE}.registry:logout", "Log out of a registry"),
    "pull": Entry(f"{_PACKAGE}.registry:pull", "Pull an image from a registry"),
    "push": Entry(f"{_PACKAGE}.registry:push", "Push an image to a registry"),
    "registry": Entry(f"{_PACKAGE}.groups:registry", "Run a registry server"),
    "rmi": Entry(f"{_PACKAGE}.images:rmi", "Remove images"),
    "run": Entry(f"{_PACKAGE}.run:command", "Run a command in a new container"),
    "save": Entry(f"{_PACKAGE}.archives:save", "Save images to a tar archive"),
    "system": Entry(f"{_PACKAGE}.groups:system", "Manage storage"),
    "tag": Entry(f"{_PACKAGE}.images:tag", "Add a name to an image"),
    "version": Entry(f"{_PACKAGE}.system:version", "Show version information"),
}


@click.group(
    "ocitool",
    cls=LazyGroup,
    table=_COMMANDS,
    unsupported=UNSUPPORTED,
    context_settings={"max_content_width": 100},
)
@click.option(
    "--root", metavar="DIR", shell_complete=directories,
    help="Storage directory  [env: OCITOOL_ROOT]",
)  # fmt: skip
@click.option(
    "--driver", metavar="NAME", shell_complete=drivers,
    help="Storage driver  [env: OCITOOL_DRIVER]",
)  # fmt: skip
@click.option(
    "--shared-stores", metavar="DIR[:DIR...]", shell_complete=directories,
    help="Additional read-only image stores  [env: OCITOOL_SHARED_STORES]",
)  # fmt: skip
@click.option(
    "--isolation", metavar="NAME",
    help=(
        "Isolation of containers: auto, namespaces, chroot, or the name of a plugin  [env: "
        "OCITOOL_ISOLATION]"
    ),
)  # fmt: skip
@click.option("-D", "--debug", is_flag=True, help="Show debug messages, and tracebacks of errors")
@before_command
@click.version_option(
    __version__, "-v", "--version",
    message="ocitool version %(version)s", help="Show the version and exit",
)  # fmt: skip
@help_option
@click.pass_context
def cli(
    context: click.Context,
    root: str | None,
    driver: str | None,
    shared_stores: str | None,
    isolation: str | None,
    debug: bool,
) -> None:
    """Build, store, distribute and run OCI images without a daemon"""
    context.obj = App(
        root=root,
        driver=driver,
        debug=debug or is_debug(context),
        shared_stores=shared_stores,
        isolation=isolation,
    )


def _open_streams() -> None:
    """Open /dev/null in place of closed standard streams.

    Otherwise the next file to be opened would get the number 0, 1 or 2.  Some callers close
    them (``>&-`` in a shell, some cron and init systems).
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(free, True)
    os.close(free)
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


def _end_as_interrupted(ended: list[int]) -> None:
    """Let SIGTERM and SIGHUP end a command as SIGINT does, so that nothing is left; note them.

    As PID 1 of a container it would ignore them otherwise.
    """

    def end(number: int, _: object) -> None:
        ended.append(number)
        if callable(signal.getsignal(signal.SIGINT)):  # which may defer it
            signal.raise_signal(signal.SIGINT)
        else:
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup(1) ignores SIGHUP
            signal.signal(number, end)


def main() -> NoReturn:
    """Run the command line and exit."""
    _open_streams()
    ended: list[int] = []
    _end_as_interrupted(ended)
    if "_OCITOOL_COMPLETE" in os.environ:
        from ocitool.cli.completion.scripts import register

        register()
    debug = not {"-D", "--debug"}.isdisjoint(sys.argv)
    words = sys.argv[1:]
    if os.path.basename(sys.argv[0]) == "executor":  # of kaniko, by a link
        words = words if words[:1] == ["version"] else ["kaniko-executor", *words]
    code = run_guarded(
        lambda: cli.main(words, prog_name="ocitool", standalone_mode=False), debug=debug
    )

    if code == INTERRUPTED and ended:
        code = 128 + ended[0]
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
