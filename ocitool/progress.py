"""Progress as values: the library emits events, and a `ProgressSink` shows them.

Events may come from several threads at once; a sink does its own locking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Bytes of one blob that were transferred.  ``total`` is 0 if it is unknown.

    ``state`` goes from ``"running"`` to one of ``"done"``, ``"exists"`` (nothing to transfer),
    ``"mounted"`` (taken from another repository of the same registry) or ``"failed"``.
    """

    key: str  # the digest
    action: str  # "pull", "push", "unpack", "save", "load"
    done: int = 0  # bytes
    total: int = 0  # bytes
    state: str = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A build step started.  ``step`` is unique in the build and counts from 1."""

    step: int
    name: str  # "[build 2/5] RUN make"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput:
    """Output of a step; a piece may end in the middle of a line or of a character."""

    step: int
    data: bytes
    stream: str = "stdout"  # or "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step succeeded; ``cached`` if its result was in the build cache."""

    step: int
    seconds: float
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepErred:
    """A step failed."""

    step: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message; ``level`` is ``"debug"``, ``"info"`` or ``"warning"``."""

    text: str
    level: str = "info"


Event = Transfer | StepStarted | StepOutput | StepFinished | StepErred | Notice


class ProgressSink(Protocol):
    """Receives events; must not raise."""

    def emit(self, event: Event) -> None:
        """Receive one event, in any thread."""


class Silent:
    """A sink that ignores all events: the default of every function."""

    def emit(self, event: Event) -> None:
        return None


SILENT = Silent()
