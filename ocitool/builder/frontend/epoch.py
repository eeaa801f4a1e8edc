"""SOURCE_DATE_EPOCH: a number of seconds, or the name of what has a time.

A name is a context, or a stage that only has an ADD of one file or repository.

Source: BuildKit, dockerfile2llb/epoch.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from ocitool.builder.build_arguments import EPOCH
from ocitool.builder.definition import GitTree, HttpFile, LocalContext
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.parser import Dockerfile, ParsedStage
from ocitool.builder.frontend.sources.named_contexts import SCRATCH, NamedContexts
from ocitool.builder.frontend.sources.remotes import fetched
from ocitool.builder.frontend.variables import Scope
from ocitool.errors import FormatError
from ocitool.oci.timestamps import parse_epoch

#: The name of the build context.
_CONTEXT: Final = "context"
_ONE: Final = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"
_HINT: Final = "as in: FROM scratch AS NAME, and ADD https://example.com/source.tar.gz /"

TimeOf: TypeAlias = Callable[[LocalContext | HttpFile | GitTree], int | None]
"""Returns the time of what is fetched, in seconds since 1970; None for other files."""


def settle_epoch(
    file: Dockerfile, scope: Scope, contexts: NamedContexts, time_of: TimeOf
) -> int | None:
    """Return the epoch, in seconds since 1970, and let *scope*, the global one, have it.

    A build argument comes before the default of an ARG.  Without a time it is not set.

    Raises:
        FormatError: it is neither a number nor a name.
        DockerfileError: the stage of that name is something else; with the line.
    """
    text = scope.given.get(EPOCH, scope.values.get(EPOCH, ""))
    epoch = _epoch(text, file, scope, contexts, time_of) if text else None
    scope.settle(EPOCH, "" if epoch is None else str(epoch))
    return epoch


def _epoch(
    text: str, file: Dockerfile, scope: Scope, contexts: NamedContexts, time_of: TimeOf
) -> int | None:
    if text.isdecimal():
        return parse_epoch(text)
    if text == _CONTEXT:
        return time_of(LocalContext())
    if (context := contexts.find(text)) is not None:
        return time_of(context) if isinstance(context, LocalContext) else None
    for stage in file.stages:
        if (stage.from_.name or "") == text.lower():
            try:
                return time_of(_source(stage, scope, file.escape))
            except FormatError as error:
                raise stage.from_.span.error(error.message, hint=error.hint) from error
    raise FormatError(
        f"invalid SOURCE_DATE_EPOCH {text!r}",
        hint="set a number of seconds since 1970, the word context, or the name of a context or"
        " of a stage",
    )


def _source(stage: ParsedStage, scope: Scope, escape: str) -> HttpFile | GitTree:
    """Return what the ADD of *stage* fetches."""
    values = {name: value for name, value in scope.values.items() if name != EPOCH}
    if scope.expand(stage.from_.image, escape, values) != SCRATCH:
        raise FormatError("SOURCE_DATE_EPOCH stage must use FROM scratch", hint=_HINT)
    found: HttpFile | GitTree | None = None
    for instruction in stage.instructions:
        if isinstance(instruction, do.Arg):
            for name, default in instruction.pairs:
                if name in scope.given:
                    values[name] = scope.given[name]
                elif default is not None:
                    values[name] = scope.expand(default, escape, values)
        elif not isinstance(instruction, do.Add):
            word = instruction.span.text.split(maxsplit=1)[0]
            raise FormatError(
                "SOURCE_DATE_EPOCH stage does not meet source-only requirements:"
                f" unsupported {word} instruction",
                hint=_HINT,
            )
        elif found is not None:
            raise FormatError(_ONE, hint=_HINT)
        else:
            found = _added(instruction, lambda text: scope.expand(text, escape, values))
    if found is None:
        raise FormatError(_ONE, hint=_HINT)
    return found


def _added(add: do.Add, expand: Callable[[str], str]) -> HttpFile | GitTree:
    if add.heredocs or len(add.sources) != 1:
        raise FormatError(f"{_ONE} source", hint=_HINT)
    sources, checksum = [expand(add.sources[0])], expand(add.checksum or "")
    found = tuple(fetched(add, sources, checksum, lambda _: None).values())
    if not found:
        raise FormatError(
            "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD", hint=_HINT
        )
    return found[0]
