"""The ``ocitool`` command: global options and the table of commands."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final, NoReturn

import click

from ocitool import __version__
from ocitool.cli.app import App
from ocitool.cli.commands.table import COMMANDS, GROUPS, hidden
from ocitool.cli.completion.values import directories, drivers
from ocitool.cli.errors import INTERRUPTED, run_guarded
from ocitool.cli.lazy import LazyGroup, help_option
from ocitool.cli.options.before_command import before_command, is_debug
from ocitool.cli.unsupported import UNSUPPORTED

_COMMANDS: Final = {
    **COMMANDS,
    **GROUPS,
    "bud": hidden("build"),  # buildah's names
    "build-using-dockerfile": hidden("build"),
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

    As PID 1 of a container it would ignore them otherwise.  They are unblocked: a mask is inherited
    from whoever waits for signals in a thread, such as a server of CI jobs.
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
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


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
