"""A cgroup for each sandbox, wherever one can be made.

It is a child of the caller's own cgroup, or of one that was asked for: what limits that one limits
the sandbox, and whoever kills that cgroup kills the sandbox.  One is made in the hierarchy of
cgroup v2; with v1 in those that filter devices or set a limit, and in all that account for
containers if a parent was asked for.  (The kernel keeps a memory cgroup of v1 as long as any page
that was read in it, and thousands of them slow the machine.)  Users can make one where their own
cgroup has been delegated to them.  Where none can be made the sandbox runs in the caller's, unless
it is to have limits.

Runs in: shim.  Imports only the standard library.
Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst, "Delegation".
"""

from __future__ import annotations

import os
import time

from ocitool_runtime.sandbox.cgroups import device_filter
from ocitool_runtime.sandbox.cgroups.limits import inherit_sets
from ocitool_runtime.sandbox.kernel.files import unescaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocitool_runtime.sandbox.cgroups.limits import Limits

# The v1 controllers of every sandbox, and further ones of a sandbox whose parent was asked for.
_CONTROLLERS = frozenset({"devices"})
_ACCOUNTING = frozenset({"cpu", "cpuacct", "memory", "pids"})
_PREFIX = "ocitool."  # and the shim's process id
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CLOEXEC
_ATTEMPTS, _PAUSE = 50, 0.002  # until the kernel has let go of the last process; seconds


class Cgroup:
    """The cgroups of one sandbox, from `enter` to `remove`."""

    def __init__(
        self,
        limits: Limits,
        parent: str,
        devices: Sequence[tuple[str, int, int, str]],
    ) -> None:
        self._limits = limits
        self._devices = list(devices)  # that may be opened beside docker's list
        self._parent = parent  # a path in each hierarchy; "" is this process's own cgroup
        self._name = f"{_PREFIX}{os.getpid()}"
        # Open directories that have a child of our name, and the way back of each: opened before
        # there is a cgroup namespace, out of which nobody is moved (nsdelegate, cgroups(7)).
        self._parents: list[int] = []
        self._ways_back: list[int] = []
        self._made_parents: list[tuple[int, str]] = []  # directories, and what was made in them
        self._stays = False  # this process could not leave
        self.unified = False  # there is one in the hierarchy of cgroup v2
        self.devices_filtered = False  # devices beyond docker's list cannot be opened

    def enter(self) -> str:
        """Make the cgroups and move this process into them; returns why there is none, or ""."""
        reason = "no cgroup hierarchy is mounted"
        made: set[frozenset[str]] = set()
        more = self._limits.controllers | (_ACCOUNTING if self._parent else frozenset())
        for point, path, controllers in _hierarchies(more):
            if controllers in made:  # the hierarchy is mounted twice
                continue
            try:
                self._enter(point, path, controllers)
                made.add(controllers)
            except OSError as error:
                # Another cgroup v2 may have no controllers: whoever has them sets the limits.
                if self._parent or controllers & self._limits.controllers:
                    why = error.strerror or str(error)
                    if not why.startswith("--"):
                        why = f"{self._limits.options or '--cgroup-parent'}: {why}"
                    raise OSError(error.errno, why, path) from error
                reason = f"{path}: {error.strerror}"
        return "" if made else reason

    def _enter(self, point: str, path: str, controllers: frozenset[str]) -> None:
        parent = (
            self._open_parent(point, controllers) if self._parent else os.open(path, _DIRECTORY)
        )
        try:
            _sweep(parent)
            os.mkdir(self._name, 0o755, dir_fd=parent)
        except OSError:
            os.close(parent)
            raise
        back = -1
        try:
            back = os.open(f"{path}/cgroup.procs", _WRITE)
            filtered = self._join(parent, controllers)
        except OSError:
            _remove(parent, self._name)
            for fd in (parent, back):
                if fd >= 0:
                    os.close(fd)
            raise
        self._parents.append(parent)
        self._ways_back.append(back)
        self.unified = self.unified or not controllers
        self.devices_filtered = self.devices_filtered or filtered

    def _open_parent(self, point: str, controllers: frozenset[str]) -> int:
        """Return the cgroup that was asked for, which is made if it is missing."""
        fd = os.open(point, _DIRECTORY)
        for name in filter(None, self._parent.split("/")):
            outer = os.dup(fd)
            try:
                if not controllers:
                    self._limits.enable(outer)
                os.mkdir(name, 0o755, dir_fd=outer)
                self._made_parents.append((outer, name))
            except FileExistsError:
                os.close(outer)
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
            if "cpuset" in controllers:
                inherit_sets(fd, inner)
            os.close(fd)
            fd = inner
        return fd

    def _join(self, parent: int, controllers: frozenset[str]) -> bool:
        """Move this process into a new cgroup; returns whether it filters devices."""
        made = os.open(self._name, _DIRECTORY, dir_fd=parent)
        try:
            self._limits.set(parent, made, controllers)
            filtered = _filter_devices(made, controllers, self._devices)
            procs = os.open("cgroup.procs", _WRITE, dir_fd=made)
            try:
                os.write(procs, b"0")
            finally:
                os.close(procs)
        finally:
            os.close(made)
        return filtered

    def leave(self) -> str:
        """Move this process back; the processes that it has started stay inside.

        Returns why that failed, or "".  After a failure the cgroup is left to the next sweep.
        """
        reason = ""
        while self._ways_back:
            back = self._ways_back.pop()
            try:
                os.write(back, b"0")
            except OSError as error:
                reason = error.strerror or str(error)
            os.close(back)
        self._stays = self._stays or bool(reason)
        return reason

    def remove(self) -> None:
        """Remove the cgroups, once every process of the sandbox has ended."""
        self.leave()
        while self._parents:
            parent = self._parents.pop()
            for _ in range(1 if self._stays else _ATTEMPTS):
                if _remove(parent, self._name):
                    break
                time.sleep(_PAUSE)  # a process is still exiting
            os.close(parent)
        while self._made_parents:
            outer, name = self._made_parents.pop()
            _remove(outer, name)  # or not, if another sandbox is in it
            os.close(outer)


