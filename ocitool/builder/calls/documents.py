"""The answers as JSON: BuildKit's ``result.json`` of each call.

Source: BuildKit, frontend/subrequests: lint, outline, targets.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final

from ocitool.builder.calls.results import Asked, CheckResult, OutlineResult, TargetsResult
from ocitool.builder.checks.rules import RULES
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.frontend.outline import Argument, Secret
from ocitool.errors import InvalidInstruction, OcitoolError
from ocitool.progress import CheckWarning


def checks_document(result: CheckResult) -> dict[str, Any]:
    """``frontend.lint``."""
    names = [file.name for file in result.files]
    document: dict[str, Any] = {
        "warnings": [_warning(warning, names.index(warning.file)) for warning in result.warnings],
        "sources": [
            {"filename": file.name, "data": _data(file), "language": "Dockerfile"}
            for file in result.files
        ],
    }
    if (error := result.error) is not None:
        place = error.where.rpartition(":")[0]
        source = names.index(place) if place in names else 0
        lines = range(error.line, error.line + len(error.excerpt)) if error.line else ()
        document["buildError"] = {
            "message": error_message(error),
            "location": _location(lines, source),
        }
    return document


def outline_document(result: OutlineResult) -> dict[str, Any]:
    """``frontend.outline``."""
    outline = result.outline
    return _filled(
        {
            "name": outline.name,
            "description": outline.description,
            "args": [_argument(argument) for argument in outline.arguments],
            "secrets": [_secret(secret) for secret in outline.secrets],
            "ssh": [_secret(agent) for agent in outline.ssh],
            "sources": [_data(file) for file in result.files],
        }
    )


def targets_document(result: TargetsResult) -> dict[str, Any]:
    """``frontend.targets``."""
    return {
        "targets": [
            _filled(
                {
                    "name": target.name,
                    "default": target.default,
                    "description": target.description,
                    "base": target.base,
                    "platform": target.platform,
                    "location": _location(_lines(target.span)),
                }
            )
            for target in result.targets
        ],
        "sources": [_data(file) for file in result.files],
    }


def _request(name: str, description: str, options: list[dict[str, str]] | None) -> dict[str, Any]:
    return {
        "name": f"frontend.{name}",
        "version": "1.0.0",
        "type": "rpc",
        "description": description,
        "opts": options,
        "inputs": None,
        "metadata": [{"name": each, "description": ""} for each in ("result.json", "result.txt")],
        "refs": None,
    }


#: ``frontend.subrequests.describe``: the calls that BuildKit lists, which are all except ``lint``.
REQUESTS: Final = [
    _request(
        "outline",
        "List all parameters current build target supports",
        [{"name": "target", "description": "Target build stage"}],
    ),
    _request("targets", "List all targets current build supports", []),
    _request("subrequests.describe", "List available subrequest types", None),
]


def error_message(error: OcitoolError) -> str:
    """Return the message of an error, with the line of an invalid instruction, as BuildKit."""
    if isinstance(error, InvalidInstruction):
        return f"dockerfile parse error on line {error.line}: {error.message}"
    return error.message


def _warning(warning: CheckWarning, source: int) -> dict[str, Any]:
    return _filled(
        {
            "ruleName": warning.rule,
            "description": RULES[warning.rule].description,
            "url": warning.url,
            "detail": warning.detail,
            "location": _location(range(warning.line, warning.last_line + 1), source),
        }
    )


def _argument(argument: Argument) -> dict[str, Any]:
    return {
        "name": argument.name,
        **_filled({"description": argument.description, "value": argument.value}),
        "location": _location(_lines(argument.span)),
    }


def _secret(secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.id,
        **_filled({"required": secret.required}),
        "location": _location(_lines(secret.span)),
    }


def _lines(span: Span) -> Iterable[int]:
    return range(span.first, span.last + 1)


def _location(lines: Iterable[int], source: int = 0) -> dict[str, Any]:
    """A range for each line of the file that is *source* among the sources."""
    ranges = [{"start": {"line": at}, "end": {"line": at}} for at in lines]
    return _filled({"sourceIndex": source, "ranges": ranges})


def _data(file: Asked) -> str:
    return b64encode(file.text).decode("ascii")


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    """Return *fields* without those that have no value, which BuildKit leaves out."""
    return {name: value for name, value in fields.items() if value}
