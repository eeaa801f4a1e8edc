"""Options of containers: of ``run``, and those of ``build`` for the containers of RUN.

Parameters are named as the fields of `RunOptions` and `BuildOptions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ocitool.cli.completion.values import files, networks, pull_policies
from ocitool.cli.lazy import usage_errors
from ocitool.cli.options.shared import comma_separated, parse_size

_Command = TypeVar("_Command", bound=Callable[..., Any])


class RunCommand(click.Command):
    """A command whose usage errors end with docker's exit code for them."""

    usage_exit_code = 125

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with usage_errors(self.usage_exit_code):
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with usage_errors(self.usage_exit_code):
            return super().invoke(ctx)


def all_of(*decorators: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """Return a decorator that declares these options, in this order in the help."""

    def decorate(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def _labels(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name:
            raise click.BadParameter(f"invalid label {word!r}: the name is empty")
        found[name] = value
    return found


def _or_missing(context: click.Context, parameter: click.Parameter, text: str) -> str:
    return text or "missing"  # as docker's client: an empty value is as none


def _size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    return None if text is None else parse_size(text, parameter.opts[-1])


def _network(context: click.Context, parameter: click.Parameter, text: str) -> Any:
    from ocitool.containers.options import parse_network

    return parse_network(text)


#: Of ``run`` and of ``build``, as the next.
rights = all_of(
    click.option("--cap-add", multiple=True, metavar="NAME", callback=comma_separated,
                 help="Linux capability to add, or ALL"),
    click.option("--cap-drop", multiple=True, metavar="NAME", callback=comma_separated,
                 help="Linux capability to drop, or ALL"),
    click.option("--security-opt", "security_opts", multiple=True, metavar="OPTION",
                 help="Security option: no-new-privileges[:BOOL] or seccomp=unconfined"),
)  # fmt: skip

surroundings = all_of(
    click.option("--add-host", "add_hosts", multiple=True, metavar="HOST:IP",
                 callback=comma_separated, help="Add a line to /etc/hosts"),
    click.option("--shm-size", metavar="BYTES", callback=_size,
                 help="Size of /dev/shm  [default: 64m]"),
    click.option("--ulimit", "ulimits", multiple=True, metavar="NAME=SOFT[:HARD]",
                 callback=comma_separated, help="Resource limit of the command"),
)  # fmt: skip

contents = all_of(
    click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]",
                 help="Environment variable; without VALUE, taken from the environment"),
    click.option("--env-file", "env_files", multiple=True, metavar="FILE", shell_complete=files,
                 help="File with one environment variable per line"),
    click.option("-v", "--volume", "volumes", multiple=True, metavar="[SOURCE:]TARGET[:OPTIONS]",
                 help="Bind mount a file or directory of the host; options are ro, z and Z."
                      "  Without SOURCE, a volume that is removed with the container"),
    click.option("--mount", "mounts", multiple=True, metavar="KEY=VALUE[,...]",
                 help="Mount: type=bind,source=PATH,target=PATH[,readonly], type=tmpfs, or"
                      " type=volume without a source"),
    click.option("--tmpfs", multiple=True, metavar="PATH[:OPTIONS]", help="Mount a tmpfs at PATH"),
    click.option("--read-only", is_flag=True, help="Mount the root file system read-only"),
)  # fmt: skip

process = all_of(
    click.option("-w", "--workdir", default="", metavar="DIR",
                 help="Working directory inside the container"),
    click.option("-u", "--user", default="", metavar="USER[:GROUP]",
                 help="User and group of the command, as names or IDs"),
    click.option("--group-add", "groups", multiple=True, metavar="GROUP",
                 help="Additional group of the user, as a name or an ID"),
    click.option("--entrypoint", metavar="PROGRAM",
                 help="Overwrite the ENTRYPOINT of the image; '' removes it"),
    click.option("--init", is_flag=True,
                 help="Run an init as PID 1 that forwards signals and reaps processes"),
    rights,
)  # fmt: skip

identity = all_of(
    click.option("-h", "--hostname", default="", metavar="NAME", help="Host name of the container"),
    click.option("--name", default="", metavar="NAME", help="Name of the container"),
    click.option("-l", "--label", "labels", multiple=True, metavar="KEY[=VALUE]", callback=_labels,
                 help="Label of the container while it runs"),
    click.option("--cidfile", default="", metavar="FILE", shell_complete=files,
                 help="Write the container ID to FILE, which must not exist"),
    click.option("--network", "--net", default="default", show_default=True,
                 metavar="default|private|host|none", callback=_network,
                 shell_complete=networks,
                 help="Network of the container; 'default' is 'private' if it is supported,"
                      " otherwise 'host'  [env: OCITOOL_NETWORK]"),
    click.option("--dns", multiple=True, metavar="IP", callback=comma_separated,
                 help="Name server instead of the host's"),
)  # fmt: skip

image = all_of(
    click.option("--pull", default="missing", callback=_or_missing, shell_complete=pull_policies,
                 metavar="[always|missing|never]", show_default=True,
                 help="When to pull the image"),
    click.option("--platform", default="", metavar="OS/ARCH[/VARIANT]",
                 envvar="DOCKER_DEFAULT_PLATFORM",
                 help="Platform of the image  [env: DOCKER_DEFAULT_PLATFORM]  [default: this"
                      " machine's]"),
    click.option("-q", "--quiet", is_flag=True, help="Do not show the progress of a pull"),
)  # fmt: skip
