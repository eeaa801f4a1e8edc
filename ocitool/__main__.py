"""The command ``ocitool``, also as ``python -m ocitool``."""

from __future__ import annotations

import gc
from typing import Final, NoReturn

_SELDOM: Final = 50_000  # new objects between two searches for garbage


def main() -> NoReturn:
    """Run the command line and exit."""
    # A start makes many objects and no garbage; looking through them takes a tenth of its time,
    # and as much again when the interpreter ends.
    gc.set_threshold(_SELDOM)
    from ocitool.cli.main import main as command_line

    try:
        command_line()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
