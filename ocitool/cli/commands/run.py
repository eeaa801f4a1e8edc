"""``ocitool run``."""

from __future__ import annotations

import sys

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.output import write_line
from ocitool.cli.text import shortened
from ocitool.errors import ContainerError, OcitoolError


@click.command(
    name="run",
    short_help="Run a command in a new container.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("image", metavar="IMAGE")
@click.argument("args", nargs=-1, metavar="[COMMAND] [ARG...]", type=click.UNPROCESSED)
@click.option("--rm", "remove", is_flag=True, help="Remove the container when it ends; needed.")
@click.option("-i", "--interactive", is_flag=True, help="Keep stdin open.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Give it a terminal.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable.")
@click.option("-v", "--volume", "volumes", multiple=True, metavar="SOURCE:TARGET[:ro]",
              help="Mount a file or directory of the host.")  # fmt: skip
@click.option("--tmpfs", multiple=True, metavar="PATH[:OPTIONS]", help="Mount a tmpfs.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="The working directory.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Names or ids.")
@click.option("--entrypoint", metavar="PROGRAM", help="Instead of the image's; '' for none.")
@click.option("-h", "--hostname", default="", metavar="NAME", help="The container's host name.")
@click.option("--name", default="", metavar="NAME", help="The container's name.")
@click.option("--network", "--net", default="host", show_default=True, metavar="host|none",
              help="The host's network, or none at all.")  # fmt: skip
@click.option("--read-only", is_flag=True, help="Mount the root file system read-only.")
@click.option("--init", is_flag=True, help="Let process 1 be one that reaps and forwards signals.")
@click.help_option("--help")
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
    read_only: bool,
    init: bool,
) -> int:
    """Run COMMAND in a new container of IMAGE, in the foreground.

    Exits with the command's own code; 125 if the container could not be made, 126 if the command
    cannot be executed, 127 if it is not there.
    """
    from ocitool.containers.lifecycle import run
    from ocitool.containers.options import RunOptions

    if not remove:
        raise ContainerError("containers cannot be kept yet", hint="add --rm")
    if terminal and interactive and not sys.stdin.isatty():
        raise ContainerError("the input device is not a TTY", hint="leave out -t")
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
        network=network,
        read_only=read_only,
        interactive=interactive,
        terminal=terminal,
        init=init,
    )
    try:
        with app.progress() as sink, app.store(sink) as store:
            done = run(options, store=store, progress=sink)
    except OcitoolError as error:
        error.exit_code = 125  # docker's: nothing of the container ran
        raise
    except BrokenPipeError:  # who reads the progress has gone
        raise
    except OSError as error:
        raise ContainerError(f"cannot be made: {error}") from error
    if done.error:
        write_line(shortened(f"ocitool: {done.error}"), sys.stderr)
    return done.code
