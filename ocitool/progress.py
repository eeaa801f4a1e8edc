"""Progress as values: the library emits events, and a `ProgressSink` shows them.

Events may come from several threads at once; a sink does its own locking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Bytes of one blob that were transferred.  ``total`` is 0 if it is unknown.

    ``state`` goes from ``"running"`` to one of ``"done"``, ``"exists"`` (nothing to transfer),
    ``"mounted"`` (taken from another repository of the same registry) or ``"failed"``.
    """

    key: str  # the digest, or the URL
    action: str  # "pull", "push", "unpack", "save", "load", "fetch"
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
    """A step failed, or was *canceled* because the build was interrupted."""

    step: int
    message: str
    canceled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message; ``level`` is ``"debug"``, ``"info"`` or ``"warning"``."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWarning:
    """A build check found something; see `ocitool.builder.checks.rules`."""

    rule: str  # its name
    url: str  # of the page that explains the rule; "" without a page
    detail: str  # a sentence
    file: str
    line: int  # the first one, from 1
    excerpt: tuple[str, ...]  # the lines themselves

    @property
    def last_line(self) -> int:
        """The number of the last line."""
        return self.line + len(self.excerpt) - 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.detail}"


Event = Transfer | StepStarted | StepOutput | StepFinished | StepErred | Notice | CheckWarning


class ProgressSink(Protocol):
    """Receives events; must not raise."""

    def emit(self, event: Event) -> None:
        """Receive one event, in any thread."""


def wants_streams(sink: ProgressSink) -> bool:
    """Say whether *sink* gets a step's stderr apart from its stdout.

    The price is their order: what comes by two pipes at the same time has none.  So it is asked of
    sinks that have ``streams = True``, and others get everything as stdout.
    """
    return getattr(sink, "streams", False) is True


class Silent:
    """A sink that ignores all events: the default of every function."""

    def emit(self, event: Event) -> None:
        return None


SILENT = Silent()
_STEP: Final = 1 << 19  # bytes between two events


class TransferCounter:
    """Emits the `Transfer`s of one blob from the bytes that are counted."""

    def __init__(self, sink: ProgressSink, action: str, *, key: str, total: int) -> None:
        self._sink = sink
        self._action = action
        self._key = key
        self._total = total
        self._done = 0
        self._emitted = 0

    def begin(self) -> None:
        """Emit that the transfer begins, or begins again."""
        self._done = self._emitted = 0
        self._emit("running")

    def count(self, data: bytes) -> None:
        """Count *data*; the events are half a megabyte apart."""
        self._done += len(data)
        if self._done - self._emitted >= _STEP:
            self._emitted = self._done
            self._emit("running")

    def end(self, state: str) -> None:
        """Emit the last *state*."""
        if state != "failed":
            self._done = self._total or self._done
        self._emit(state)

    def _emit(self, state: str) -> None:
        self._sink.emit(
            Transfer(
                key=self._key, action=self._action, done=self._done, total=self._total, state=state
            )
        )
