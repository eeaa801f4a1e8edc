"""Files that commands write, and archives on standard output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import click

from ocitool.errors import NotFound


@contextlib.contextmanager
def archive_to(path: str | None) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that writes to the file *path*, or to stdout for None, ``""`` and ``-``.

    A file is written as `archive_file` does it.

    Raises:
        UsageError: stdout is a terminal.
        NotFound: the file cannot be written.
    """
    from ocitool.image.archive.outfile import archive_file

    if not path or path == "-":
        if sys.stdout.isatty():
            raise click.UsageError(
                "cannot write an archive to a terminal: use --output, or redirect"
            )
        yield sys.stdout.buffer.write
        return
    with archive_file(path) as write:
        yield write


def require_file(path: str, option: str) -> None:
    """Refuse the file *path* of *option* early if it cannot be written later.

    Raises:
        NotFound: it is a directory, its directory is missing, or this user may not write to it.
    """
    if os.path.isdir(path):
        raise NotFound(f"{option} {path}: it is a directory", hint="name a file in it")
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise NotFound(
            f"{option} {path}: there is no directory {directory}", hint="make the directory first"
        )
    place = path if os.path.exists(path) else directory
    if not os.access(place, os.W_OK):
        raise NotFound(
            f"{option} {path}: this user may not write to {place}",
            hint="choose another file, or change the permissions",
        )


def write_text(path: str, text: str) -> None:
    """Write *text* to the file *path*; `NotFound` if it cannot be written."""
    try:
        with open(path, "w") as out:
            out.write(text)
    except OSError as error:
        raise NotFound(f"cannot write the file: {error.strerror}", where=path) from None
