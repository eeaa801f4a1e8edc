"""The state of all work under way, as events build it up: what the terminal shows a part of."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ocitool.cli.text import LineBuffer, shortened
from ocitool.progress import (
    Event,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

TAIL = 20  # last lines of output kept of each step
_WINDOW = 10.0  # seconds over which the speed of a transfer is taken
_SPACING = 0.25  # seconds between two samples of it


@dataclass(slots=True)
class Step:
    """One build step; ``seconds`` is None while it runs."""

    name: str
    started: float
    seconds: float | None = None
    cached: bool = False
    error: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    _buffers: dict[str, LineBuffer] = field(default_factory=dict)

    def take(self, event: StepOutput) -> None:
        """Keep the last lines of what was printed; the others cost next to nothing."""
        buffer = self._buffers.setdefault(event.stream, LineBuffer())
        self.tail.extend(buffer.feed(event.data, last=TAIL))

    def end(self, seconds: float) -> None:
        self.seconds = seconds
        for buffer in self._buffers.values():
            self.tail.extend(buffer.flush())
        self._buffers.clear()


@dataclass(slots=True)
class Flow:
    """One transfer, and how fast it went lately."""

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
        """Return bytes a second, 0 while unknown."""
        if not self._samples:
            return 0.0
        start, done = self._samples[0]
        return max(0.0, (self.latest.done - done) / (now - start)) if now > start else 0.0

    def remaining(self, now: float) -> float | None:
        """Return the seconds that are left, None where nobody knows."""
        speed = self.speed(now)
        left = self.latest.total - self.latest.done
        return left / speed if speed and left > 0 else None


@dataclass(slots=True)
class Board:
    """Steps by number and transfers by blob, in the order in which they began."""

    began: float
    steps: dict[int, Step] = field(default_factory=dict)
    flows: dict[tuple[str, str], Flow] = field(default_factory=dict)

    def take(self, event: Event, now: float) -> None:
        """Note what *event* says; an event about an unknown step is passed over."""
        if isinstance(event, Transfer):
            flow = self.flows.setdefault((event.action, event.key), Flow(event))
            flow.take(event, now)
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
            step.error = event.message or "failed"
