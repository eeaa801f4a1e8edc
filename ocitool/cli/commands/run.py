"""``ocitool run``."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.completion.values import files, images
from ocitool.cli.lazy import HELP
from ocitool.cli.options import containers, resources
from ocitool.cli.options.containers import RunCommand
from ocitool.cli.options.shared import isolation_option
from ocitool.cli.output.output import is_terminal, write_line
from ocitool.cli.output.text import shortened
from ocitool.errors import ContainerError, OcitoolError
from ocitool.progress import Event, ProgressSink, Transfer


class _WithoutUnpacking:
    """A sink that passes on all but the unpacking of layers, which is not what was asked for."""

    def __init__(self, sink: ProgressSink) -> None:
        self._sink = sink

    def emit(self, event: Event) -> None:
        if not (isinstance(event, Transfer) and event.action == "unpack"):
            self._sink.emit(event)


@click.command(
    name="run",
    cls=RunCommand,
    context_settings={"allow_interspersed_args": False},
)
@click.argument("image", metavar="IMAGE", shell_complete=images)
@click.argument("args", nargs=-1, metavar="[COMMAND] [ARG...]", type=click.UNPROCESSED,
                shell_complete=files)  # fmt: skip
@click.option("--rm", "remove", is_flag=True, help="Remove the container when it exits (required)")
@click.option("-i", "--interactive", is_flag=True, help="Keep stdin open")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Allocate a pseudo-TTY")
@containers.contents
@containers.process
@containers.identity
@containers.surroundings
@resources.limits
@resources.pids
@containers.image
@isolation_option
@click.help_option("--help", help=HELP)
@pass_app
def command(app: App, /, remove: bool, quiet: bool, **given: Any) -> int:
    """Run a command in a new container

    The container runs in the foreground.  The exit code is that of COMMAND; 125 if the container
    could not be created, 126 if COMMAND cannot be executed, 127 if COMMAND is not found.
    """
    from ocitool.containers.lifecycle import run
    from ocitool.containers.options import RunOptions

    options = RunOptions(**given)
    if not remove:
        raise ContainerError("running a container without --rm is not supported", hint="add --rm")
    if options.terminal and options.interactive and not os.isatty(0):
        error = ContainerError("the input device is not a TTY", hint="remove --tty")
        error.exit_code = 1  # as docker's client, which has asked no engine for a container yet
        raise error
    try:
        with app.progress("quiet" if quiet else "auto") as renderer:
            sink: ProgressSink = renderer
            if not is_terminal(sys.stderr):
                sink = _WithoutUnpacking(renderer)
            with app.store(sink) as store:
                done = run(options, store=store, progress=sink)
    except OcitoolError as error:
        error.exit_code = 125  # as docker: the container was not started
        raise
    except BrokenPipeError:  # the reader of the progress is gone
        raise
    except OSError as error:
        raise ContainerError(f"cannot create the container: {error}") from error
    if done.error:
        write_line(shortened(f"Error: {done.error}"), sys.stderr)
    return done.code
