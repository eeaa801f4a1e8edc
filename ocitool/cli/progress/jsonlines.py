"""Progress for programs: one JSON object per event, one event per line.

Every object has ``type`` and ``time`` (RFC 3339, UTC).  The other fields are the event's own:

    transfer       key action done total state
    step_started   step name
    step_output    step stream data      (text; a character is never split, bytes that are
                                          not UTF-8 become U+FFFD)
    step_finished  step seconds cached
    step_erred     step message canceled
    error          message detail hint exit_code
                                         (what ended the command; detail are further lines)
    notice         text level            (each text once; debug only with --debug)
    check_warning  rule url detail file line excerpt
"""

from __future__ import annotations

import codecs
import dataclasses
import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, TextIO

import click

from ocitool.cli.errors import documents, exit_code
from ocitool.cli.output.units import format_time
from ocitool.cli.progress.renderer import Renderer
from ocitool.progress import (
    CheckWarning,
    Event,
    Notice,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

#: Each event, and its ``type``; docs/progress.md has them with their fields.
EVENTS: Final[Mapping[type[Event], str]] = {
    Transfer: "transfer",
    StepStarted: "step_started",
    StepOutput: "step_output",
    StepFinished: "step_finished",
    StepErred: "step_erred",
    Notice: "notice",
    CheckWarning: "check_warning",
}


class JsonLines(Renderer):
    """Writes every event immediately."""

    def __init__(self, stream: TextIO, *, debug: bool = False, build: bool = False) -> None:
        super().__init__(stream, debug=debug, build=build)
        self._decoders: dict[tuple[int, str], codecs.IncrementalDecoder] = {}

    streams = True  # of steps: stderr apart from stdout

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write an error as events; then nothing is left to print but the exit code."""
        super().__exit__(kind, error, trace)
        if error is None or isinstance(error, (SystemExit, click.exceptions.Exit)):
            return
        code = exit_code(error)
        for fields in documents(error, debug=self._debug):
            self._put("error", {**fields, "exit_code": code})
        raise click.exceptions.Exit(code) from error

    def emit(self, event: Event) -> None:
        with self._lock:
            if not isinstance(event, Notice):
                self.show(event)
            elif event.level == "warning":
                self._warn(event)
            elif event.level != "debug" or self._debug:
                self._put(EVENTS[type(event)], dataclasses.asdict(event))

    def show(self, event: Event) -> None:
        if isinstance(event, StepOutput):
            self._output(event)
            return
        if isinstance(event, (StepFinished, StepErred)):
            self._rest(event.step)
        self._put(EVENTS[type(event)], dataclasses.asdict(event))

    def finish(self) -> None:
        for step in {step for step, _ in self._decoders}:
            self._rest(step)

    def _warn(self, event: Notice) -> None:
        if event.text not in self._warnings:
            self._warnings[event.text] = True
            self._put(EVENTS[type(event)], dataclasses.asdict(event))

    def _output(self, event: StepOutput, final: bool = False) -> None:
        key = (event.step, event.stream)
        decoder = self._decoders.get(key)
        if decoder is None:
            decoder = self._decoders[key] = codecs.getincrementaldecoder("utf-8")("replace")
        if text := decoder.decode(event.data, final):
            self._put(
                EVENTS[type(event)], {"step": event.step, "stream": event.stream, "data": text}
            )

    def _rest(self, step: int) -> None:
        """Write the remaining bytes of an incomplete character."""
        for key in [key for key in self._decoders if key[0] == step]:
            self._output(StepOutput(step=step, data=b"", stream=key[1]), final=True)
            del self._decoders[key]

    def _put(self, kind: str, fields: Mapping[str, object]) -> None:
        head = {"type": kind, "time": format_time(time.time_ns())}
        self.line(json.dumps(head | dict(fields), separators=(",", ":")))
