"""Rules of instructions, once their variables are known: a function for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

from ocitool.builder.checks.linter import Linter
from ocitool.builder.checks.syntax import written_word
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.values import Port
from ocitool.go_values import quoted
from ocitool.suggestions import closest

#: Arguments that BuildKit never hands on; naming one is no mistake.
_NOT_VARIABLES: Final = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")


def undefined_var(
    linter: Linter,
    span: Span,
    unset: Collection[str],
    declared: Collection[str],
    known: Iterable[str],
) -> None:
    """*unset* were used; ARGs without a value are *declared*, and *known* have one."""
    for name in sorted(unset):
        if name not in declared and name not in _NOT_VARIABLES:
            near = linter.suggests and closest(name, known)
            linter.warn("UndefinedVar", span, name, f" (did you mean ${near}?)" if near else "")


_SECRET: Final = re.compile(
    r"(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|\Z)", re.I
)
_NO_SECRET: Final = re.compile(r"(?:^|_)(?:public|file|version)(?:_|\Z)", re.I)


def secrets_used_in_arg_or_env(linter: Linter, word: str, span: Span, names: Iterable[str]) -> None:
    """The value would be in the image's history; the name says whether it is secret."""
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            linter.warn("SecretsUsedInArgOrEnv", span, word, quoted(name))


def legacy_key_value_format(linter: Linter, instruction: do.Env | do.Label) -> None:
    if instruction.legacy:
        linter.warn("LegacyKeyValueFormat", instruction.span, written_word(instruction.span))


def json_args_recommended(
    linter: Linter, instruction: do.Cmd | do.Entrypoint, *, shell_is_set: bool
) -> None:
    """A shell does not hand signals on; who has chosen the shell knows."""
    if instruction.command.shell and not shell_is_set:
        linter.warn("JSONArgsRecommended", instruction.span, written_word(instruction.span))


def multiple_instructions_disallowed(
    linter: Linter, instruction: do.Cmd | do.Entrypoint | do.Healthcheck, seen: dict[type, Span]
) -> None:
    """The earlier one has no effect; *seen* are those of the stage."""
    kind = type(instruction)
    if kind in seen:
        word = written_word(instruction.span)
        linter.warn("MultipleInstructionsDisallowed", seen[kind], word, of=instruction.span)
    seen[kind] = instruction.span


def workdir_relative_path(linter: Linter, span: Span, path: str) -> None:
    """Of the first WORKDIR, which is relative to that of the base image."""
    if not path.startswith("/"):
        linter.warn("WorkdirRelativePath", span, quoted(path))


def expose_proto_casing(linter: Linter, span: Span, port: Port) -> None:
    if port.protocol != port.protocol.lower():
        linter.warn("ExposeProtoCasing", span, port.text)


def expose_invalid_format(linter: Linter, span: Span, port: Port) -> None:
    if port.address or port.host:
        linter.warn("ExposeInvalidFormat", span, port.text)


def copy_ignored_file(
    linter: Linter,
    instruction: do.Copy | do.Add,
    paths: Iterable[str],
    is_ignored: Callable[[str], str],
) -> None:
    """*paths* of the build context; *is_ignored* returns the path that is, ``""`` if none is."""
    word = "Add" if isinstance(instruction, do.Add) else "Copy"
    for path in paths:
        if ignored := is_ignored(path):
            linter.warn("CopyIgnoredFile", instruction.span, word, quoted(ignored))
