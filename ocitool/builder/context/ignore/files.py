"""The ignore files of a context, and of its Dockerfile."""

from __future__ import annotations

import os
from typing import Final

from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.errors import BuildError
from ocitool.inputfile import read_input_file

LARGEST: Final = 16 << 20  # bytes of a Dockerfile or of an ignore file


def ignore_rules(dockerfile: str, top: str) -> IgnoreRules:
    """Read the Dockerfile's own ignore file, or else that of the context.

    Only one is read.  The order is buildah's, which has BuildKit's two names in BuildKit's order.
    """
    own = [dockerfile + name for name in (".dockerignore", ".containerignore")]
    context = [f"{top}/.containerignore", f"{top}/.dockerignore"]
    for path in (*(own if dockerfile else ()), *context):
        shown = display_name(path)
        try:
            return IgnoreRules.parse(read_text(path, shown), name=shown)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue  # BuildKit ignores a directory of this name, too
        except OSError as error:
            raise BuildError(
                f"failed to read ignore file {shown}: {error.strerror}",
                hint="make it readable; otherwise files that it excludes would be copied",
            ) from error
    return IgnoreRules()


def read_text(path: str, shown: str) -> bytes:
    """Return the text of a Dockerfile or an ignore file, which messages call *shown*."""
    hint = "a Dockerfile can be given on standard input: -f -"
    return read_input_file(path, LARGEST, where=shown, hint=hint)


def display_name(path: str) -> str:
    """Return what messages call the file *path*."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
