"""The command ``ocitool``, also as ``python -m ocitool``."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # a built-in: loading signal takes its time
import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

_SELDOM: Final = 50_000  # new objects between two searches for garbage


def main() -> NoReturn:
    """Run the command line and exit."""
    # A start makes many objects and no garbage; looking through them takes a tenth of its time,
    # and as much again when the interpreter ends.
    gc.set_threshold(_SELDOM)
    # While modules are loaded, and while the interpreter ends, Ctrl-C prints no traceback.
    handled = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if handled:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from ocitool.cli.main import main as command_line

    if handled:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    try:
        command_line()
    finally:
        if handled:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        gc.freeze()


if __name__ == "__main__":
    main()
