"""What the execution of a step has beside the step itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ocitool.builder.secrets.secrets import Secrets
from ocitool.oci.timestamps import SECOND
from ocitool.progress import ProgressSink
from ocitool.store.store import Store
from ocitool_runtime.isolation import Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Where a step is executed, and how its layer is made."""

    store: Store
    progress: ProgressSink
    number: int  # of the step, in progress events
    epoch: int | None  # SOURCE_DATE_EPOCH
    compression: str  # of the layer
    isolation: Isolation  # of a RUN
    secrets: Secrets

    def now(self) -> int:
        """Return the time of what the builder makes itself, in nanoseconds."""
        return time.time_ns() if self.epoch is None else self.epoch * SECOND
