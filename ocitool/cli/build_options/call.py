"""What is asked of the Dockerfile: a build, or an answer without one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from ocitool.cli.app import App
from ocitool.cli.completion.values import calls
from ocitool.cli.gotemplate.values import to_json
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.goflags import boolean
from ocitool.cli.output.outfile import write_text
from ocitool.cli.output.output import write_line
from ocitool.errors import OcitoolError

if TYPE_CHECKING:
    from ocitool.builder.options import BuildOptions
    from ocitool.progress import ProgressSink
    from ocitool.store.store import Store

_METHODS: Final = ("build", "check", "outline", "targets", "subrequests.describe")
_FORMATS: Final = ("text", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One method, and how its answer is printed."""

    method: str = "build"
    format: str = "text"
    ignore_status: bool = False  # exit with 0 in spite of warnings
    error: bool = False  # of check: warnings are errors


def _parse(context: click.Context, parameter: click.Parameter, text: str) -> Call:
    methods: list[str] = []
    fields: dict[str, Any] = {}
    for word in filter(None, text.split(",")):
        key, equals, value = word.partition("=")
        if not equals:
            methods.append({"lint": "check"}.get(word, word))
        elif key == "format" and value in _FORMATS:
            fields["format"] = value
        elif key in ("ignorestatus", "error"):
            name = {"ignorestatus": "ignore_status"}.get(key, key)
            fields[name] = boolean(f"--call {key}", value)
        else:
            raise click.UsageError(
                f"invalid --call {text!r}: {word!r} is not supported; a method may be followed by"
                " ,format=json, ,format=text, ,ignorestatus=true, and check by ,error=true"
            )
    if len(methods) != 1 or methods[0] not in _METHODS:
        raise click.UsageError(
            f"invalid --call {text!r}: expected one method of {', '.join(_METHODS)}"
        )
    if fields.get("error") and methods != ["check"]:
        raise click.UsageError(f"invalid --call {text!r}: error=true is only for the method check")
    return Call(method=methods[0], **fields)


options = all_of(
    click.option(
        "--call", "called", metavar="METHOD[,format=json]", default="build", callback=_parse,
        shell_complete=calls,
        help="Action: build, check (only execute the build checks), outline (print the arguments,"
        " secrets and SSH agents of the target), targets (print the stages), or"
        " subrequests.describe (print the supported methods)  [default: build]",
    ),
    click.option("--check", is_flag=True, help="Only execute the build checks: --call=check"),
)  # fmt: skip


def chosen(call: Call, *, check: bool) -> Call:
    """Return what is to be done; *check* stands for the method."""
    if not check or call.method == "check":
        return call
    if call.method != "build":
        raise click.UsageError(f"--check cannot be combined with --call={call.method}")
    return Call(method="check", format=call.format, ignore_status=call.ignore_status)


def answer(
    call: Call, app: App, options: BuildOptions, progress: ProgressSink, metadata_file: str | None
) -> int:
    """Print the answer of *call*, and return the exit code; the error of a check is raised."""
    with contextlib.ExitStack() as stack:
        opened: list[Store] = []

        def store() -> Store | None:
            if not opened and app.has_store():
                opened.append(stack.enter_context(app.store(progress)))
            return opened[0] if opened else None

        found = _ask(call, options, store, progress)
    if metadata_file:
        text = to_json({"result.json": found.document}, indent=2)  # as buildx
        write_text(metadata_file, f"{text}\n")
    as_json = call.format == "json"
    for line in to_json(found.document, indent=2).split("\n") if as_json else found.lines:
        write_line(line)
    if found.error is not None:
        raise found.error
    return found.status * (not call.ignore_status)


class _Answer(NamedTuple):
    document: dict[str, Any] | list[dict[str, Any]]
    lines: Iterable[str]
    status: int = 0
    error: OcitoolError | None = None


def _ask(
    call: Call, options: BuildOptions, store: Callable[[], Store | None], progress: ProgressSink
) -> _Answer:
    from ocitool.builder.calls import calls as asked
    from ocitool.builder.calls import documents, texts

    if call.method == "subrequests.describe":
        asked.dockerfile(options, store=store)
        return _Answer(documents.REQUESTS, texts.requests_text(documents.REQUESTS))
    if call.method == "targets":
        listed = asked.targets(options, store=store)
        return _Answer(documents.targets_document(listed), texts.targets_text(listed))
    if call.method == "outline":
        outline = asked.outline(options, store=store, progress=progress)
        return _Answer(documents.outline_document(outline), texts.outline_text(outline))
    found = asked.check(options, error=call.error, store=store, progress=progress)
    document, lines = documents.checks_document(found), texts.checks_text(found)
    return _Answer(document, lines, int(bool(found.warnings)), found.error)
