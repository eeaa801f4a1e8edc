"""One logical line -> one instruction: a function an instruction.

Each function takes a `Statement` and raises `FormatError` without a location; `parser` adds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ocitool.builder.dockerfile import arguments
from ocitool.builder.dockerfile.arguments import flag_values, parse_flags
from ocitool.builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from ocitool.builder.dockerfile.lines.heredocs import Heredoc, join_arrows, parse_opening
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.lines.split import Line
from ocitool.errors import FormatError
from ocitool.go_values import MILLISECOND, parse_duration

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_MAX_RETRIES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A logical line whose word and flags have been cut off."""

    span: Span
    word: str  # as it is written
    flags: tuple[str, ...]
    rest: str
    heredocs: tuple[Heredoc, ...]
    escape: str

    @classmethod
    def of(cls, line: Line, escape: str) -> Statement:
        """Cut a line; `FormatError` for words that cannot be separated."""
        word, rest = arguments.split_once(line.span.text)
        flags, rest = arguments.split_flags(rest, escape)
        check_words(word, rest.strip(), escape)
        return cls(
            span=line.span,
            word=word,
            flags=flags,
            rest=rest.strip(),
            heredocs=line.heredocs,
            escape=escape,
        )

    @property
    def kind(self) -> str:
        """The word in upper case."""
        return self.word.upper()

    def only_argument(self) -> str:
        """The whole rest, for an instruction that has one argument and no flags."""
        if not self.rest:
            raise FormatError(f"{self.kind} requires exactly one argument")
        parse_flags(self.flags)
        return self.rest

    def arguments(self) -> str:
        """The whole rest, for an instruction that has at least one argument."""
        if not self.rest:
            raise FormatError(f"{self.kind} requires at least one argument")
        return self.rest

    def pairs(self) -> tuple[tuple[tuple[str, str], ...], bool]:
        """Names and values, and whether they are in the legacy form."""
        parse_flags(self.flags)
        pairs, legacy = arguments.parse_pairs(self.rest, self.escape, self.kind)
        if not all(name for name, _ in pairs):
            raise FormatError(f"{self.kind} names can not be blank")
        return pairs, legacy

    def list_arguments(self) -> tuple[str, ...]:
        """A JSON array, or else words between blanks."""
        array = arguments.parse_array(self.rest)
        return arguments.split_blanks(self.rest) if array is None else array

    def command(self) -> Command:
        array = arguments.parse_array(self.rest)
        if array is None:
            return Command(args=(self.rest,), shell=True)
        return Command(args=array, shell=False)


_ARRAYS = frozenset(("ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"))


def check_words(word: str, rest: str, escape: str) -> None:
    """Refuse an instruction that cannot be split into words; `FormatError`.

    As in BuildKit all lines of a file are split before the first instruction is evaluated.
    """
    kind = word.upper()
    while kind == "ONBUILD" and rest:
        word, rest = arguments.split_once(rest)
        rest = arguments.split_flags(rest, escape)[1].strip()
        kind = word.upper()
    if kind in _ARRAYS:
        arguments.parse_array(rest)
    elif kind == "HEALTHCHECK":
        arguments.parse_array(arguments.split_once(rest)[1])
    elif rest and kind in ("ENV", "LABEL"):
        arguments.parse_pairs(rest, escape, kind)


def parse_from(statement: Statement) -> From:
    words = arguments.split_blanks(statement.rest)
    name = None
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise FormatError(
                f'invalid name for build stage: "{words[2]}", '
                "name can't start with a number or contain symbols"
            )
    elif len(words) != 1:
        raise FormatError(
            "FROM requires either one or three arguments", hint="write FROM image AS name"
        )
    flags = parse_flags(statement.flags, strings=("platform",))
    return From(
        span=statement.span,
        image=words[0],
        name=name,
        platform=flags.get("platform") or None,
    )


