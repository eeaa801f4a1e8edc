"""The ignore files of a context, and of its Dockerfile."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from ocitool.builder.context.ignore.inside import Inside, beside, inside
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.errors import BuildError
from ocitool.inputfile import read_input_file

LARGEST: Final = 16 << 20  # bytes of a Dockerfile or of an ignore file


def ignore_rules(
    dockerfile: str, top: str, warn: Callable[[str], object] = lambda _: None
) -> IgnoreRules:
    """Read the Dockerfile's own ignore file, or else that of the context.

    Only one is read.  The order is buildah's, which has BuildKit's two names in BuildKit's order.
    A link that leads out of the context is no ignore file, as with both; *warn* says so.
    """
    paths = []
    if dockerfile:
        for name in (".dockerignore", ".containerignore"):
            paths.append((dockerfile + name, beside(dockerfile, name, top)))
    for name in (".containerignore", ".dockerignore"):
        paths.append((f"{top}/{name}", inside(top, name)))
    for called, path in paths:
        shown = display_name(called)
        try:
            return IgnoreRules.parse(read_text(path, shown), name=shown)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            # BuildKit ignores a directory of this name, too.
            if os.path.isfile(called):
                warn(f"{shown} is not read: it is a link that leads out of the context;"
                     f" to use it nevertheless, give --ignorefile {shown}")  # fmt: skip
        except OSError as error:
            raise BuildError(
                f"failed to read ignore file {shown}: {error.strerror}",
                hint="make it readable; otherwise files that it excludes would be copied",
            ) from error
    return IgnoreRules()


def read_text(file: str | Inside, shown: str) -> bytes:
    """Return the text of a Dockerfile or an ignore file, which messages call *shown*."""
    path, open_file = (file, os.open) if isinstance(file, str) else ("/".join(file), file.open)
    hint = "a Dockerfile can be given on standard input: -f -"
    return read_input_file(path, LARGEST, where=shown, hint=hint, open_file=open_file)


def display_name(path: str) -> str:
    """Return what messages call the file *path*."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
