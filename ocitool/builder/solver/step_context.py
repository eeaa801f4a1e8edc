"""What the steps of a build are done with."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ocitool.builder.context.context import Context
from ocitool.builder.solver.solver import Solver
from ocitool.progress import ProgressSink
from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The store, the context, and who decides what must be done."""

    store: Store
    solver: Solver
    context: Context
    progress: ProgressSink
    epoch: int | None  # SOURCE_DATE_EPOCH
    compression: str = "gzip"  # of the layers that are made

    def now(self) -> int:
        """Return the time of what the builder makes itself, in nanoseconds."""
        return time.time_ns() if self.epoch is None else self.epoch * 1_000_000_000
