"""Progress output on stderr: `choose` returns the renderer for the stream."""

from __future__ import annotations

import sys
from typing import TextIO

from ocitool.cli.output.output import is_terminal
from ocitool.cli.progress.renderer import Quiet, Renderer
from ocitool.errors import FormatError

MODES = ("auto", "plain", "tty", "json", "rawjson", "quiet", "none")


def choose(
    mode: str, stream: TextIO | None = None, *, debug: bool = False, build: bool = False
) -> Renderer:
    """Return a renderer that writes events to *stream*, to be used in a ``with`` block.

    ``auto`` and ``tty`` redraw a terminal, and write plain lines if *stream* (default: stderr) is
    not a terminal; ``none`` writes no warnings either.  With *build*, warnings are printed at the
    end.  The renderers are imported when they are used, since the one for terminals is slow to
    load.

    Raises:
        FormatError: *mode* is not one of `MODES`.
    """
    if mode not in MODES:
        raise FormatError(
            f"unknown mode {mode!r}", where="--progress", hint=f"supported: {', '.join(MODES)}"
        )
    target = sys.stderr if stream is None else stream
    if mode == "quiet":
        return Quiet(target, debug=debug, build=build)
    if mode == "none":
        return Quiet(target, debug=debug, build=build, warnings=False)
    if mode == "rawjson":
        from ocitool.cli.progress.rawjson import RawJson

        return RawJson(target, debug=debug, build=build)
    if mode == "json":
        from ocitool.cli.progress.jsonlines import JsonLines

        return JsonLines(target, debug=debug, build=build)
    if mode != "plain" and is_terminal(target):
        from ocitool.cli.progress.tty import Tty

        return Tty(target, debug=debug, build=build)
    from ocitool.cli.progress.plain import Plain

    return Plain(target, debug=debug, build=build)
