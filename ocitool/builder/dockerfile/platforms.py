"""The platform of a FROM, and what BuildKit says of a text that names no platform."""

from __future__ import annotations

import re
from typing import Final

from ocitool.errors import FormatError
from ocitool.go_values import quoted
from ocitool.oci.platform import Platform

_WORD: Final = "^[A-Za-z0-9_.-]+$"
_OS: Final = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"


def parse_platform(text: str) -> Platform:
    """Read a platform; a `FormatError` has BuildKit's text."""
    try:
        return Platform.parse(text)
    except FormatError as error:
        raise FormatError(f"{_problem(text)}: invalid argument", hint=error.hint) from error


def _problem(text: str) -> str:
    """Source: containerd/platforms, Parse."""
    if "*" in text:
        return f"{quoted(text)}: wildcards not yet supported"
    system, *others = text.split("/", 3)
    if not re.fullmatch(_OS, system):
        return (
            f"{quoted(system)} is an invalid OS component of {quoted(text)}: OSAndVersion"
            f" specifier component must match {quoted(_OS)}"
        )
    for word in others:
        if not re.fullmatch(_WORD, word):
            return (
                f"{quoted(word)} is an invalid component of {quoted(text)}: platform specifier"
                f" component must match {quoted(_WORD)}"
            )
    if others:
        return f"{quoted(text)}: cannot parse platform specifier"
    return f"{quoted(text)}: unknown operating system or architecture"
