"""Progress in the form of BuildKit's clients, ``--progress=rawjson``: one status object a line.

    {"vertexes": [...], "statuses": [...], "logs": [...], "warnings": [...]}

A vertex is named by a digest of its number and name, so it is the same in each of its lines.
Transfers belong to the step that is executed; those of others, and notices, are not shown.  The
error that ends the command is text, as with buildx.

Source: moby/buildkit, client/graph.go, SolveStatus.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any, Final, TextIO

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

_STREAMS: Final = {"stdout": 1, "stderr": 2}


class RawJson(Renderer):
    """Writes every event of a step immediately, and each warning once."""

    streams = True  # of steps: stderr apart from stdout

    def __init__(self, stream: TextIO, *, debug: bool, build: bool) -> None:
        super().__init__(stream, debug=debug, build=build)
        self._vertices: dict[int, dict[str, Any]] = {}  # by step, those that have not ended
        self._last = ""  # digest of the step that was started last
        self._transfers: dict[str, str] = {}  # when those began that have not ended

    def emit(self, event: Event) -> None:
        with self._lock:
            if not isinstance(event, Notice):
                self.show(event)
            elif event.level == "warning" and event.text not in self._warnings:
                self._warnings[event.text] = True
                self._put("warnings", {"level": 1, "short": _encoded(event.text.encode())})

    def show(self, event: Event) -> None:
        now = format_time(time.time_ns())
        if isinstance(event, StepStarted):
            named = f"{event.step} {event.name}".encode()
            self._last = f"sha256:{hashlib.sha256(named).hexdigest()}"
            vertex = {"digest": self._last, "name": event.name, "started": now}
            self._vertices[event.step] = vertex
            self._put("vertexes", vertex)
        elif isinstance(event, StepOutput):
            digest = self._vertices[event.step]["digest"]
            log = {"vertex": digest, "stream": _STREAMS[event.stream], "data": _encoded(event.data)}
            self._put("logs", {**log, "timestamp": now})
        elif isinstance(event, StepFinished):
            cached = {"cached": True} if event.cached else {}
            self._put("vertexes", {**self._vertices.pop(event.step), "completed": now, **cached})
        elif isinstance(event, StepErred):
            vertex = self._vertices.pop(event.step)
            self._put("vertexes", {**vertex, "completed": now, "error": event.message})
        elif isinstance(event, Transfer) and self._vertices:
            self._transfer(event, now)
        elif isinstance(event, CheckWarning):
            self._put("warnings", vertex_warning(event))

    def _transfer(self, event: Transfer, now: str) -> None:
        begun = self._transfers.setdefault(event.key, now)
        status = {
            "id": f"{event.action} {event.key}",
            "vertex": self._last,
            "name": event.action,
            "total": event.total,
            "current": event.done,
            "timestamp": now,
            "started": begun,
        }
        if event.state != "running":
            status["completed"] = now
            del self._transfers[event.key]
        self._put("statuses", status)

    def _put(self, kind: str, fields: Mapping[str, object]) -> None:
        self.line(json.dumps({kind: [dict(fields)]}, separators=(",", ":")))


def vertex_warning(found: CheckWarning) -> dict[str, object]:
    """Return a warning as BuildKit's VertexWarning; it belongs to no vertex here."""
    from ocitool.builder.checks.rules import RULES

    lines = range(found.line, found.last_line + 1)
    return {
        "level": 1,
        "short": _encoded(f"{found.rule}: {found.detail} (line {found.line})".encode()),
        "detail": [_encoded(RULES[found.rule].description.encode())],
        "url": found.url,
        "sourceInfo": {"filename": found.file, "language": "Dockerfile"},
        "range": [{"start": {"line": line}, "end": {"line": line}} for line in lines],
    }


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
