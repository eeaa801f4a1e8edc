"""The steps of a build as its progress shows them: numbered, timed, ended or failed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ocitool.progress import ProgressSink, StepErred, StepFinished, StepOutput, StepStarted


class ShownStep:
    """A step while it is executed; the caller sets ``cached``."""

    def __init__(self, number: int, progress: ProgressSink) -> None:
        self.number = number
        self.progress = progress
        self.cached = False

    def print(self, data: bytes) -> None:
        """Show output of the step."""
        if data:
            self.progress.emit(StepOutput(step=self.number, data=data))


class ShownSteps:
    """Shows steps on *progress*; they count from 1."""

    def __init__(self, progress: ProgressSink) -> None:
        self.progress = progress
        self._count = 0

    @contextlib.contextmanager
    def show(self, name: str) -> Iterator[ShownStep]:
        """Show the step *name* while the block is executed."""
        self._count += 1
        step, began = ShownStep(self._count, self.progress), time.monotonic()
        self.progress.emit(StepStarted(step=step.number, name=name))
        try:
            yield step
        except BaseException as error:
            canceled = isinstance(error, KeyboardInterrupt)  # which has no text
            message = "canceled" if canceled else str(error)
            erred = StepErred(step=step.number, message=message, canceled=canceled)
            self.progress.emit(erred)
            raise
        seconds = time.monotonic() - began
        self.progress.emit(StepFinished(step=step.number, seconds=seconds, cached=step.cached))
