"""Build arguments: those of ``--build-arg``, and of the files of ``--build-arg-file``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import click

from ocitool.cli.completion.values import files
from ocitool.cli.options.containers import all_of
from ocitool.errors import BuildError, FormatError

#: Bytes of a file of build arguments.
_LARGEST: Final = 16 << 20

options = all_of(
    click.option(
        "--build-arg", "build_args", multiple=True, metavar="NAME[=VALUE]",
        help="Build argument; without VALUE, taken from the environment",
    ),
    click.option(
        "--build-arg-file", "argument_files", multiple=True, metavar="FILE", shell_complete=files,
        help="File with one build argument per line; --build-arg overrides them; lines that"
        " begin with # are comments",
    ),
)  # fmt: skip


def read_arguments(words: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Return the build arguments of *words* and of the files *paths*; the last of a name counts."""
    found: dict[str, str] = {}
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            if line.strip() and not line.startswith("#"):
                if line.startswith("="):
                    raise FormatError(
                        f"invalid build argument {line!r}",
                        where=f"{path}:{number}",
                        hint="a line is NAME=VALUE, or NAME for the value in the environment",
                    )
                _add(found, line)
    for word in words:
        if not word.partition("=")[0]:
            raise click.UsageError(f"invalid environment variable: {word!r}")  # as docker
        _add(found, word)
    return found


def _lines(path: str) -> list[str]:
    from ocitool.inputfile import read_input_file

    try:
        data = read_input_file(path, _LARGEST)
    except OSError as error:
        raise BuildError(
            f"failed to read build arguments: open {path}: {error.strerror}",
            hint="--build-arg-file takes a file with a NAME=VALUE on each line",
        ) from error
    text = data.decode("utf-8", "surrogateescape")  # as the words of the command
    return text.replace("\r\n", "\n").split("\n")


def _add(found: dict[str, str], word: str) -> None:
    name, equals, value = word.partition("=")
    if equals:
        found[name] = value
    elif name in os.environ:
        found[name] = os.environ[name]
    else:
        found.pop(name, None)  # a value given before does not count, as with buildah
