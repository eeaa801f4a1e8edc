"""Progress on a terminal, redrawn in place several times a second.

Events only update the `ProgressState`.  A thread draws it at a fixed rate, so that a step with
megabytes of output is not slowed down by the terminal.  The last state stays visible at the end.

Locks: the drawing thread takes the lock of rich and then the one of the renderer.  So rich must
not be called with the renderer's lock held: notices wait in a queue until it is released.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from ocitool.cli.output.output import write_raw
from ocitool.cli.output.text import escaped
from ocitool.cli.progress.renderer import Renderer
from ocitool.cli.progress.rows import Row, rows_of
from ocitool.cli.progress.state import ProgressState
from ocitool.progress import Event

_FRAMES = 8  # a second


class Tty(Renderer):
    """Draws the state with rich, from the first event on."""

    def __init__(
        self,
        stream: TextIO,
        *,
        debug: bool = False,
        build: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, debug=debug, build=build)
        self._console = console or Console(
            file=cast(Any, _IgnoreErrors(stream)), highlight=False, markup=False, emoji=False
        )
        self._clock = clock
        self._state = ProgressState(clock())
        self._pending: deque[str] = deque()
        self._live: Live | None = None
        self._starting = threading.Lock()
        self._final = False

    def show(self, event: Event) -> None:
        self._state.take(event, self._clock())

    def notice(self, text: str) -> None:
        self._pending.append(text)

    def emit(self, event: Event) -> None:
        super().emit(event)
        self._start()
        self._print_pending()

    def close(self) -> None:
        with self._lock:
            self._final = True
        with self._starting:
            live, self._live = self._live, None
        if live is not None:
            live.stop()
        super().close()
        self._print_pending()

    def _start(self) -> None:
        with self._starting:
            if self._live is None and not self._final and self._has_rows():
                self._live = Live(
                    self,
                    console=self._console,
                    refresh_per_second=_FRAMES,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()

    def _has_rows(self) -> bool:
        return bool(self._state.steps or self._state.transfers)

    def _print_pending(self) -> None:
        while self._pending:
            try:
                text = self._pending.popleft()
            except IndexError:  # taken by another thread
                return
            self._console.print(Text(text), soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = 0 if self._final else max(1, console.height - 1)
        fancy = options.encoding.startswith("utf")
        with self._lock:
            rows = rows_of(
                self._state,
                self._clock(),
                height=height,
                final=self._final,
                fancy=fancy,
                error=self._error,
            )
        # One cell short of the edge: terminals differ on what a full line does to the cursor.
        for row in rows:
            yield _text(row, max(1, options.max_width - 1))


def _text(row: Row, width: int) -> Text:
    """Return *row* as one line of at most *width* cells."""
    line = escaped(row.text.expandtabs(8))
    room = width - cell_len(row.right) - 2 if row.right else width
    if row.right and room > 8:
        line = f"{set_cell_size(line, room)}  {row.right}"
    return Text(set_cell_size(line, min(width, cell_len(line))), style=row.style, no_wrap=True)


class _IgnoreErrors:
    """A stream that ignores write errors: a closed terminal must not end the command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            write_raw(text, self._stream)
        except (OSError, ValueError):
            return 0
        return len(text)

    def flush(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
