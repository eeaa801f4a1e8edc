"""A cgroup for each sandbox, wherever one can be made.

It is a child of the caller's own cgroup: what limits the caller limits the sandbox, and whoever
ends the caller's cgroup ends the sandbox.  One is made in the hierarchy of cgroup v2 and in those
of the v1 controllers named here.  Users can make one where their own cgroup has been delegated to
them.  Where none can be made the sandbox runs in the caller's.

The standard library alone: this runs before the sandbox is made.
Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst, "Delegation".
"""

from __future__ import annotations

import os
import time

from ocitool_runtime import device_filter

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
        self._parents: list[int] = []  # open directories that have a child of our name
        self._inside = False
        self.unified = False  # there is one in the hierarchy of cgroup v2
        self.devices_filtered = False  # devices beyond docker's list cannot be opened

    def enter(self) -> str:
        """Make the cgroups and move this process into them; returns why there is none, or ""."""
        reason = "no cgroup hierarchy is mounted"
        made: set[frozenset[str]] = set()
        self._inside = True
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
        try:
            made = os.open(self._name, _DIRECTORY, dir_fd=parent)
            try:
                filtered = _filter_devices(made, controllers)
                _move(made)
            finally:
                os.close(made)
        except OSError:
            os.rmdir(self._name, dir_fd=parent)
            os.close(parent)
            raise
        self._parents.append(parent)
        self.unified = self.unified or not controllers
        self.devices_filtered = self.devices_filtered or filtered

    def leave(self) -> None:
        """Move this process back; those that it has started stay inside."""
        if self._inside:
            self._inside = False
            for parent in self._parents:
                try:
                    _move(parent)
                except OSError:  # the caller's cgroup takes no processes any more
                    continue

    def remove(self) -> None:
        """Remove the cgroups, once every process of the sandbox has ended."""
        self.leave()
        while self._parents:
            parent = self._parents.pop()
            for _ in range(_ATTEMPTS):
                try:
                    os.rmdir(self._name, dir_fd=parent)
                    break
                except OSError:  # a process is still on its way out
                    time.sleep(_PAUSE)
            os.close(parent)


def _filter_devices(made: int, controllers: frozenset[str]) -> bool:
    """Restrict the devices of a new cgroup, if its hierarchy can; it takes CAP_SYS_ADMIN."""
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


def _move(cgroup: int) -> None:
    """Move this process to the cgroup that is open as a directory."""
    fd = os.open("cgroup.procs", _WRITE, dir_fd=cgroup)
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)


def _sweep(parent: int) -> None:
    """Remove what killed shims have left; a cgroup with a process in it cannot be removed."""
    for name in os.listdir(parent):
        pid = name.removeprefix(_PREFIX)
        if name != pid and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError:  # another PID namespace's, or somebody else removed it
                continue


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
            top, point = map(_unescaped, fields.split(" ")[3:5])
            inner = _beneath(own[controllers], top)
            if inner is not None:
                found.append((os.path.normpath(f"{point}/{inner}"), controllers))
    return found


def _wanted(
    own: dict[frozenset[str], str], kind: str, options: frozenset[str]
) -> frozenset[str] | None:
    """Return which of *own* a mount shows, if it is a hierarchy that a sandbox joins."""
    if kind == "cgroup2":
        return frozenset[str]() if frozenset() in own else None
    if kind == "cgroup":
        return next((each for each in own if each & _CONTROLLERS and each <= options), None)
    return None


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


def _beneath(path: str, top: str) -> str | None:
    """Return *path* from *top*, which is the part of a hierarchy that is mounted, or None."""
    if ".." in path.split("/"):  # outside of the cgroup namespace
        return None
    if top == "/":
        return path
    return path[len(top) :] if f"{path}/".startswith(f"{top}/") else None


def _unescaped(text: str) -> str:
    """Undo the escapes of a path in mountinfo (proc(5))."""
    for escape, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, char)
    return text


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except FileNotFoundError:  # a kernel without cgroups
        return []
