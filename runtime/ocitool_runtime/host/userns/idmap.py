"""ID maps of user namespaces: from the subordinate IDs of a user, written by the host process.

Source: user_namespaces(7), "User and group ID mappings"; subuid(5); newuidmap(1).
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass, replace
from typing import Final

from ocitool.errors import SandboxError
from ocitool.programs import find_program
from ocitool_runtime.errors import MapsUnavailable
from ocitool_runtime.host.userns.setuid import obstacle
from ocitool_runtime.host.userns.subids import usermod_hint
from ocitool_runtime.spec import IdMap, Sandbox

_INSTALL_UIDMAP: Final = "install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora)"
_ALLOW: Final = (
    "in a pod, set allowPrivilegeEscalation: true and keep the capabilities SETUID and SETGID"
)
_ADMIN_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """The maps of a user namespace; both empty: none is needed."""

    uid_maps: tuple[IdMap, ...] = ()
    gid_maps: tuple[IdMap, ...] = ()

    @property
    def single(self) -> bool:
        """Whether they map one ID and no other, so that owners are kept in xattrs."""
        return sum(each.count for each in self.uid_maps) == 1

    def applied_to(self, sandbox: Sandbox) -> Sandbox:
        """Return *sandbox* in the user namespace of these maps."""
        return replace(
            sandbox, uid_maps=self.uid_maps, gid_maps=self.gid_maps, owners_aside=self.single
        )


def current_maps(subuid: str = "/etc/subuid", subgid: str = "/etc/subgid") -> Maps:
    """Return the maps for this user; root needs none.

    Container ID 0 is the user's own ID, 1 and up are the subordinate IDs.

    Raises:
        MapsUnavailable: the user has no subordinate IDs, or cannot map them.
    """
    if os.geteuid() == 0:
        return Maps()
    for tool in ("newuidmap", "newgidmap"):
        path = _find(tool)
        if path is None:
            raise MapsUnavailable(f"{tool} is not installed", hint=_INSTALL_UIDMAP)
        if reason := obstacle(path):
            raise MapsUnavailable(f"{tool} cannot change IDs: {reason}", hint=_ALLOW)
    names = _names(os.geteuid())
    uids, gids = _ranges(subuid, names), _ranges(subgid, names)
    for path, found in ((subuid, uids), (subgid, gids)):
        if not found:
            raise MapsUnavailable(
                f"{path} has no range for {names[0]}",
                hint=f"as root, run {usermod_hint(names[0])}",
            )
    return Maps(uid_maps=_stack(os.geteuid(), uids), gid_maps=_stack(os.getegid(), gids))


def single_map() -> Maps:
    """Return the maps that every user may make: its own ID as root, and no other."""
    return Maps(uid_maps=_stack(os.geteuid(), []), gid_maps=_stack(os.getegid(), []))


def usable_maps() -> Maps:
    """Return the maps for this user: with subordinate IDs if it has some, else its single ID.

    Root of a user namespace that maps a single ID has no other either.
    """
    try:
        maps = current_maps()
    except MapsUnavailable:
        return single_map()
    return single_map() if not maps.uid_maps and maps_single_id() else maps


def maps_single_id() -> bool:
    """Say whether the user namespace of this process maps one ID and no other."""
    try:
        with open("/proc/self/uid_map", "rb") as maps:
            return [line.split()[2] for line in maps] == [b"1"]
    except OSError:  # a kernel without user namespaces
        return False


def _names(uid: int) -> list[str]:
    try:
        return [pwd.getpwuid(uid).pw_name, str(uid)]
    except KeyError:
        return [str(uid)]


def _ranges(path: str, names: list[str]) -> list[tuple[int, int]]:
    """Return (first, count) of each line of *path* for one of *names*."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in names and fields[1].isdigit() and fields[2].isdigit():
            found.append((int(fields[1]), int(fields[2])))
    return [pair for pair in found if pair[1] > 0]


def _stack(own: int, ranges: list[tuple[int, int]]) -> tuple[IdMap, ...]:
    found = [IdMap(container=0, host=own, count=1)]
    free = 1
    for first, count in ranges:
        found.append(IdMap(container=free, host=first, count=count))
        free += count
    return tuple(found)


def write_maps(pid: int, maps: Maps) -> None:
    """Write the maps of process *pid*, which has just made its user namespace.

    Root writes them itself, and so does a user with its single ID; for more, newuidmap(1) and
    newgidmap(1) do it.  Raises SandboxError.
    """
    try:
        if os.geteuid() == 0:
            _write(pid, "gid_map", _lines(maps.gid_maps))
            _write(pid, "uid_map", _lines(maps.uid_maps))
        elif maps == single_map():
            _write(pid, "setgroups", "deny")  # user_namespaces(7): before gid_map, or EPERM
            _write(pid, "gid_map", _lines(maps.gid_maps))
            _write(pid, "uid_map", _lines(maps.uid_maps))
        else:
            _run_tools(pid, maps)
    except OSError as error:
        raise SandboxError(
            f"cannot map IDs: {error}", hint="the IDs must belong to this user (see /etc/subuid)"
        ) from error


def _write(pid: int, name: str, text: str) -> None:
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())  # in one write, or the kernel refuses it
    finally:
        os.close(fd)


def _lines(maps: tuple[IdMap, ...]) -> str:
    return "".join(f"{m.container} {m.host} {m.count}\n" for m in maps)


def _run_tools(pid: int, maps: Maps) -> None:
    running = []
    for tool, ranges in (("newuidmap", maps.uid_maps), ("newgidmap", maps.gid_maps)):
        path = _find(tool)
        if path is None:
            raise SandboxError(f"{tool} is not installed", hint=_INSTALL_UIDMAP)
        numbers = [str(n) for m in ranges for n in (m.container, m.host, m.count)]
        command = [path, str(pid), *numbers]
        running.append(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
    texts = [p.communicate()[0].decode("utf-8", "replace").strip() for p in running]
    for process, text in zip(running, texts, strict=True):
        if process.returncode:
            raise SandboxError(
                f"cannot map IDs: {text or 'newuidmap failed'}",
                hint="newuidmap and newgidmap must be setuid root or have cap_setuid, cap_setgid",
            )


def _find(tool: str) -> str | None:
    return find_program(tool) or find_program(tool, _ADMIN_PATH)
