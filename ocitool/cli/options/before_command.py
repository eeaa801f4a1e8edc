"""Options that docker, buildah and podman take before the command; buildah also after it.

These change nothing here and are accepted; `ocitool.cli.unsupported` says why others are not.
Source: ``buildah --help``, ``podman --help``, ``docker --help``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import click

_Option = Callable[[Any], Any]

_DEBUG: Final = ("debug", "trace")
_LEVELS: Final = (*_DEBUG, "info", "warn", "warning", "error", "fatal", "panic")
_LEVEL: Final = f"{__name__}.level"


def _note_level(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value not in _DEBUG:
        return
    if context.obj is None:  # before the command: there is no `App` yet
        context.meta[_LEVEL] = value
    else:
        context.obj = replace(context.obj, debug=True)


def is_debug(context: click.Context) -> bool:
    """Say whether a log level that means ``--debug`` was given before the command."""
    return _LEVEL in context.meta


def _log_level(*names: str) -> _Option:
    return click.option(
        *names, "--log-level", type=click.Choice(_LEVELS, case_sensitive=False),
        callback=_note_level, expose_value=False, hidden=True,
    )  # fmt: skip


def _accepted(name: str) -> _Option:
    return click.option(name, metavar="VALUE", expose_value=False, hidden=True)


#: Images are the same with every driver; ocitool's own option for that is --driver.
_STORAGE_DRIVER: Final = _accepted("--storage-driver")
_BEFORE: Final = (
    _STORAGE_DRIVER,
    _log_level("-l"),
    *map(_accepted, ("--cgroup-manager", "--events-backend", "--runroot")),
)
after_command: Final = (_STORAGE_DRIVER, _log_level())


def before_command(command: Any) -> Any:
    """Declare the options that are accepted before the command."""
    for option in reversed(_BEFORE):
        command = option(command)
    return command
