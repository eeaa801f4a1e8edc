"""The IDs of a process, and how a program may change them, as the kernel has it.

Runs in: shim.  Imports only the standard library.
Source: credentials(7), setuid(2), setreuid(2), setresuid(2), setfsuid(2); kernel/sys.c.
"""

from __future__ import annotations

import errno
import os

UNCHANGED = 0xFFFFFFFF  # -1 for an ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Four = tuple[int, int, int, int]


class Credentials:
    """The IDs of a process.

    *uids* and *gids* are the real, the effective and the saved one, and that for files.  *keeps*
    says that changes of IDs leave the permitted capabilities (PR_SET_KEEPCAPS), *kept* that one
    has, and *able* that the process has made them effective again (capset(2)).
    """

    __slots__ = ("able", "gids", "groups", "keeps", "kept", "uids")

    def __init__(
        self,
        uids: Four,
        gids: Four,
        groups: tuple[int, ...],
        *,
        keeps: bool = False,
        kept: bool = False,
        able: bool = False,
    ) -> None:
        self.uids = uids
        self.gids = gids
        self.groups = groups
        self.keeps = keeps
        self.kept = kept
        self.able = able

    @classmethod
    def of_user(cls, uid: int, gid: int, groups: tuple[int, ...]) -> Credentials:
        """Return those of a program that *uid* starts."""
        return cls((uid,) * 4, (gid,) * 4, groups)

    def key(self) -> tuple[object, ...]:
        """Return all that makes a difference."""
        return self.uids, self.gids, self.groups, self.keeps, self.kept, self.able

    def privileged(self) -> bool:
        """Say whether root's capabilities are in effect."""
        return self.uids[1] == 0 or self.able

    def owns_all(self) -> bool:
        """Say whether root's capabilities for files are in effect."""
        return self.uids[3] == 0

    def in_group(self, gid: int) -> bool:
        """Say whether files of the group *gid* are those of a group of this process."""
        return gid == self.gids[3] or gid in self.groups

    def with_uids(self, uids: Four) -> Credentials:
        """Return these after a change of users."""
        kept, able = self.kept, self.able
        if 0 in self.uids[:3]:
            kept = self.keeps and 0 not in uids[:3]
            able = able and (kept or 0 in uids[:3])
        if self.uids[1] == 0 or uids[1] == 0:
            able = False
        return self._changed(uids=uids, kept=kept, able=able)

    def with_gids(self, gids: Four) -> Credentials:
        """Return these after a change of groups."""
        return self._changed(gids=gids)

    def with_groups(self, groups: tuple[int, ...]) -> Credentials:
        """Return these with other supplementary groups."""
        return self._changed(groups=groups)

    def keeping(self, keeps: bool) -> Credentials:
        """Return these after PR_SET_KEEPCAPS."""
        return self._changed(keeps=keeps)

    def with_effective(self, effective: bool) -> Credentials:
        """Return these with or without capabilities in effect, as far as they are permitted."""
        permitted = self.kept or 0 in self.uids[:3]
        return self._changed(able=effective and permitted and self.uids[1] != 0)

    def executing(self, uid: int = UNCHANGED, gid: int = UNCHANGED) -> Credentials:
        """Return those of a program that is setuid to *uid*, setgid to *gid* (execve(2))."""
        uid = self.uids[1] if uid == UNCHANGED else uid
        gid = self.gids[1] if gid == UNCHANGED else gid
        uids, gids = (self.uids[0], uid, uid, uid), (self.gids[0], gid, gid, gid)
        return Credentials(uids, gids, self.groups)

    def _changed(self, **changes: Any) -> Credentials:
        return Credentials(**{name: getattr(self, name) for name in self.__slots__} | changes)


ROOT = Credentials.of_user(0, 0, (0,))


def setuid(now: Four, arguments: list[int], privileged: bool) -> Four:
    """Return the four IDs after setuid(2) or setgid(2)."""
    wanted = arguments[0]
    if wanted == UNCHANGED:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if privileged:
        return wanted, wanted, wanted, wanted
    _require(wanted in (now[0], now[2]))
    return now[0], wanted, now[2], wanted


def setreuid(now: Four, arguments: list[int], privileged: bool) -> Four:
    """Return the four IDs after setreuid(2) or setregid(2)."""
    real, effective = arguments[:2]
    _require(privileged or real in (UNCHANGED, now[0], now[1]))
    _require(privileged or effective in (UNCHANGED, *now[:3]))
    saves = real != UNCHANGED or effective not in (UNCHANGED, now[0])
    real = now[0] if real == UNCHANGED else real
    effective = now[1] if effective == UNCHANGED else effective
    return real, effective, effective if saves else now[2], effective


def setresuid(now: Four, arguments: list[int], privileged: bool) -> Four:
    """Return the four IDs after setresuid(2) or setresgid(2)."""
    wanted = arguments[:3]
    _require(privileged or all(each in (UNCHANGED, *now[:3]) for each in wanted))
    real, effective, saved = (
        old if new == UNCHANGED else new for old, new in zip(now, wanted, strict=False)
    )
    same = wanted[1] == UNCHANGED and (real, saved) == (now[0], now[2])
    return real, effective, saved, now[3] if same else effective


def setfsuid(now: Four, arguments: list[int], privileged: bool) -> Four:
    """Return the four IDs after setfsuid(2) or setfsgid(2), which never fail."""
    wanted = arguments[0]
    if wanted == UNCHANGED or not (privileged or wanted in now):
        return now
    return now[0], now[1], now[2], wanted


#: How a call changes the IDs for users, or those for groups.
CHANGES: dict[str, Callable[[Four, list[int], bool], Four]] = {
    "setuid": setuid, "setreuid": setreuid, "setresuid": setresuid, "setfsuid": setfsuid,
    "setgid": setuid, "setregid": setreuid, "setresgid": setresuid, "setfsgid": setfsuid,
}  # fmt: skip


def _require(allowed: bool) -> None:
    if not allowed:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
