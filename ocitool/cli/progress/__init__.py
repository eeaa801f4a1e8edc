"""Progress on stderr: `choose` gives the renderer that fits the stream."""

from __future__ import annotations

import sys
from typing import TextIO

from ocitool.cli.output import is_terminal
from ocitool.cli.progress.renderer import Quiet, Renderer
from ocitool.errors import FormatError

MODES = ("auto", "plain", "tty", "json", "quiet")


def choose(
    mode: str = "auto", stream: TextIO | None = None, *, debug: bool = False, build: bool = False
) -> Renderer:
    """Return a sink, to be used in a ``with`` block, that shows events on *stream*.

    ``auto`` and ``tty`` draw where *stream* (default: stderr) is a terminal, and write plain
    lines where it is not.  A *build* keeps warnings for its end.  The
    renderers are imported on use: the drawing one is slow to load.

    Raises:
        FormatError: *mode* is none of `MODES`.
    """
    if mode not in MODES:
        raise FormatError(
            f"unknown mode {mode!r}", where="--progress", hint=f"one of {', '.join(MODES)}"
        )
    target = sys.stderr if stream is None else stream
    if mode == "quiet":
        return Quiet(target, debug=debug, build=build)
    if mode == "json":
        from ocitool.cli.progress.jsonlines import JsonLines

        return JsonLines(target, debug=debug, build=build)
    if mode != "plain" and is_terminal(target):
        from ocitool.cli.progress.tty import Tty

        return Tty(target, debug=debug, build=build)
    from ocitool.cli.progress.plain import Plain

    return Plain(target, debug=debug, build=build)
