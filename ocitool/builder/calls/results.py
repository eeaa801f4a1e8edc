"""The answers, as values."""

from __future__ import annotations

from dataclasses import dataclass

from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.frontend.outline import Outline
from ocitool.errors import OcitoolError
from ocitool.progress import CheckWarning


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A Dockerfile that was asked about; several are read as one."""

    name: str
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What the build checks found, in the order of the lines.

    ``error`` is what would make a build fail; checks that come after it were not executed.
    """

    files: tuple[Asked, ...]
    warnings: tuple[CheckWarning, ...]
    error: OcitoolError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineResult:
    """What a build of the target can be given."""

    files: tuple[Asked, ...]
    outline: Outline


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A stage that can be built; texts are as they are written."""

    name: str
    description: str
    base: str
    platform: str
    default: bool
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsResult:
    """The stages of a Dockerfile."""

    files: tuple[Asked, ...]
    targets: tuple[Target, ...]
