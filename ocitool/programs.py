"""Programs of the host: found by PATH, of which only absolute directories count.

An empty or relative entry means the working directory, which may be anybody's: the checkout that
is built.  A colon at an end is enough for one, as ``PATH=$TOOLS:$PATH`` has it where TOOLS is not
set.  Go's os/exec, and with it docker, refuses programs that are found there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def search_path(environ: Mapping[str, str] = os.environ) -> str:
    """Return PATH without what depends on the working directory; the default if nothing is left."""
    entries = environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(filter(os.path.isabs, entries)) or os.defpath


def find_program(name: str, path: str = "") -> str | None:
    """Return the absolute path of the program *name*, None if it is missing.

    *path* is looked up instead of PATH.
    """
    for directory in (path or search_path()).split(os.pathsep):
        found = os.path.join(directory, name)
        if os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    return None
