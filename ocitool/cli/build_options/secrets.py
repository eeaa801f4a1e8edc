"""``--secret`` and ``--ssh``; of secrets the values are read at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Final

import click

from ocitool.cli.build_options.words import split_fields
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.goflags import BOOL
from ocitool.errors import BuildError

_KEYS: Final = ("id", "src", "source", "env", "type")
_FORM: Final = "id=NAME[,src=FILE|env=NAME]"


def _secrets(
    context: click.Context, parameter: click.Parameter, words: Sequence[str]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for word in words:
        fields = split_fields(word, "--secret", _KEYS)
        name = fields.get("id", "")
        if not name:
            raise click.UsageError(f"invalid --secret {word!r}: id is missing, expected {_FORM}")
        if name in found:
            raise click.UsageError(f"invalid --secret {word!r}: the id is used twice")
        found[name] = _value(name, word, fields)
    return found


def _value(name: str, word: str, fields: Mapping[str, str]) -> bytes:
    """Return the value: of the file or variable that is named, else of those of the ID's name."""
    kind, file = fields.get("type", ""), fields.get("src", "") or fields.get("source", "")
    variable = fields.get("env", "")
    if kind not in ("", "file", "env"):
        raise click.UsageError(
            f"invalid --secret {word!r}: type {kind!r} is not supported, expected file or env"
        )
    if kind == "env":
        file, variable = "", variable or file or name  # of this type, src names a variable
    if bool(fields.get("src")) + bool(fields.get("source")) + bool(fields.get("env")) > 1 or (
        kind == "file" and variable
    ):
        raise click.UsageError(f"invalid --secret {word!r}: a secret has one source, src or env")
    if not file and not variable and kind != "file" and name in os.environ:
        variable = name
    if variable:
        return os.environb.get(os.fsencode(variable), b"")  # empty if it is not set, as in BuildKit
    return _content(name, file or name)


def _content(name: str, path: str) -> bytes:
    """Return what is in a file, or in a pipe, as ``<(command)`` of a shell is one."""
    from ocitool.builder.secrets.secrets import LARGEST

    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(mode := os.fstat(fd).st_mode) and not stat.S_ISFIFO(mode):
                raise BuildError(
                    f"failed to read secret {name}: {path} is not a file",
                    hint="name its file with src=FILE, or a variable with env=NAME",
                )
            os.set_blocking(fd, True)
            with open(fd, "rb", closefd=False) as file:
                return file.read(LARGEST + 1)
        finally:
            os.close(fd)
    except OSError as error:
        hint = "name its file with src=FILE, or a variable with env=NAME"
        if path.startswith("~"):
            hint = "the shell does not expand ~ there: write $HOME"
        raise BuildError(
            f"failed to read secret {name}: open {path}: {error.strerror}", hint=hint
        ) from error


options = all_of(
    click.option(
        "--secret", "secrets", multiple=True, metavar=_FORM, callback=_secrets,
        help="Secret for RUN --mount=type=secret and ADD of URLs; without src and env, the"
        " variable or else the file of that name",
    ),
    click.option(
        "--secret-scan", type=BOOL, default=True, metavar="on|off",
        help="Fail if the image contains the value of a secret"
        "  [default: on]",
    ),
    click.option(
        "--ssh", multiple=True, metavar="default|ID[=SOCKET|KEY[,KEY...]]",
        help="SSH agent for RUN --mount=type=ssh; by default that of SSH_AUTH_SOCK, otherwise the"
        " one behind a socket, or one that has the private keys in these files",
    ),
)  # fmt: skip
