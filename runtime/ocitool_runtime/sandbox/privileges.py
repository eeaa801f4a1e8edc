"""Privileges of the program: IDs, capabilities, no_new_privs, seccomp, limits.

Runs in: container init.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.syscalls import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import Plan
    from ocitool_runtime.sandbox.users import User

_LAST_CAPABILITY = 63


def set_limits(plan: Plan) -> None:
    """Set the resource limits; one above the hard limit needs CAP_SYS_RESOURCE."""
    for limit in plan["limits"]:
        try:
            syscalls.prlimit(limit["number"], limit["soft"], limit["hard"])
        except Refused as error:
            if error.errno != errno.EPERM:
                raise
            _, ceiling = syscalls.get_rlimit(limit["number"])
            subject = f"{limit['name']} is above the hard limit of this user, {_limit(ceiling)}"
            raise Refused(error.errno, error.syscall, subject) from error


def _limit(value: int) -> str:
    return "unlimited" if value == 0xFFFFFFFFFFFFFFFF else str(value)


def drop(plan: Plan, user: User, notes: list[str]) -> int:
    """Become *user* with the plan's capabilities, and with no way to gain others than these.

    Returns what `filter_calls` returns if the filter had to be installed here, else -1.

    Inheritable and ambient sets end empty (CVE-2022-29162): a file with inheritable
    capabilities must give the container nothing.
    """
    kept = plan["capabilities"]
    bounding = _drop_bounding(kept)
    # Without no_new_privs only CAP_SYS_ADMIN may install a filter, so it comes before the drop.
    listener = -1 if filters_last(plan) else filter_calls(plan)
    if not plan["owners_aside"]:
        _become(user, notes)
    root = bounding if user.uid == 0 or plan["owners_aside"] else 0
    syscalls.capset(effective=root, permitted=root, inheritable=0)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    if filters_last(plan):
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    return listener


def filters_last(plan: Plan) -> bool:
    """Say whether no_new_privs is set, and the filter installed as the last step.

    In single-ID mode the kernel has nothing to give, and the filter hands over calls that this
    process makes before.
    """
    return plan["no_new_privileges"] or plan["owners_aside"]


def filter_calls(plan: Plan) -> int:
    """Install the seccomp filter; with no_new_privs that is the last step.

    Returns the descriptor from which the shim answers calls.  It is -1 if the filter has no such
    calls or the kernel has no listener for it: then the kernel refuses these calls.
    """
    if plan["notifying"]:
        try:
            return syscalls.seccomp(plan["notifying"], listen=True)
        except Refused as error:
            # No notifications (Linux 5.0), or an outer sandbox listens already.
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EBUSY, errno.EPERM):
                raise
    if plan["seccomp"]:
        syscalls.seccomp(plan["seccomp"])
    return -1


def _drop_bounding(kept: int) -> int:
    """Drop every capability that is not in *kept*; return what is left of it here."""
    left = 0
    for number in range(_LAST_CAPABILITY + 1):
        try:
            if not syscalls.prctl(syscalls.PR_CAPBSET_READ, number):
                continue
        except Refused:  # EINVAL: past the last one this kernel knows
            break
        if kept >> number & 1:
            left |= 1 << number
        else:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
    return left


def _become(user: User, notes: list[str]) -> None:
    groups = list(dict.fromkeys((user.gid, *user.groups, *user.added)))
    try:
        os.setgroups(groups)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise Refused(error.errno or 0, "setgroups") from error
        if user.added:
            names = ", ".join(map(str, user.added))
            raise Refused(error.errno, "setgroups", f"further groups {names}") from error
        # EPERM: a map of one id denies setgroups(2); EINVAL: a group without a map.
        if user.groups:
            notes.append(f"supplementary groups are not set: {error.strerror}")
    try:
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        who = f"{user.uid}:{user.gid}"
        raise Refused(error.errno or 0, "setresuid", who) from error
