"""Where an instruction stands in a Dockerfile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from ocitool.errors import DockerfileError, OcitoolError

Error = TypeVar("Error", bound=OcitoolError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where an instruction stands.

    ``first`` and ``last`` count physical lines of the file ``name`` from 1 and include heredocs,
    ``lines`` are these; ``text`` is the instruction in one line, continuations joined as they are,
    without heredocs.  ``comments`` are those in front of it, without the ``#``.
    """

    first: int
    last: int
    text: str
    name: str = field(default="Dockerfile", compare=False)
    lines: tuple[str, ...] = field(default=(), compare=False, repr=False)
    comments: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.name}:{self.first}"

    def error(
        self, message: str, *, hint: str = "", kind: type[DockerfileError] = DockerfileError
    ) -> DockerfileError:
        """Return the error that points at these lines."""
        return kind(message, name=self.name, line=self.first, excerpt=self.lines, hint=hint)

    def locate(self, error: Error) -> Error:
        """Return *error*, pointing at these lines."""
        error.where, error.line, error.excerpt = str(self), self.first, self.lines
        return error
