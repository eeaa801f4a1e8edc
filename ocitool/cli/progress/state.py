"""The state of all steps and transfers, updated by events, for the terminal renderer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ocitool.cli.output.text import LineBuffer, shortened
from ocitool.progress import (
    Event,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

TAIL = 20  # last lines of output kept of each step
_WINDOW = 10.0  # seconds over which the speed of a transfer is averaged
_SPACING = 0.25  # seconds between two samples of the speed


@dataclass(slots=True)
class Step:
    """One build step; ``seconds`` is None while it runs."""

    name: str
    started: float
    seconds: float | None = None
    cached: bool = False
    error: str = ""
    canceled: bool = False
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    _buffers: dict[str, LineBuffer] = field(default_factory=dict)

    def take(self, event: StepOutput) -> None:
        """Add output of the step; only the last `TAIL` lines are kept."""
        buffer = self._buffers.setdefault(event.stream, LineBuffer())
        self.tail.extend(buffer.feed(event.data, last=TAIL))

    def end(self, seconds: float) -> None:
        self.seconds = seconds
        for buffer in self._buffers.values():
            self.tail.extend(buffer.flush())
        self._buffers.clear()


@dataclass(slots=True)
class TransferState:
    """One transfer, and samples of its recent progress."""

    latest: Transfer
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, event: Transfer, now: float) -> None:
        self.latest = event
        samples = self._samples
        if not samples or now - samples[-1][0] >= _SPACING:
            samples.append((now, event.done))
        while now - samples[0][0] > _WINDOW and len(samples) > 2:
            samples.popleft()

    def speed(self, now: float) -> float:
        """Return the speed in bytes per second, 0 while unknown."""
        if not self._samples:
            return 0.0
        start, done = self._samples[0]
        return max(0.0, (self.latest.done - done) / (now - start)) if now > start else 0.0

    def remaining(self, now: float) -> float | None:
        """Return the estimated remaining seconds, None while unknown."""
        speed = self.speed(now)
        left = self.latest.total - self.latest.done
        return left / speed if speed and left > 0 else None


@dataclass(slots=True)
class ProgressState:
    """Steps by number and transfers by blob, in the order of their start."""

    began: float
    steps: dict[int, Step] = field(default_factory=dict)
    transfers: dict[tuple[str, str], TransferState] = field(default_factory=dict)

    def take(self, event: Event, now: float) -> None:
        """Update the state from *event*; events of unknown steps are ignored."""
        if isinstance(event, Transfer):
            transfer = self.transfers.setdefault((event.action, event.key), TransferState(event))
            transfer.take(event, now)
        elif isinstance(event, StepStarted):
            self.steps[event.step] = Step(shortened(" ".join(event.name.split())), now)
        elif isinstance(event, (StepOutput, StepFinished, StepErred)):
            self._take_step(event, now)

    def _take_step(self, event: StepOutput | StepFinished | StepErred, now: float) -> None:
        step = self.steps.get(event.step)
        if step is None:
            return
        if isinstance(event, StepOutput):
            step.take(event)
        elif isinstance(event, StepFinished):
            step.end(event.seconds)
            step.cached = event.cached
        else:
            step.end(now - step.started)
            step.canceled = event.canceled
            step.error = "" if event.canceled else event.message or "failed"
