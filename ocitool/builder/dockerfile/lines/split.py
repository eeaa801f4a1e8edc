"""Physical lines -> logical ones: comments, continuations, heredocs, and where each came from.

Parser directives (``# syntax=``, ``# escape=``, ``# check=``) stand at the very top.  The first
line that is anything else ends them: a blank line, another comment, an unknown directive.  From
there on they are plain comments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ocitool.builder.dockerfile import arguments
from ocitool.builder.dockerfile.lines.directives import (
    add_directive,
    check_other_syntax,
    parse_directive,
)
from ocitool.builder.dockerfile.lines.excerpt import excerpt
from ocitool.builder.dockerfile.lines.heredocs import Heredoc, Opening, find_openings
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.errors import DockerfileError, FormatError

MAX_LINE = 65535  # bytes, without the newline
_BOM = b"\xef\xbb\xbf"
_HEREDOC_INSTRUCTIONS = frozenset(("RUN", "COPY", "ADD"))
# A doubled escape character at the end of a line is no continuation.
_CONTINUED = {
    escape: re.compile(rf"(?:^|(?<=[^{re.escape(escape)}])){re.escape(escape)}[ \t]*\Z")
    for escape in ("\\", "`")
}
_NOT_TEXT = re.compile("[\0\udc80-\udcff]")
_NO_UTF8 = "invalid UTF-8 text", "save the file as UTF-8"
_NO_NUL = "a NUL byte in the text", "remove it: no program can be given such a value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A logical line: one instruction, not yet understood.

    ``empty_continuation`` is the number of the last line of its text if there is an empty line
    within, which BuildKit will refuse some day, otherwise 0.
    """

    span: Span
    heredocs: tuple[Heredoc, ...] = ()
    empty_continuation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Dockerfile cut into logical lines.

    ``physical`` are the lines of the file, without line ends, for showing them in an error.
    """

    name: str
    physical: tuple[str, ...] = field(repr=False)
    directives: Mapping[str, str] = field(default_factory=dict, hash=False)
    directive_lines: Mapping[str, int] = field(default_factory=dict, hash=False)  # from 1
    lines: tuple[Line, ...] = ()

    @property
    def escape(self) -> str:
        return self.directives.get("escape", "\\")

    def error(self, first: int, last: int, message: str, *, hint: str = "") -> DockerfileError:
        """Return the error that shows the physical lines from *first* to *last*."""
        return DockerfileError(
            message,
            name=self.name,
            line=first,
            excerpt=excerpt(self.physical, first, last),
            hint=hint,
        )


def split(text: bytes, *, name: str = "Dockerfile") -> Source:
    """Cut a Dockerfile into logical lines; `DockerfileError` says where that fails."""
    raw = text.removeprefix(_BOM).split(b"\n")
    # Bytes that are not UTF-8 are let through here: in a comment they do no harm.
    physical = [line.decode("utf-8", "surrogateescape") for line in raw]
    source = Source(name=name, physical=tuple(line.rstrip("\r") for line in physical))
    for number, line in enumerate(raw, start=1):
        if len(line) > MAX_LINE:
            raise source.error(
                number, number, f"dockerfile line greater than max allowed size of {MAX_LINE}"
            )
    return _Splitter(source, physical).split()


class _Splitter:
    """Goes through the physical lines once."""

    def __init__(self, source: Source, physical: list[str]) -> None:
        self.source = source
        # What stands behind the last newline is a line only if there is something.
        self.physical = physical if physical[-1] else physical[:-1]
        self.at = 0  # lines that were read, so the number of the last one
        self.comments: list[str] = []  # since the last instruction

    def split(self) -> Source:
        directives, numbers = self.directives()
        escape = directives.get("escape", "\\")
        lines = []
        while self.at < len(self.physical):
            line = self.logical_line(escape)
            if line is not None:
                lines.append(line)
            if self.at in numbers.values():
                self.comments.clear()  # a directive describes nothing
        return Source(
            name=self.source.name,
            physical=self.source.physical,
            directives=directives,
            directive_lines=numbers,
            lines=tuple(lines),
        )

    def directives(self) -> tuple[dict[str, str], dict[str, int]]:
        """Return the value and the line of each directive, by its name."""
        found: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for number, line in enumerate(self.physical, start=1):
            # Behind a "#!" line BuildKit looks for syntax and check; escape is a comment there.
            if number == 1 and self.shebang():
                continue
            try:
                directive = parse_directive(line)
                if directive is None:
                    check_other_syntax(line)
                    break
                name, value = directive
                if name == "escape" and self.shebang():
                    continue
                add_directive(found, name, value)
            except FormatError as error:
                raise self.source.error(number, number, error.message, hint=error.hint) from error
            numbers[name] = number
        return found, numbers

    def shebang(self) -> bool:
        return self.physical[0].startswith("#!")

    def next(self) -> str:
        line = self.physical[self.at]
        self.at += 1
        return line.rstrip("\r")

    def logical_line(self, escape: str) -> Line | None:
        """Read one instruction; None for a comment or a blank line."""
        line = self.next()
        text = line.lstrip()
        if text.startswith("#"):
            self.comment(line[1:].strip())
        if not text or text.startswith("#"):
            return None
        first = self.at
        part, goes_on = _join(text, escape)
        parts = [part]
        empty = False
        while goes_on and self.at < len(self.physical):
            text = self.next()
            if not text.strip():
                empty = True
            elif not text.lstrip().startswith("#"):
                part, goes_on = _join(text, escape)
                parts.append(part)
        last = self.at
        joined = "".join(parts).strip()
        self.check(joined, first)
        documents = self.heredocs(joined, first, escape)
        span = Span(
            first=first,
            last=self.at,
            text=joined,
            name=self.source.name,
            lines=excerpt(self.source.physical, first, self.at),
            comments=tuple(self.comments),
        )
        self.comments.clear()
        return Line(
            span=span,
            heredocs=documents,
            empty_continuation=last if empty else 0,
        )

    def comment(self, text: str) -> None:
        """Keep a comment; one without text separates it from others, a blank line does not."""
        if text:
            self.comments.append(text)
        else:
            self.comments.clear()

    def check(self, text: str, first: int) -> None:
        if not text:
            raise self.source.error(first, self.at, "a continuation without an instruction")
        if wrong := _NOT_TEXT.search(text):
            problem, hint = _NO_NUL if wrong[0] == "\0" else _NO_UTF8
            raise self.source.error(first, self.at, problem, hint=hint)

    def heredocs(self, text: str, first: int, escape: str) -> tuple[Heredoc, ...]:
        word, rest = arguments.split_once(text)
        if word.upper() == "ONBUILD":
            word, rest = arguments.split_once(rest)
        if "<<" not in text or word.upper() not in _HEREDOC_INSTRUCTIONS:
            return ()
        if _is_array(rest, escape):
            return ()
        return tuple(self.heredoc(opening, first) for opening in find_openings(text))

    def heredoc(self, opening: Opening, first: int) -> Heredoc:
        announced = self.at
        content: list[str] = []
        while self.at < len(self.physical):
            # Content keeps its line ends, a carriage return too.
            line = self.physical[self.at]
            self.at += 1
            if opening.ends_at(line.rstrip("\r")):
                text = "".join(content)
                self.check(text or "\n", first)
                return opening.closed(text)
            content.append(line + "\n")
        raise self.source.error(
            first,
            announced,
            "unterminated heredoc",
            hint=f"no line {opening.name} follows: the closing line holds the name alone; only"
            " <<- allows tabs before it",
        )


def _join(text: str, escape: str) -> tuple[str, bool]:
    """Take a continuation off the end of a physical line, and say whether there was one."""
    found = _CONTINUED[escape].search(text)
    return (text, False) if found is None else (text[: found.start()], True)


def _is_array(rest: str, escape: str) -> bool:
    try:
        return arguments.parse_array(arguments.split_flags(rest, escape)[1]) is not None
    except FormatError:
        return True
