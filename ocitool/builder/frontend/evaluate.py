"""The instructions of one stage, evaluated: a function for each kind.

Instructions that only change the configuration are applied at once, also for ``import --change``;
those that make a layer become vertices: see `steps`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ocitool.builder.checks import instructions as checks
from ocitool.builder.checks.linter import Linter
from ocitool.builder.checks.options import CheckOptions
from ocitool.builder.checks.rules import RULES
from ocitool.builder.checks.syntax import no_empty_continuation
from ocitool.builder.definition import HistoryEntry, Surroundings
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.expansion.expand import expand_raw, split_words
from ocitool.builder.dockerfile.expansion.variables import Variables
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.lines.split import split
from ocitool.builder.dockerfile.parser import Dockerfile, parse_lines
from ocitool.builder.dockerfile.values import Port, parse_stop_signal
from ocitool.builder.entitlements import Entitlements
from ocitool.builder.frontend import history
from ocitool.builder.frontend.outline import Argument, Used
from ocitool.builder.frontend.variables import Scope
from ocitool.errors import DockerfileError, FormatError
from ocitool.oci.config import ImageConfig, RunConfig
from ocitool.oci.limits import CONFIG
from ocitool.oci.platform import WINDOWS, Platform, this_platform

_MOST_PORTS = 3 * 65536  # each of each protocol
_SHELL = ("/bin/sh", "-c")
_SHELL_OF_WINDOWS = ("cmd", "/S", "/C")


def absolute(path: str, directory: str = "/") -> str:
    """Return *path* as seen from *directory*, without dots."""
    joined = posixpath.normpath(posixpath.join(directory, path))
    return "/" + joined.lstrip("/")


@dataclass(slots=True)
class StageState:
    """The state of a stage at one line."""

    file: Dockerfile
    linter: Linter
    ignored: Callable[[str], str]  # see `frontend.Arguments`
    scope: Scope
    platform: Platform
    run: RunConfig  # without the environment, which is the scope's: see `config`
    span: Span  # the instruction that is evaluated
    vertex: int = 0  # whose file system the stage has now
    around: Surroundings = field(default_factory=Surroundings)  # of each RUN
    entitlements: Entitlements = field(default_factory=Entitlements)
    base: ImageConfig | None = None  # None: scratch
    author: str = ""
    history: list[HistoryEntry] = field(default_factory=list)
    history_size: int = 0  # characters
    has_workdir: bool = False  # whether WORKDIR was given in this file
    only_once: dict[type, Span] = field(default_factory=dict)  # of which the last one counts
    used: Used = field(default_factory=Used)  # in this stage

    def expand(self, text: str) -> str:
        """Expand variables as they are now."""
        used = Variables(self.scope.values)
        expanded = self.scope.expand(text, self.file.escape, used)
        self._check(used)
        return expanded

    def expand_document(self, text: str) -> str:
        """Expand variables in the content of a heredoc."""
        used = Variables(self.scope.values)
        expanded = expand_raw(text, used, allowance=self.scope.allowance)
        self._check(used)
        return expanded

    def _check(self, used: Variables) -> None:
        scope = self.scope
        checks.undefined_var(self.linter, self.span, used.unset, scope.declared, scope.values)

    @property
    def config(self) -> RunConfig:
        """The configuration, with the environment as it is now."""
        env = self.scope.env
        return self.run if env == self.run.environment() else self.run.with_env(env)

    @property
    def shell(self) -> tuple[str, ...]:
        """The shell of shell forms."""
        return self.run.shell or (_SHELL_OF_WINDOWS if self.is_windows else _SHELL)

    @property
    def is_windows(self) -> bool:
        """Whether the image is for Windows: what its config says, or without one what is wanted."""
        return (self.platform if self.base is None else self.base.platform).os == WINDOWS

    @property
    def cwd(self) -> str:
        """The working directory."""
        return self.run.working_dir or "/"

    def add_history(self, created_by: str, vertex: int | None = None) -> None:
        """Add an entry to the history; `FormatError` where no config could hold it any more."""
        self.history_size += len(created_by)
        if self.history_size > CONFIG:
            raise FormatError(
                f"the history of the image is larger than {CONFIG} bytes with this line",
                hint="the config of an image has this limit: use shorter variables",
            )
        self.history.append(HistoryEntry(created_by=created_by, vertex=vertex))

    def command(self, command: do.Command) -> tuple[str, ...]:
        """Return what a command runs, shell included."""
        return (*self.shell, *command.args) if command.shell else command.args

    def absolute(self, path: str) -> str:
        """Return *path* as seen from the working directory, without dots."""
        return absolute(path, self.cwd)


def configure(state: StageState, instruction: do.Instruction) -> None:
    """Apply an instruction that changes the configuration alone.

    Raises:
        DockerfileError: a value is invalid once its variables are expanded.
    """
    state.span = instruction.span
    try:
        table = _TABLE if is_configuration(instruction) else _OF_CHANGES
        table[type(instruction)](state, instruction)
    except DockerfileError:
        raise
    except FormatError as error:
        raise instruction.span.error(error.message, hint=error.hint) from error


def is_configuration(instruction: do.Instruction) -> bool:
    """Say whether `configure` applies the instruction."""
    return type(instruction) in _TABLE


def _arg(state: StageState, arg: do.Arg) -> None:
    values = []
    names = (name for name, _ in arg.pairs)
    checks.secrets_used_in_arg_or_env(state.linter, "ARG", arg.span, names)
    for name, default in arg.pairs:
        text = None if default is None or name in state.scope.given else state.expand(default)
        value = state.scope.declare(name, text)
        values.append((name, value))
        is_global = text is None and name not in state.scope.given and name in state.scope.globals
        state.used.arguments[name] = None if is_global else Argument.of(arg, name, value)
    state.add_history(history.arg(values))


def _env(state: StageState, env: do.Env) -> None:
    # All of one instruction see the environment before it.
    pairs = [(state.expand(name), state.expand(value)) for name, value in env.pairs]
    checks.legacy_key_value_format(state.linter, env)
    names = (name for name, _ in pairs)
    checks.secrets_used_in_arg_or_env(state.linter, "ENV", env.span, names)
    for name, value in pairs:
        if not name:
            raise FormatError("ENV names can not be blank")
        state.scope.set_env(name, value)
    state.add_history(history.pairs("ENV", pairs))


def _label(state: StageState, label: do.Label) -> None:
    pairs = [(state.expand(name), state.expand(value)) for name, value in label.pairs]
    checks.legacy_key_value_format(state.linter, label)
    state.run = replace(state.run, labels={**state.run.labels, **dict(pairs)})
    state.add_history(history.pairs("LABEL", pairs))


def _cmd(state: StageState, cmd: do.Cmd) -> None:
    checks.multiple_instructions_disallowed(state.linter, cmd, state.only_once)
    checks.json_args_recommended(state.linter, cmd, shell_is_set=bool(state.run.shell))
    state.run = replace(state.run, cmd=state.command(cmd.command))
    state.add_history(history.command("CMD", state.command(cmd.command)))


def _entrypoint(state: StageState, entrypoint: do.Entrypoint) -> None:
    checks.multiple_instructions_disallowed(state.linter, entrypoint, state.only_once)
    checks.json_args_recommended(state.linter, entrypoint, shell_is_set=bool(state.run.shell))
    command = state.command(entrypoint.command)
    # A base's CMD was made for the base's ENTRYPOINT.
    cmd = state.run.cmd if do.Cmd in state.only_once else None
    state.run = replace(state.run, entrypoint=command, cmd=cmd)
    state.add_history(history.command("ENTRYPOINT", command))


def _shell(state: StageState, shell: do.Shell) -> None:
    state.run = replace(state.run, shell=shell.args)
    state.add_history(history.words("SHELL", shell.args))


def _user(state: StageState, user: do.User) -> None:
    name = state.expand(user.user)  # an empty one is root
    state.run = replace(state.run, user=name)
    state.add_history(f"USER {name}")


def _volume(state: StageState, volume: do.Volume) -> None:
    paths = [state.expand(path) for path in volume.paths]
    if not all(paths):
        raise FormatError("VOLUME specified can not be an empty string")
    known = dict.fromkeys((*state.run.volumes, *paths))
    state.run = replace(state.run, volumes=tuple(known))
    state.add_history(history.words("VOLUME", paths))


def _expose(state: StageState, expose: do.Expose) -> None:
    scope, escape = state.scope, state.file.escape
    words = [
        word
        for text in expose.ports
        for word in split_words(text, scope.values, escape=escape, allowance=scope.allowance)
    ]
    ports: list[str] = []
    for word in words:
        port = Port.parse(word)
        checks.expose_proto_casing(state.linter, expose.span, port)
        checks.expose_invalid_format(state.linter, expose.span, port)
        ports += port.exposed()
        if len(ports) > _MOST_PORTS:
            raise FormatError("EXPOSE has too many ports")
    known = dict.fromkeys((*state.run.exposed_ports, *ports))
    state.run = replace(state.run, exposed_ports=tuple(known))
    state.add_history(history.words("EXPOSE", ports))


def _stop_signal(state: StageState, stop: do.StopSignal) -> None:
    signal = parse_stop_signal(state.expand(stop.signal))
    state.run = replace(state.run, stop_signal=signal)
    state.add_history(f"STOPSIGNAL {signal}")


def _healthcheck(state: StageState, check: do.Healthcheck) -> None:
    checks.multiple_instructions_disallowed(state.linter, check, state.only_once)
    if check.none or check.command is None:
        test: dict[str, Any] = {"Test": ["NONE"]}
    else:
        form = ["CMD-SHELL"] if check.command.shell else ["CMD"]
        test = {"Test": [*form, *check.command.args]}
        times = {
            "Interval": check.interval,
            "Timeout": check.timeout,
            "StartPeriod": check.start_period,
            "StartInterval": check.start_interval,
            "Retries": check.retries,
        }
        test |= {name: value for name, value in times.items() if value}
    state.run = replace(state.run, healthcheck=test)
    state.add_history(history.healthcheck(test))


def _on_build(state: StageState, on_build: do.OnBuild) -> None:
    # It has no entry in the history.
    triggers = (*state.run.on_build, on_build.trigger)
    state.run = replace(state.run, on_build=triggers)


def _maintainer(state: StageState, maintainer: do.Maintainer) -> None:
    state.author = maintainer.name
    state.add_history(f"MAINTAINER {maintainer.name}")


_TABLE: Mapping[type, Callable[[StageState, Any], None]] = {
    do.Arg: _arg,
    do.Env: _env,
    do.Label: _label,
    do.Cmd: _cmd,
    do.Entrypoint: _entrypoint,
    do.Shell: _shell,
    do.User: _user,
    do.Volume: _volume,
    do.Expose: _expose,
    do.StopSignal: _stop_signal,
    do.Healthcheck: _healthcheck,
    do.OnBuild: _on_build,
    do.Maintainer: _maintainer,
}


def _workdir(state: StageState, workdir: do.Workdir) -> None:
    state.run = replace(state.run, working_dir=state.absolute(state.expand(workdir.path)))


#: In a Dockerfile it makes a layer, too.
_OF_CHANGES: dict[type, Callable[[StageState, Any], None]] = {do.Workdir: _workdir}


#: Of a Dockerfile alone; docker says the same of these.
_NOT_CHANGES: Final = (do.Arg, do.Maintainer, do.Run, do.Copy, do.Add)
#: Other checks are about the style of a Dockerfile.
_CHECKS: Final = CheckOptions(
    skip=frozenset(RULES.keys() - {"NoEmptyContinuation", "UndefinedVar"})
)


def changed(changes: Sequence[str], warn: Callable[[str], object]) -> RunConfig:
    """Return the configuration that the instructions *changes* make; *warn* gets each warning.

    Raises:
        DockerfileError: an instruction is invalid, or is not one for a configuration.
    """
    if not changes:
        return RunConfig()
    if not any(change.strip() for change in changes):
        raise DockerfileError("file with no instructions", name="--change")
    text = "\n".join(["FROM scratch", *changes])
    source = split(text.encode("utf-8", "surrogateescape"), name="--change")
    file = parse_lines(source)
    linter = Linter(_CHECKS, lambda warning: warn(str(warning)))
    no_empty_continuation(linter, source)
    state = StageState(
        file=file,
        linter=linter,
        ignored=lambda _: "",
        scope=Scope(given={}, globals={}, consumed=set()),
        platform=this_platform(),
        run=RunConfig(),
        span=file.stages[0].from_.span,
    )
    for warning in file.warnings:
        warn(warning)
    if len(file.stages) > 1:
        raise file.stages[1].from_.span.error("from is not a valid change command")
    for instruction in file.stages[0].instructions:
        if isinstance(instruction, _NOT_CHANGES):
            word = type(instruction).__name__.lower()
            raise instruction.span.error(f"{word} is not a valid change command")
        configure(state, instruction)
    return state.config
