"""``ocitool run``."""

from __future__ import annotations

import sys

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.completion_values import files, images, networks
from ocitool.cli.lazy import HELP
from ocitool.cli.options import isolation_option, platform_option
from ocitool.cli.output import write_line
from ocitool.cli.text import shortened
from ocitool.errors import ContainerError, OcitoolError


@click.command(
    name="run",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("image", metavar="IMAGE", shell_complete=images)
@click.argument("args", nargs=-1, metavar="[COMMAND] [ARG...]", type=click.UNPROCESSED,
                shell_complete=files)  # fmt: skip
@click.option("--rm", "remove", is_flag=True, help="Remove the container when it exits (required)")
@click.option("-i", "--interactive", is_flag=True, help="Keep stdin open")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Allocate a pseudo-TTY")
@click.option(
    "-e",
    "--env",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Environment variable; without VALUE, taken from the environment",
)
@click.option("-v", "--volume", "volumes", multiple=True, metavar="SOURCE:TARGET[:ro]",
              help="Bind mount a file or directory of the host")  # fmt: skip
@click.option("--tmpfs", multiple=True, metavar="PATH[:OPTIONS]", help="Mount a tmpfs at PATH")
@click.option(
    "-w", "--workdir", default="", metavar="DIR", help="Working directory inside the container"
)
@click.option(
    "-u", "--user", default="", metavar="USER[:GROUP]", help="User and group, as names or IDs"
)
@click.option(
    "--entrypoint",
    metavar="PROGRAM",
    help="Overwrite the ENTRYPOINT of the image; '' removes it",
)
@click.option("-h", "--hostname", default="", metavar="NAME", help="Host name of the container")
@click.option("--name", default="", metavar="NAME", help="Name of the container")
@click.option("--network", "--net", default="host", show_default=True, metavar="host|none",
              shell_complete=networks, help="Network of the container")  # fmt: skip
@click.option("--read-only", is_flag=True, help="Mount the root file system read-only")
@click.option(
    "--init", is_flag=True, help="Run an init as PID 1 that forwards signals and reaps processes"
)
@platform_option
@isolation_option
@click.help_option("--help", help=HELP)
@pass_app
def command(
    app: App,
    image: str,
    args: tuple[str, ...],
    remove: bool,
    interactive: bool,
    terminal: bool,
    env: tuple[str, ...],
    volumes: tuple[str, ...],
    tmpfs: tuple[str, ...],
    workdir: str,
    user: str,
    entrypoint: str | None,
    hostname: str,
    name: str,
    network: str,
    platform: str | None,
    read_only: bool,
    init: bool,
) -> int:
    """Run a command in a new container

    The container runs in the foreground.  The exit code is that of COMMAND; 125 if the container
    could not be created, 126 if COMMAND cannot be executed, 127 if COMMAND is not found.
    """
    from ocitool.containers.lifecycle import run
    from ocitool.containers.options import RunOptions, parse_network

    if not remove:
        raise ContainerError("running a container without --rm is not supported", hint="add --rm")
    if terminal and interactive and not sys.stdin.isatty():
        raise ContainerError("the input device is not a TTY", hint="remove --tty")
    options = RunOptions(
        image=image,
        args=args,
        env=env,
        volumes=volumes,
        tmpfs=tmpfs,
        workdir=workdir,
        user=user,
        entrypoint=entrypoint,
        hostname=hostname,
        name=name,
        network=parse_network(network),
        read_only=read_only,
        interactive=interactive,
        terminal=terminal,
        init=init,
        platform=platform or "",
    )
    try:
        with app.progress() as sink, app.store(sink) as store:
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
