"""Finding the result of a step: in the cache, or by doing it, once among all processes."""

from __future__ import annotations

import time
from collections.abc import Callable

from ocitool.builder.solver.cache import Cache, Record
from ocitool.builder.solver.ops import Op
from ocitool.oci.timestamps import timestamp
from ocitool.progress import ProgressSink, StepErred, StepFinished, StepStarted
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store


class Solver:
    """Solves the steps of one build, numbers them, and tells how they go."""

    def __init__(
        self, store: Store, cache: Cache, progress: ProgressSink, epoch: int | None
    ) -> None:
        self._store = store
        self._cache = cache
        self._progress = progress
        self._epoch = epoch
        self.steps = 0
        self.cached = 0

    def solve(
        self, name: str, op: Op, perform: Callable[[int], Layer | None], *, silent: bool = False
    ) -> Record:
        """Return the record of *op*, which is shown as *name*.

        *perform* does the step and gets its number; it returns the layer that came of it, or None
        if there is none.  With *silent* it is neither numbered nor shown unless it is done.
        """
        key = op.key()
        record = self._cache.get(key)
        if record is not None and silent:
            return record
        step = self.begin(name)
        began = time.monotonic()
        if record is None:
            try:
                # Another process may be at the same step: then its result is taken.
                with self._store.layout.work_lock("step", key):
                    record = self._cache.get(key)
                    if record is None:
                        layer = perform(step)
                        record = Record(layer=layer, created=timestamp(self._epoch))
                        self._cache.put(key, record, op.below)
                        self.end(step, began)
                        return record
            except BaseException as error:
                message = str(error) or "canceled"  # an interrupt says nothing
                self._progress.emit(StepErred(step=step, message=message))
                raise
        self.end(step, began, cached=True)
        return record

    def begin(self, name: str) -> int:
        """Tell that a step begins; returns its number."""
        self.steps += 1
        self._progress.emit(StepStarted(step=self.steps, name=name))
        return self.steps

    def end(self, step: int, began: float, *, cached: bool = False) -> None:
        """Tell that a step has ended."""
        self.cached += cached
        seconds = time.monotonic() - began
        self._progress.emit(StepFinished(step=step, seconds=seconds, cached=cached))
