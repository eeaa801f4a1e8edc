"""What happens, as values: the library emits events, a `ProgressSink` shows them.

Events may come from several threads at once; a sink takes care of its own locking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Bytes moved for one blob.  ``total`` is 0 where it is not known.

    ``state`` goes from ``"running"`` to one of ``"done"``, ``"exists"`` (nothing had to move),
    ``"mounted"`` (taken from another repository of the same registry) or ``"failed"``.
    """

    key: str  # the digest
    action: str  # "pull", "push", "unpack", "save", "load"
    done: int = 0  # bytes
    total: int = 0  # bytes
    state: str = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A build step begins.  ``step`` is unique in the build and counts from 1."""

    step: int
    name: str  # "[build 2/5] RUN make"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput:
    """Bytes a step printed, as they came; a chunk may end inside a line or a character."""

    step: int
    data: bytes
    stream: str = "stdout"  # or "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step ended well; ``cached`` if its result was there already."""

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
    """Something worth a line: ``level`` is ``"debug"``, ``"info"`` or ``"warning"``."""

    text: str
    level: str = "info"


Event = Transfer | StepStarted | StepOutput | StepFinished | StepErred | Notice


class ProgressSink(Protocol):
    """Takes events; must not raise."""

    def emit(self, event: Event) -> None:
        """Take one event, from any thread."""


class Silent:
    """A sink that drops everything: the default of every library call."""

    def emit(self, event: Event) -> None:
        return None


SILENT = Silent()
