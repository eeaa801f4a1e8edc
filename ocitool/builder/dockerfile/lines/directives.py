"""Parser directives: ``# syntax=``, ``# escape=`` and ``# check=``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ocitool.errors import FormatError

#: A build argument that counts instead of the line ``# syntax=``.
SYNTAX_ARG: Final = "BUILDKIT_SYNTAX"
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)")
# BuildKit looks for a frontend in files of other languages, too.
_OTHER_SYNTAX = re.compile(r'//\s*syntax\s*=\s*(\S+).*|\{\s*"syntax"\s*:\s*"([^"]+)".*')
_KNOWN = frozenset(("syntax", "escape", "check"))
_ESCAPES = ("\\", "`")

# The language this package implements, under whatever registry a mirror keeps a copy of it.
_FRONTEND = re.compile(
    r"(?:[a-z0-9.-]+(?::\d+)?/(?:[a-z0-9._-]+/)*)?docker/dockerfile(?:-upstream)?"
    r"(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?"
)


def parse_directive(line: str) -> tuple[str, str] | None:
    """Read one line as (name in lower case, value), None if it is no directive.

    The value is one word, except for ``escape``; the rest of the line is a comment.
    """
    found = _DIRECTIVE.fullmatch(line.strip())
    if found is None or found[1].lower() not in _KNOWN:
        return None
    name, value = found[1].lower(), found[2]
    return name, value if name == "escape" else value.partition(" ")[0]


def add_directive(directives: dict[str, str], name: str, value: str) -> None:
    """Note one directive; raises `FormatError` where it is repeated or cannot be followed."""
    if name in directives:
        raise FormatError(f"only one {name} parser directive can be used")
    if name == "escape" and value not in _ESCAPES:
        raise FormatError(f"invalid escape token '{value}' does not match ` or \\")
    if name == "syntax":
        _check_frontend(value)
    directives[name] = value


def check_other_syntax(line: str) -> None:
    """Raise `FormatError` if a line, the first that is no directive, names another frontend."""
    found = _OTHER_SYNTAX.fullmatch(line.strip())
    if found is not None:
        _check_frontend(found[1] or found[2])


def check_given_syntax(build_args: Mapping[str, str]) -> None:
    """Raise `FormatError` if the build argument for it names another frontend."""
    if name := build_args.get(SYNTAX_ARG):
        _check_frontend(name, f"{SYNTAX_ARG}: ", "build argument")


def _check_frontend(name: str, where: str = "", what: str = "syntax line") -> None:
    if not _FRONTEND.fullmatch(name):
        raise FormatError(
            f"{where}the frontend {name} is not supported",
            hint="only the built-in docker/dockerfile frontend is supported; remove the "
            f"{what} if the file is a plain Dockerfile",
        )
