"""A cgroup for each sandbox, wherever one can be made.

It is a child of the caller's own cgroup: what limits the caller limits the sandbox, and whoever
kills the caller's cgroup kills the sandbox.  One is made in the hierarchy of cgroup v2 and in those
of the v1 controllers named here.  Users can make one where their own cgroup has been delegated to
them.  Where none can be made the sandbox runs in the caller's.

Runs in: shim.  Imports the standard library alone.
Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst, "Delegation".
"""

from __future__ import annotations

import os
import time

from ocitool_runtime.sandbox import device_filter
from ocitool_runtime.sandbox.files import unescaped

# The v1 controllers that account for a sandbox, and that will limit it.
_CONTROLLERS = frozenset({"cpu", "cpuacct", "devices", "memory", "pids"})
_PREFIX = "ocitool."  # and the shim's process id
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CLOEXEC
_ATTEMPTS, _PAUSE = 50, 0.002  # until the kernel has let go of the last process; seconds


class Cgroup:
    """The cgroups of one sandbox, from `enter` to `remove`."""

    def __init__(self) -> None:
        self._name = f"{_PREFIX}{os.getpid()}"
        # Open directories that have a child of our name, and the way back of each: opened before
        # there is a cgroup namespace, out of which nobody is moved (nsdelegate, cgroups(7)).
        self._parents: list[int] = []
        self._ways_back: list[int] = []
        self._stays = False  # this process could not leave
        self.unified = False  # there is one in the hierarchy of cgroup v2
        self.devices_filtered = False  # devices beyond docker's list cannot be opened

    def enter(self) -> str:
        """Make the cgroups and move this process into them; returns why there is none, or ""."""
        reason = "no cgroup hierarchy is mounted"
        made: set[frozenset[str]] = set()
        for path, controllers in own_cgroups():
            if controllers in made:  # the hierarchy is mounted twice
                continue
            try:
                self._enter(path, controllers)
                made.add(controllers)
            except OSError as error:
                reason = f"{path}: {error.strerror}"
        return "" if made else reason

    def _enter(self, path: str, controllers: frozenset[str]) -> None:
        parent = os.open(path, _DIRECTORY)
        try:
            _sweep(parent)
            os.mkdir(self._name, 0o755, dir_fd=parent)
        except OSError:
            os.close(parent)
            raise
        back = -1
        try:
            back = os.open("cgroup.procs", _WRITE, dir_fd=parent)
            filtered = _join(parent, self._name, controllers)
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


def _filter_devices(made: int, controllers: frozenset[str]) -> bool:
    """Restrict the devices of a new cgroup, if its hierarchy can; needs CAP_SYS_ADMIN."""
    try:
        if not controllers:
            device_filter.restrict_v2(made)
        elif "devices" in controllers:
            device_filter.restrict_v1(made)
        else:
            return False
    except OSError:
        return False
    return True


def _join(parent: int, name: str, controllers: frozenset[str]) -> bool:
    """Move this process into a new cgroup; returns whether it filters devices."""
    made = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        filtered = _filter_devices(made, controllers)
        procs = os.open("cgroup.procs", _WRITE, dir_fd=made)
        try:
            os.write(procs, b"0")
        finally:
            os.close(procs)
    finally:
        os.close(made)
    return filtered


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


def own_cgroups() -> list[tuple[str, frozenset[str]]]:
    """Return the directory of this process's cgroup in each hierarchy, and its v1 controllers."""
    own: dict[frozenset[str], str] = {}
    for line in _lines("/proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        own[_names(names)] = path  # cgroup v2 has an empty list there
    found = []
    for line in _lines("/proc/self/mountinfo"):
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        controllers = _wanted(own, kind, _names(options))
        if controllers is not None:
            top, point = map(unescaped, fields.split(" ")[3:5])
            inner = _beneath(own[controllers], top)
            if inner is not None:
                found.append((os.path.normpath(f"{point}/{inner}"), controllers))
    return found


def _wanted(
    own: dict[frozenset[str], str], kind: str, options: frozenset[str]
) -> frozenset[str] | None:
    """Return the key in *own* of a mount, if it is a hierarchy that a sandbox joins."""
    if kind == "cgroup2":
        return frozenset[str]() if frozenset() in own else None
    if kind == "cgroup":
        return next((each for each in own if each & _CONTROLLERS and each <= options), None)
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
