"""What a step is executed with, besides itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocitool.builder.solver.copy_digests import CopySource
from ocitool.store.database.build_cache import Content
from ocitool.store.layer_content import Layer

if TYPE_CHECKING:
    from ocitool.builder.solver.mounts.sources import MountSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the vertices that a step names came to."""

    parents: tuple[Layer, ...]  # the file system that it stands on, lowest layer first
    source: CopySource | None = None  # COPY: what it takes files from,
    contents: tuple[Content, ...] = ()  # and which
    mounted: tuple[MountSource | None, ...] = ()  # RUN: what each mount takes files from
