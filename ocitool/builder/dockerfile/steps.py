"""The instructions that change files: RUN, COPY and ADD, with their heredocs."""

from __future__ import annotations

from ocitool.builder.dockerfile.flags import parse_flags
from ocitool.builder.dockerfile.heredocs import Heredoc, parse_opening
from ocitool.builder.dockerfile.instructions import Add, Command, Copy, Run
from ocitool.builder.dockerfile.statements import Statement
from ocitool.builder.dockerfile.values import check_source
from ocitool.errors import FormatError

_NETWORKS = ("default", "none", "host")

# Flags of the language that are not there yet, and what to do instead.
_RUN_ABSENT = {
    "mount": "COPY what the command needs, and remove it in the same RUN that used it",
    "security": "RUN is always sandboxed",
    "device": "devices are not passed on to RUN",
}
_COPY_ABSENT = {
    "parents": "COPY each directory to its own place",
    "exclude": "list what is not wanted in .dockerignore",
}
_ADD_ABSENT = {
    "checksum": "fetch the file in a RUN and check it there",
    "keep-git-dir": "COPY a checkout from the context",
    "unpack": "ADD unpacks local archives; COPY does not",
    "exclude": _COPY_ABSENT["exclude"],
}
_LINK_HINT = "leave --link out: the result holds the same files"


def parse_run(statement: Statement) -> Run:
    flags = parse_flags(statement.flags, strings=("network",), absent=_RUN_ABSENT)
    network = flags.get("network")
    if network is not None and network not in _NETWORKS:
        raise FormatError(
            f"--network={network} is not known", hint=f"one of {', '.join(_NETWORKS)}"
        )
    command, heredocs = _script(statement)
    return Run(span=statement.span, command=command, heredocs=heredocs, network=network)


def _script(statement: Statement) -> tuple[Command, tuple[Heredoc, ...]]:
    """Take one heredoc alone as a script; any other use of them is the shell's to read."""
    if not statement.heredocs:
        return statement.command(), ()
    if len(statement.heredocs) == 1 and parse_opening(statement.rest) is not None:
        return Command(args=(statement.heredocs[0].content,), shell=True), statement.heredocs
    documents = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    return Command(args=(statement.rest + documents,), shell=True), ()


def parse_copy(statement: Statement) -> Copy:
    flags = parse_flags(
        statement.flags,
        strings=("from", "chown", "chmod"),
        booleans=("link",),
        absent=_COPY_ABSENT,
    )
    _refuse_link(flags)
    origin = flags.get("from")
    if origin and "$" in origin:
        raise FormatError(
            "variable expansion is not supported for --from, define a new stage with FROM using "
            "ARG from global scope as a workaround"
        )
    sources, heredocs, dest = _operands(statement)
    return Copy(
        span=statement.span,
        sources=sources,
        dest=dest,
        heredocs=heredocs,
        from_=origin or None,
        chown=flags.get("chown") or None,
        chmod=flags.get("chmod") or None,
    )


def parse_add(statement: Statement) -> Add:
    flags = parse_flags(
        statement.flags, strings=("chown", "chmod"), booleans=("link",), absent=_ADD_ABSENT
    )
    _refuse_link(flags)
    sources, heredocs, dest = _operands(statement)
    return Add(
        span=statement.span,
        sources=sources,
        dest=dest,
        heredocs=heredocs,
        chown=flags.get("chown") or None,
        chmod=flags.get("chmod") or None,
    )


def _refuse_link(flags: dict[str, str]) -> None:
    if flags.get("link") == "true":
        raise FormatError("--link is not there yet", hint=_LINK_HINT)


def _operands(statement: Statement) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Sort the words of COPY and ADD into paths, heredocs and the destination."""
    words = statement.list_arguments()
    if len(words) < 2:
        raise FormatError(
            f"{statement.word} requires at least two arguments, but only {len(words)} was "
            "provided. Destination could not be determined"
        )
    *given, dest = words
    contents = {heredoc.name: heredoc for heredoc in statement.heredocs}
    if contents and parse_opening(dest) is not None:
        raise FormatError(f"{statement.word} cannot accept a heredoc as a destination")
    sources: list[str] = []
    heredocs: list[Heredoc] = []
    for word in given:
        opening = parse_opening(word) if contents else None
        if opening is not None and opening.name in contents:
            heredocs.append(contents[opening.name])
        else:
            check_source(statement.word, word)
            sources.append(word)
    return tuple(sources), tuple(heredocs), dest
