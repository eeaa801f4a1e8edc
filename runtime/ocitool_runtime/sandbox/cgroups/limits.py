"""Limits of resources in the cgroup of a sandbox: each takes effect, or the sandbox is refused.

Runs in: shim.  Imports only the standard library.
Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst, "Top-down Constraint" and "No Internal
Process Constraint".
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ocitool_runtime.sandbox.protocol.plan import CgroupLimitPlan

_SIZE = 1 << 16  # bytes of a file of a cgroup


class Limits:
    """The limits of one sandbox; `set` is called for each hierarchy, `check` after the last."""

    def __init__(self, plans: list[CgroupLimitPlan]) -> None:
        self._left = list(plans)
        self.options = ", ".join(plan["options"] for plan in plans if plan["needed"])
        self.controllers = frozenset(plan["controller"] for plan in plans)

    def set(self, parent: int, made: int, controllers: frozenset[str]) -> None:
        """Set the limits that a hierarchy supports; *controllers* are those of v1, empty for v2."""
        wanted = controllers or self.enable(parent)
        for plan in [each for each in self._left if each["controller"] in wanted]:
            self._left.remove(plan)
            for name, value in plan["v1"] if controllers else plan["v2"]:
                try:
                    _write(made, name, value or _read(parent, name))
                except OSError as error:
                    if plan["needed"]:
                        raise OSError(
                            error.errno, f"{plan['options']}: {error.strerror}", name
                        ) from None

    def check(self, reason: str) -> None:
        """Raise OSError if a limit was not set; *reason* is why there is no cgroup, or ""."""
        for plan in self._left:
            if plan["needed"]:
                why = reason or f"no cgroup has the controller '{plan['controller']}'"
                raise OSError(f"{plan['options']}: {why}")

    def enable(self, parent: int) -> Iterable[str]:
        """Enable what is needed for children of a cgroup v2; returns the controllers they have."""
        if not self.controllers:
            return ()
        available = _read(parent, "cgroup.controllers").split()
        enabled = _read(parent, "cgroup.subtree_control").split()
        for name in sorted(self.controllers.intersection(available).difference(enabled)):
            try:
                _write(parent, "cgroup.subtree_control", f"+{name}")
            except OSError as error:  # EBUSY: it has processes of its own
                why = f"cannot enable the controller '{name}': {error.strerror}"
                raise OSError(error.errno, why, "cgroup.subtree_control") from None
            enabled.append(name)
        return enabled


def inherit_sets(parent: int, made: int) -> None:
    """Give a new v1 cgroup its parent's CPUs and memory nodes: it begins with none."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not _read(made, name):
            _write(made, name, _read(parent, name))


def _read(directory: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, _SIZE).decode().strip()
    finally:
        os.close(fd)


def _write(directory: int, name: str, value: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
