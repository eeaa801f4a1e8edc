"""The answers as text, in the form of ``docker buildx build --call``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ocitool.builder.calls.results import CheckResult, OutlineResult, TargetsResult
from ocitool.builder.frontend.outline import Secret
from ocitool.progress import CheckWarning

_RULE = "-" * 20


def checks_text(result: CheckResult) -> Iterator[str]:
    """Yield the lines of a result without its error, which is for whoever prints errors."""
    count = len(result.warnings)
    if count:
        found = "1 warning has been found!" if count == 1 else f"{count} warnings have been found!"
        yield f"Check complete, {found}"
    elif result.error is None:
        yield "Check complete, no warnings found."
    lines = {file.name: file.text.decode("utf-8", "replace").split("\n") for file in result.files}
    for warning in result.warnings:
        yield ""
        yield f"WARNING: {warning.rule}{warning.url and f' - {warning.url}'}"
        yield warning.detail
        yield from _excerpt(warning, lines[warning.file])


def _excerpt(warning: CheckWarning, lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines with those around: two where it is one line, otherwise one."""
    around = 2 if warning.line == warning.last_line else 1
    first, last = max(1, warning.line - around), min(len(lines), warning.last_line + around)
    yield f"{warning.file}:{warning.line}"
    yield _RULE
    for number in range(first, last + 1):
        mark = ">>>" if warning.line <= number <= warning.last_line else "   "
        yield f"{number:>4} | {mark} {lines[number - 1]}".rstrip()
    yield _RULE


def outline_text(result: OutlineResult) -> Iterator[str]:
    """Yield the lines of an outline: a table for each kind of thing that there is."""
    outline = result.outline
    if outline.name or outline.description:
        rows = [("TARGET:", outline.name or "(default)")]
        rows += [("DESCRIPTION:", outline.description)] if outline.description else []
        yield from (*_table(rows, gap=1), "")
    if outline.arguments:
        table = [(each.name, each.value or "", each.description) for each in outline.arguments]
        yield from (*_table([("BUILD ARG", "VALUE", "DESCRIPTION"), *table], gap=3), "")
    for heading, secrets in (("SECRET", outline.secrets), ("SSH", outline.ssh)):
        if secrets:
            yield from (*_table([(heading, "REQUIRED"), *_rows(secrets)], gap=3), "")


def _rows(secrets: Sequence[Secret]) -> list[tuple[str, ...]]:
    return [(secret.id, "true" if secret.required else "") for secret in secrets]


def targets_text(result: TargetsResult) -> Iterator[str]:
    """Yield the lines of the table of targets."""
    rows = [("TARGET", "DESCRIPTION")]
    for target in result.targets:
        default = "(default)" if target.default else ""
        rows.append((" ".join(filter(None, (target.name, default))), target.description))
    yield from _table(rows, gap=1)


def requests_text(requests: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of the table of what can be asked."""
    rows = [("NAME", "VERSION", "DESCRIPTION")]
    for each in requests:
        rows.append((each["name"].removeprefix("frontend."), each["version"], each["description"]))
    yield from _table(rows, gap=1)


def _table(rows: Sequence[tuple[str, ...]], *, gap: int) -> Iterator[str]:
    widths = [max(map(len, column)) + gap for column in zip(*rows, strict=True)]
    for row in rows:
        yield "".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
