"""The isolation that is used unless one is named: the first that works here.

It starts a program in namespaces, and asks no other as long as the kernel does not refuse those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from ocitool.plugins import BUILT_IN, names
from ocitool_runtime.errors import StepRefused
from ocitool_runtime.isolation import Isolation, Process, Support, get_isolation
from ocitool_runtime.spec import Sandbox, Stdio

_GROUP = "ocitool.isolation"
_OWN_NAME = "auto"
#: Steps that fail where namespaces are refused, and not because of the sandbox.
_REFUSED = ("make namespaces", "make a mount namespace", "make a user namespace", "map IDs")


class Automatic:
    """Namespaces, or else chroot, or else an isolation that is installed as a plugin."""

    def __init__(self) -> None:
        self._chosen: Isolation | None = None

    @property
    def moves(self) -> bool:
        """Whether what works here mounts nothing; see `ocitool_runtime.isolation.Isolation`."""
        if self._chosen is None:
            self._chosen = self._first_that_works()
        return bool(getattr(self._chosen, "moves", False))

    def _first_that_works(self) -> Isolation:
        candidates = _candidates()
        _, first = next(candidates)
        if first.probe().ok:
            return first
        working = (_warning(other) for _, other in candidates if other.probe().ok)
        return next(working, first)

    def probe(self) -> Support:
        """Say whether any isolation works here; if not, why the first does not."""
        found = [isolation.probe() for _, isolation in _candidates()]
        return next((each for each in found if each.ok), found[0])

    def start(self, sandbox: Sandbox, stdio: Stdio) -> Process:
        """Start the program and return once it is running; see `Isolation.start`."""
        if self._chosen is not None:
            return self._chosen.start(sandbox, stdio)
        candidates = _candidates()
        _, first = next(candidates)
        try:
            process = first.start(sandbox, stdio)
        except StepRefused as refused:
            if refused.step not in _REFUSED:
                raise
            for _, other in candidates:
                if other.probe().ok:
                    self._chosen = _warning(other)
                    return self._chosen.start(sandbox, stdio)
            raise
        self._chosen = first
        return process


def _warning(isolation: Isolation) -> Isolation:
    """Return *isolation* as one that warns of what it does not isolate, if it can."""
    fallback = getattr(isolation, "fallback", None)
    return isolation if fallback is None else cast("Isolation", fallback())


def each_support() -> Iterator[tuple[str, Support]]:
    """Say of each isolation whether it works here."""
    for name, isolation in _candidates():
        yield name, isolation.probe()


def _candidates() -> Iterator[tuple[str, Isolation]]:
    """Yield the built-in isolations, and only then look for plugins, which takes time."""
    built_in = [name for name in BUILT_IN[_GROUP] if name != _OWN_NAME]
    for name in built_in:
        yield name, get_isolation(name)
    for name in names(_GROUP):
        if name not in (*built_in, _OWN_NAME):
            yield name, get_isolation(name)
