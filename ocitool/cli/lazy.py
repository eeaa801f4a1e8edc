"""A command group that imports a command when it is called, and no other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from ocitool.cli.options.goflags import normalized
from ocitool.cli.output.output import OutputGone
from ocitool.cli.unsupported import OPTIONS
from ocitool.errors import OcitoolError


@contextlib.contextmanager
def _broken_pipes_raised() -> Iterator[None]:
    """Raise `OutputGone` for a broken pipe, since click would exit with 1 for it."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputGone from error


@contextlib.contextmanager
def usage_errors(code: int) -> Iterator[None]:
    """Give usage errors this exit code."""
    try:
        yield
    except click.UsageError as error:
        vars(error)["exit_code"] = code  # click's is that of the class
        raise


@contextlib.contextmanager
def _options_refused_with_reason() -> Iterator[None]:
    """Say why an option of docker is not supported here, instead of suggesting a similar name."""
    try:
        yield
    except click.NoSuchOption as error:
        name = error.ctx.command.name if error.ctx is not None else None
        why = OPTIONS.get(name or "", {}).get(error.option_name)
        text = f"{error.option_name} is not supported: {why}" if why else _misplaced(error)
        if not text:
            vars(error)["possibilities"] = _shown(error)
            raise
        with usage_errors(error.exit_code):
            raise click.UsageError(text, error.ctx) from None


def _misplaced(error: click.NoSuchOption) -> str:
    """Say where to write an option of `ocitool` itself that was written after the command."""
    if error.ctx is None:
        return ""
    root = error.ctx.find_root()
    for each in root.command.params:
        if isinstance(each, click.Option) and error.option_name in each.opts and not each.hidden:
            value = "" if each.is_flag else f" {each.make_metavar(root)}"
            command = error.ctx.command_path.removeprefix(f"{root.command_path} ")
            usage = f"{root.command_path} {error.option_name}{value} {command}"
            return f"{error.option_name} must be before the command: {usage}"
    return ""


def _shown(error: click.NoSuchOption) -> list[str]:
    """Return the options that are suggested: only those that the command's help shows."""
    command = error.ctx.command if error.ctx is not None else None
    hidden = {
        name
        for each in (command.params if command is not None else ())
        if isinstance(each, click.Option) and each.hidden
        for name in each.opts
    }
    return [name for name in error.possibilities or () if name not in hidden]


#: click's own text ends with a full stop, unlike those of docker and podman.
HELP: Final = "Show this message and exit"
help_option = click.help_option("-h", "--help", help=HELP)


class Entry(NamedTuple):
    """One command of a `LazyGroup`; with a *hidden* name it is not listed."""

    target: str  # "module:attribute"
    short_help: str
    hidden: bool = False


class LazyGroup(click.Group):
    """A command group whose *table* says where each command is: ``name -> Entry``.

    The table has the short help, so that listing the commands imports none of them.
    *unsupported* are commands of docker that are not supported: ``name -> why``.
    """

    def __init__(
        self,
        *args: Any,
        table: Mapping[str, Entry],
        unsupported: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._table = table
        self._unsupported = unsupported or {}

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _broken_pipes_raised(), _options_refused_with_reason():
            return super().make_context(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if ctx.resilient_parsing else normalized(self, args))

    def invoke(self, ctx: click.Context) -> Any:
        with _broken_pipes_raised(), _options_refused_with_reason():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(name for name, entry in self._table.items() if not entry.hidden)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return None
        entry = self._table[cmd_name]
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        command.short_help = entry.short_help
        _add_help_option(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing:
            self._require_known(ctx, args[0])
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            with usage_errors(getattr(command, "usage_exit_code", click.UsageError.exit_code)):
                rest = normalized(command, rest)
        return name, command, rest

    def _require_known(self, ctx: click.Context, name: str) -> None:
        """Refuse a command that there is not: with the reason, or with a similar name."""
        if name in self._table or name.startswith("-"):
            return
        if name in self._unsupported:
            path = f"{ctx.command_path} {name}".partition(" ")[2]
            raise OcitoolError(f"{path!r} is not supported: {self._unsupported[name]}")
        from difflib import get_close_matches

        near = get_close_matches(name, [*self._table, *self._unsupported], n=1)
        hint = f"; did you mean {near[0]!r}?" if near and near[0] in self._table else ""
        raise click.UsageError(f"unknown command: {ctx.command_path} {name}{hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._table[name].short_help) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _add_help_option(command: click.Command) -> None:
    """Add the help option to *command* and its subcommands, except where it is defined."""
    if not any("--help" in option.opts for option in command.params):
        help_option(command)
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            _add_help_option(subcommand)