def parse_arg(statement: Statement) -> Arg:
    parse_flags(statement.flags)
    pairs: list[tuple[str, str | None]] = []
    for word in arguments.split_quoted(statement.rest, statement.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise FormatError("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    if not pairs:
        raise FormatError("ARG requires at least one argument")
    return Arg(span=statement.span, pairs=tuple(pairs))


def parse_env(statement: Statement) -> Env:
    pairs, legacy = statement.pairs()
    return Env(span=statement.span, pairs=pairs, legacy=legacy)


def parse_label(statement: Statement) -> Label:
    pairs, legacy = statement.pairs()
    return Label(span=statement.span, pairs=pairs, legacy=legacy)


def parse_cmd(statement: Statement) -> Cmd:
    parse_flags(statement.flags)
    return Cmd(span=statement.span, command=statement.command())


def parse_entrypoint(statement: Statement) -> Entrypoint:
    parse_flags(statement.flags)
    return Entrypoint(span=statement.span, command=statement.command())


def parse_shell(statement: Statement) -> Shell:
    parse_flags(statement.flags)
    args = arguments.parse_array(statement.arguments())
    if args is None:
        raise FormatError(
            "SHELL requires the arguments to be in JSON form",
            hint='write SHELL ["/bin/sh", "-c"]',
        )
    if not args:
        raise FormatError("SHELL requires at least one argument")
    return Shell(span=statement.span, args=args)


def parse_workdir(statement: Statement) -> Workdir:
    return Workdir(span=statement.span, path=statement.only_argument())


def parse_user(statement: Statement) -> User:
    return User(span=statement.span, user=statement.only_argument())


def parse_stop_signal(statement: Statement) -> StopSignal:
    return StopSignal(span=statement.span, signal=statement.only_argument())


def parse_maintainer(statement: Statement) -> Maintainer:
    return Maintainer(span=statement.span, name=statement.only_argument())


def parse_on_build(statement: Statement) -> OnBuild:
    # What the words of a trigger mean is looked at where it is executed.
    kind = arguments.split_once(statement.arguments())[0].upper()
    parse_flags(statement.flags)
    if kind == "ONBUILD":
        raise FormatError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if kind in ("FROM", "MAINTAINER"):
        raise FormatError(f"{kind} isn't allowed as an ONBUILD trigger")
    return OnBuild(span=statement.span, trigger=statement.rest + documents(statement))


def parse_expose(statement: Statement) -> Expose:
    ports = arguments.split_blanks(statement.arguments())
    parse_flags(statement.flags)
    # As BuildKit, whose history shows them in this order.
    return Expose(span=statement.span, ports=tuple(sorted(ports)))


def parse_volume(statement: Statement) -> Volume:
    paths = tuple(path.strip() for path in statement.list_arguments())
    if not paths:
        raise FormatError("VOLUME requires at least one argument")
    parse_flags(statement.flags)
    if not all(paths):
        raise FormatError("VOLUME specified can not be an empty string")
    return Volume(span=statement.span, paths=paths)


def parse_healthcheck(statement: Statement) -> Healthcheck:
    kind, rest = arguments.split_once(statement.arguments())
    if kind.upper() == "NONE":
        if rest:
            raise FormatError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(span=statement.span, none=True)
    flags = parse_flags(
        statement.flags,
        strings=("interval", "timeout", "start-period", "start-interval", "retries"),
    )
    if kind.upper() != "CMD":
        raise FormatError(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    array = arguments.parse_array(rest)
    if not (rest if array is None else array):
        raise FormatError("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        span=statement.span,
        none=False,
        command=Command(args=(rest,) if array is None else array, shell=array is None),
        interval=_pause(flags, "interval"),
        timeout=_pause(flags, "timeout"),
        start_period=_pause(flags, "start-period"),
        start_interval=_pause(flags, "start-interval"),
        retries=_retries(flags.get("retries")),
    )


def _pause(flags: dict[str, str], name: str) -> int | None:
    if not flags.get(name):
        return None
    duration = parse_duration(flags[name])
    if duration and duration < MILLISECOND:
        raise FormatError(f'Interval "{name}" cannot be less than 1ms')
    return duration


def _retries(text: str | None) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or abs(int(text)) > _MAX_RETRIES:
        raise FormatError(f"--retries is not a number: {text}")
    if int(text) < 0:
        raise FormatError(f"--retries cannot be negative ({int(text)})")
    return int(text)


def documents(statement: Statement) -> str:
    """Return the heredocs as they stand behind an instruction's line."""
    return "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)


def parse_copy(statement: Statement) -> Copy:
    words = _paths(statement)
    flags = parse_flags(
        statement.flags,
        strings=("from", "chown", "chmod"),
        booleans=("link", "parents"),
        repeated=("exclude",),
    )
    sources, heredocs, dest = _operands(statement, words)
    return Copy(
        span=statement.span,
        sources=sources,
        dest=dest,
        heredocs=heredocs,
        from_=flags.get("from") or None,
        chown=flags.get("chown") or None,
        chmod=flags.get("chmod") or None,
        link=flags.get("link") == "true",
        parents=flags.get("parents") == "true",
        exclude=flag_values(statement.flags, "exclude"),
    )


def parse_add(statement: Statement) -> Add:
    words = _paths(statement)
    flags = parse_flags(
        statement.flags,
        strings=("chown", "chmod", "checksum"),
        booleans=("link", "unpack", "keep-git-dir"),
        repeated=("exclude",),
    )
    sources, heredocs, dest = _operands(statement, words)
    return Add(
        span=statement.span,
        sources=sources,
        dest=dest,
        heredocs=heredocs,
        chown=flags.get("chown") or None,
        chmod=flags.get("chmod") or None,
        link=flags.get("link") == "true",
        exclude=flag_values(statement.flags, "exclude"),
        checksum=flags.get("checksum") or None,
        unpack=_chosen(flags, "unpack"),
        keep_git_dir=_chosen(flags, "keep-git-dir"),
    )


def _chosen(flags: dict[str, str], name: str) -> bool | None:
    """Return what a flag says; None where it is not given."""
    return flags[name] == "true" if name in flags else None


def _paths(statement: Statement) -> tuple[str, ...]:
    """Return the words of COPY and ADD."""
    words = statement.list_arguments()
    if statement.heredocs:
        words = tuple(join_arrows(words))
    if len(words) < 2:
        raise FormatError(
            f"{statement.kind} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            hint=f"write {statement.kind} SOURCE... DESTINATION",
        )
    return words


def _operands(
    statement: Statement, words: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Sort *words* into paths, heredocs and the destination."""
    *given, dest = words
    contents = {heredoc.name: heredoc for heredoc in statement.heredocs}
    if contents and parse_opening(dest) is not None:
        raise FormatError(f"{statement.kind} cannot accept a heredoc as a destination")
    sources: list[str] = []
    heredocs: list[Heredoc] = []
    for word in given:
        opening = parse_opening(word) if contents else None
        if opening is not None and opening.name in contents:
            if "/" in opening.name or opening.name in (".", ".."):
                raise FormatError(f"the heredoc {opening.name!r} cannot be a file of that name")
            heredocs.append(contents[opening.name])
        else:
            sources.append(word)
    return tuple(sources), tuple(heredocs), dest
