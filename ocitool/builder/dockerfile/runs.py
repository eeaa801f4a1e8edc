"""RUN: a logical line to its instruction; the forms of its heredocs."""

from __future__ import annotations

from typing import Final

from ocitool.builder.dockerfile.arguments import flag_values, parse_flags
from ocitool.builder.dockerfile.devices import parse_device
from ocitool.builder.dockerfile.instructions import Command, Run
from ocitool.builder.dockerfile.lines.heredocs import Heredoc, parse_opening
from ocitool.builder.dockerfile.mounts import parse_mount_flag
from ocitool.builder.dockerfile.statements import Statement, documents
from ocitool.errors import FormatError
from ocitool_runtime.defaults import Network

_NETWORKS: Final = {"default": None, "none": Network.NONE, "host": Network.HOST}
_SECURITY: Final = ("sandbox", "insecure")


def parse_run(statement: Statement) -> Run:
    """Parse a RUN; raises `FormatError` without a location."""
    flags = parse_flags(
        statement.flags, strings=("network", "security"), repeated=("mount", "device")
    )
    network = flags.get("network", "default")
    if network not in _NETWORKS:
        raise FormatError(
            f'invalid network mode "{network}"', hint=f"one of {', '.join(_NETWORKS)}"
        )
    security = flags.get("security", "sandbox")
    if security not in _SECURITY:
        raise FormatError(
            f'security "{security}" is not valid', hint=f"one of {', '.join(_SECURITY)}"
        )
    command, heredocs = _script(statement)
    return Run(
        span=statement.span,
        command=command,
        heredocs=heredocs,
        network=_NETWORKS[network],
        mounts=tuple(map(parse_mount_flag, flag_values(statement.flags, "mount"))),
        insecure=security == "insecure",
        devices=tuple(map(parse_device, flag_values(statement.flags, "device"))),
    )


def _script(statement: Statement) -> tuple[Command, tuple[Heredoc, ...]]:
    """Use a single heredoc as the script; in all other cases the shell reads the heredocs."""
    if not statement.heredocs:
        return statement.command(), ()
    if len(statement.heredocs) == 1 and parse_opening(statement.rest) is not None:
        return Command(args=(statement.heredocs[0].text,), shell=True), statement.heredocs
    return Command(args=(statement.rest + documents(statement),), shell=True), ()
