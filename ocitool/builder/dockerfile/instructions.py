"""One frozen dataclass an instruction.

Values are text as it was written, quotes and variables included, unless the language does not
expand them; the docstrings say which.  `expand.expand` turns one into its value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ocitool.builder.dockerfile.devices import DeviceFlag
from ocitool.builder.dockerfile.lines.heredocs import Heredoc
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.mounts import MountFlag
from ocitool_runtime.defaults import Network

Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What RUN, CMD, ENTRYPOINT and HEALTHCHECK run; never expanded.

    In the shell form ``args`` holds the whole text as its only element, to be put behind SHELL.
    """

    args: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """Begins a stage.  ``image`` and ``platform`` are expanded, from global ARGs alone."""

    span: Span
    image: str
    name: str | None = None  # in lower case
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """Declares build arguments; the defaults are expanded, one after the other."""

    span: Span
    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """Names and values are expanded, all with the environment before the instruction."""

    span: Span
    pairs: Pairs
    legacy: bool = False  # written as ENV NAME VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Names and values are expanded."""

    span: Span
    pairs: Pairs
    legacy: bool = False  # written as LABEL NAME VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Runs a command.

    A RUN that is one heredoc and nothing else has it in ``heredocs``, and its content as the
    shell form of ``command``: a script for SHELL, unless it begins with ``#!``; then it is a
    program of its own, to be written to a file and run through SHELL.  Any other heredoc is part
    of the text in ``command`` again, for the shell to read, and ``heredocs`` is empty.
    """

    span: Span
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    network: Network | None = None  # default: that of the build
    mounts: tuple[MountFlag, ...] = ()
    insecure: bool = False
    devices: tuple[DeviceFlag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """All but ``from_`` and ``exclude`` is expanded; heredocs come behind ``sources``."""

    span: Span
    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    from_: str | None = None
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """All but ``exclude`` is expanded; what kind a source is of is known then, see `values`."""

    span: Span
    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str | None = None
    unpack: bool | None = None  # None: archives of the context alone
    keep_git_dir: bool | None = None  # None: as the reference says


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd:
    """The default command; ``[]`` clears it."""

    span: Span
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """The command that CMD becomes an argument of; ``[]`` clears it."""

    span: Span
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What shell forms from here on are given to; not expanded."""

    span: Span
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir:
    """``path`` is expanded."""

    span: Span
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """``user[:group]``, expanded."""

    span: Span
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Each path is expanded."""

    span: Span
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose:
    """Each word is expanded with `expand.split_words`, and is then one for `values.Port`."""

    span: Span
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal:
    """Expanded, and then one for `values.parse_stop_signal`."""

    span: Span
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """A test command, or with ``none`` the end of an inherited one; nothing is expanded.

    Durations are nanoseconds; None and 0 both leave it to whoever runs the container.
    """

    span: Span
    none: bool
    command: Command | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild:
    """Records an instruction for what is built on this stage or image.

    ``trigger`` is its text in one line, with heredocs behind it; `parser.parse_trigger` reads it
    where it is executed, and only then is anything in it expanded.
    """

    span: Span
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer:
    """The author, not expanded.  Deprecated in favour of a label."""

    span: Span
    name: str


Instruction: TypeAlias = (
    Arg
    | Env
    | Label
    | Run
    | Copy
    | Add
    | Cmd
    | Entrypoint
    | Shell
    | Workdir
    | User
    | Volume
    | Expose
    | StopSignal
    | Healthcheck
    | OnBuild
    | Maintainer
)