def _filter_devices(
    made: int, controllers: frozenset[str], further: list[tuple[str, int, int, str]]
) -> bool:
    """Restrict the devices of a new cgroup, if its hierarchy can; needs CAP_SYS_ADMIN."""
    try:
        if not controllers:
            device_filter.restrict_v2(made, further)
        elif "devices" in controllers:
            device_filter.restrict_v1(made, further)
        else:
            return False
    except OSError:
        return False
    return True


def _remove(parent: int, name: str) -> bool:
    """Remove a cgroup, if there is no process in it."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        return False
    return True


def _sweep(parent: int) -> None:
    """Remove what killed shims have left; a cgroup with a process in it cannot be removed."""
    for name in os.listdir(parent):
        pid = name.removeprefix(_PREFIX)
        if name != pid and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            _remove(parent, name)  # or not, if it is another PID namespace's


def own_cgroups(more: frozenset[str] = frozenset()) -> list[tuple[str, frozenset[str]]]:
    """Return the directory of this process's cgroup in each hierarchy, and its v1 controllers.

    *more* are v1 controllers beside those of every sandbox.
    """
    return [(path, controllers) for _, path, controllers in _hierarchies(more)]


def _hierarchies(
    more: frozenset[str] = frozenset(),
) -> list[tuple[str, str, frozenset[str]]]:
    """Return mount point, directory of this process's cgroup and v1 controllers of each hierarchy.

    *more* are v1 controllers beside those of every sandbox.
    """
    own: dict[frozenset[str], str] = {}
    for line in _lines("/proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        own[_names(names)] = path  # cgroup v2 has an empty list there
    found = []
    for line in _lines("/proc/self/mountinfo"):
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        controllers = _wanted(own, kind, _names(options), _CONTROLLERS | more)
        if controllers is not None:
            top, point = map(unescaped, fields.split(" ")[3:5])
            inner = _beneath(own[controllers], top)
            if inner is not None:
                found.append((point, os.path.normpath(f"{point}/{inner}"), controllers))
    return found


def _wanted(
    own: dict[frozenset[str], str],
    kind: str,
    options: frozenset[str],
    controllers: frozenset[str],
) -> frozenset[str] | None:
    """Return the key in *own* of a mount, if it is a hierarchy that a sandbox joins."""
    if kind == "cgroup2":
        return frozenset[str]() if frozenset() in own else None
    if kind == "cgroup":
        return next((each for each in own if each & controllers and each <= options), None)
    return None


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


def _beneath(path: str, top: str) -> str | None:
    """Return *path* relative to *top*, the mounted part of a hierarchy; None if outside."""
    if ".." in path.split("/"):  # outside of the cgroup namespace
        return None
    if top == "/":
        return path
    return path[len(top) :] if f"{path}/".startswith(f"{top}/") else None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except FileNotFoundError:  # a kernel without cgroups
        return []
