"""Progress as plain lines, for logs and pipes, in the style of BuildKit.

    #3 [build 2/5] RUN make
    #3 0.412 cc -c main.c
    #3 DONE 1.2s

When the output switches to another step, ``#3 ...`` is printed for the interrupted step, and its
name again when its output continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from ocitool.cli.output.output import short_id
from ocitool.cli.output.text import LineBuffer, one_line, shortened
from ocitool.cli.output.units import human_size
from ocitool.cli.progress.renderer import Renderer
from ocitool.progress import (
    Event,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

_DONE = {
    "unpack": "unpacked",
    "save": "saved",
    "load": "loaded",
    "fetch": "fetched",
    "check": "verified",
}


@dataclass(slots=True)
class _Step:
    name: str
    started: float
    buffers: dict[str, LineBuffer] = field(default_factory=dict)


class Plain(Renderer):
    """Writes a line for each event; for a transfer at its end, with the number of its step."""

    def __init__(
        self,
        stream: TextIO,
        *,
        debug: bool = False,
        build: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, debug=debug, build=build)
        self._clock = clock
        self._steps: dict[int, _Step] = {}
        self._current = 0  # the step whose lines were printed last, 0 for none

    def show(self, event: Event) -> None:
        if isinstance(event, Transfer):
            self._transfer(event)
        elif isinstance(event, StepStarted):
            self._start(event)
        elif isinstance(event, StepOutput):
            self._output(event)
        elif isinstance(event, StepFinished):
            mark = "CACHED" if event.cached else f"DONE {event.seconds:.1f}s"
            self._end(event.step, mark)
        elif isinstance(event, StepErred):
            text = f"ERROR: {shortened(_one_line(event.message))}"
            self._end(event.step, "CANCELED" if event.canceled else text)

    def finish(self) -> None:
        for number, step in self._steps.items():
            self._rest(number, step)
        self._steps.clear()

    # -- steps -------------------------------------------------------------------------

    def _start(self, event: StepStarted) -> None:
        self._steps[event.step] = _Step(_one_line(event.name), self._clock())
        self._switch_to(event.step)

    def _output(self, event: StepOutput) -> None:
        step = self._steps.get(event.step)
        if step is None:  # never announced: shown without a name
            step = self._steps[event.step] = _Step("", self._clock())
        buffer = step.buffers.setdefault(event.stream, LineBuffer())
        self._print(event.step, step, buffer.feed(event.data))

    def _rest(self, number: int, step: _Step) -> None:
        for buffer in step.buffers.values():
            self._print(number, step, buffer.flush())

    def _end(self, number: int, mark: str) -> None:
        step = self._steps.get(number)
        if step is not None:
            self._rest(number, step)
        self._switch_to(number)
        self._steps.pop(number, None)
        self.line(f"#{number} {mark}")
        self.line("")
        self._current = 0

    def _print(self, number: int, step: _Step, lines: list[str]) -> None:
        if not lines:
            return
        self._switch_to(number)
        stamp = f"{self._clock() - step.started:.3f}"
        self.line("\n".join(f"#{number} {stamp} {line}".rstrip() for line in lines))

    def _switch_to(self, number: int) -> None:
        """Make *number* the current step, and print its name if it was not."""
        if self._current == number:
            return
        if self._current:
            self.line(f"#{self._current} ...\n")
        self._current = number
        step = self._steps.get(number)
        if step is not None and step.name:
            self.line(f"#{number} {step.name}")

    # -- transfers ---------------------------------------------------------------------

    def _transfer(self, event: Transfer) -> None:
        if event.state == "running":
            return
        mark = event.state
        if mark == "done":
            size = human_size(event.total or event.done, 3)
            mark = f"{_DONE.get(event.action, 'done')} {size}"
        line = f"{short_key(event.key)}: {mark}"
        step = next(
            reversed(self._steps), 0
        )  # a transfer belongs to the step that was started last
        if step:
            self._switch_to(step)
            line = f"#{step} {line}"
        self.line(line)


def short_key(key: str) -> str:
    """Return a shortened digest: ``sha256:0123456789ab``."""
    algorithm, colon, _ = key.partition(":")
    short = short_id(key)
    return one_line(shortened(f"{algorithm}:{short}" if colon and short != key else key))


def _one_line(text: str) -> str:
    return " ".join(text.split())
