"""The base class of the renderers: one lock, warnings, and a stream that may be closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TextIO

from ocitool.cli.output.output import write
from ocitool.cli.output.text import one_line, shortened
from ocitool.progress import CheckWarning, Event, Notice, StepStarted


class Renderer:
    """A `ProgressSink` to be used in a ``with`` block; subclasses define how events are shown.

    ``emit`` never raises: if the stream is closed, nothing more is printed.  Each warning is
    printed once: at the end of a *build* (or of anything with steps), where its output does not
    hide it, and immediately otherwise.  What the build checks found is printed at the end, with
    *debug* in full.  Debug messages are printed only with *debug*.
    """

    def __init__(self, stream: TextIO, *, debug: bool = False, build: bool = False) -> None:
        self.stream = stream
        self._debug = debug
        self._lock = threading.RLock()
        self._build = build
        self._warnings: dict[str, bool] = {}  # text -> was it shown?
        self._checks: list[CheckWarning] = []
        self._blank = False  # whether the last line was
        self._gone = False
        self._error: BaseException | None = None  # that ended the ``with`` block

    # -- for subclasses ----------------------------------------------------------------

    def show(self, event: Event) -> None:
        """Show an event that is not a notice; the default shows nothing.  The lock is held."""

    def notice(self, text: str) -> None:
        """Show one line that belongs to no step; the lock is held."""
        self.line(text)

    def finish(self) -> None:
        """Show what is not shown yet; the lock is held."""

    def line(self, text: str) -> None:
        """Write one line; control characters are escaped."""
        if self._gone:
            return
        self._blank = not text
        try:
            write(text + "\n", self.stream)
        except (OSError, ValueError):  # a broken pipe, a full disk, a closed stream
            self._gone = True

    # -- the sink ----------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Process one event; may be called from any thread."""
        with self._lock:
            if isinstance(event, Notice):
                self._take_notice(event)
                return
            if isinstance(event, CheckWarning):
                self._checks.append(event)
                return
            self._build = self._build or isinstance(event, StepStarted)
            self.show(event)

    def _take_notice(self, event: Notice) -> None:
        text = one_line(shortened(event.text))
        if event.level == "warning":
            self._warnings.setdefault(text, False)
            if not self._build:
                self._show_warnings()
        elif event.level != "debug":
            self.notice(text)
        elif self._debug:
            self.notice(f"debug: {text}")

    def _show_warnings(self) -> None:
        for text, shown in self._warnings.items():
            if not shown:
                self.notice(f"warning: {text}")
                self._warnings[text] = True

    def close(self) -> None:
        """Show the final state and the warnings; a second call does nothing."""
        with self._lock:
            self.finish()
            self._show_warnings()
            self._show_checks()

    def _show_checks(self) -> None:
        if self._checks:
            if not self._blank:
                self.notice("")
            for line in check_lines(self._checks, full=self._debug):
                self.notice(line)
            self._checks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._error = error
        self.close()


def check_lines(checks: Sequence[CheckWarning], *, full: bool) -> Iterator[str]:
    """Yield what is shown of build checks, in the order of the lines; *full* adds the lines."""
    from ocitool.builder.checks.rules import RULES

    count = "1 warning" if len(checks) == 1 else f"{len(checks)} warnings"
    yield f" {count} found{'' if full else ' (use --debug to expand)'}:"
    for check in sorted(checks, key=lambda check: (check.file, check.line)):
        yield one_line(shortened(f" - {check.rule}: {check.detail} ({check.file}:{check.line})"))
        if full:
            yield RULES[check.rule].description
            if check.url:
                yield f"More info: {check.url}"
            for number, line in enumerate(check.excerpt, start=check.line):
                yield one_line(shortened(f"{number:>4} | >>> {line}".rstrip()))
            yield ""


class Quiet(Renderer):
    """Shows *warnings* only, or nothing."""

    def __init__(
        self, stream: TextIO, *, debug: bool = False, build: bool = False, warnings: bool = True
    ) -> None:
        super().__init__(stream, debug=debug, build=build)
        self._shown = warnings

    def notice(self, text: str) -> None:
        if self._shown and text.startswith("warning: "):
            self.line(text)
