"""What a mount of a RUN is made with, and what the sandbox gets of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ocitool.builder.mounts import CacheMount
from ocitool.builder.solver.mounts.sources import MountSource
from ocitool.builder.solver.step_context import StepContext
from ocitool_runtime.spec import DeviceRule, Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the sandbox of a RUN has of its mounts."""

    mounts: tuple[Mount, ...] = ()  # in the order in which they are made
    #: In no cache key, and not shown.
    env: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    devices: tuple[DeviceRule, ...] = ()  # that may be opened beside the usual ones
    groups: tuple[str, ...] = ()  # further groups of the user
    begun: tuple[Callable[[], None], ...] = ()  # to be called once the command runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What a mount is made with; ``stack`` removes after the RUN what was made for it."""

    context: StepContext
    source: MountSource | None  # what it takes files from
    stack: contextlib.ExitStack
    caches: Mapping[CacheMount, str]  # their directories, locked for this RUN

    @property
    def moves(self) -> bool:
        """Whether the isolation mounts nothing: it puts directories in place of mount points."""
        return moves(self.context)


def moves(context: StepContext) -> bool:
    """Say whether the isolation can mount nothing; see `ocitool_runtime.isolation.Isolation`."""
    return bool(getattr(context.isolation, "moves", False))
