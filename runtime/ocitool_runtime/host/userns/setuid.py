"""Whether a setuid program, such as newuidmap, gets its privileges when this process runs it.

A pod with ``allowPrivilegeEscalation: false`` or ``capabilities: drop: [ALL]`` has the program, and
running it fails; so it is looked at before.
Source: prctl(2), PR_SET_NO_NEW_PRIVS; capabilities(7), "Transformation of capabilities".
"""

from __future__ import annotations

import os
import stat
from typing import Final

_CAPABILITIES: Final = "security.capability"
_NEEDED: Final = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID
_SYS_ADMIN: Final = 1 << 21
#: Of a user namespace others than its owner need it to map IDs, and a setuid program is root's;
#: one that has capabilities remains the owner's.  user_namespaces(7), "User and group ID mappings".
_ROOT_WITHOUT_ADMIN: Final = (
    "it is setuid root, and the capability bounding set has no CAP_SYS_ADMIN: it should have the"
    " capabilities CAP_SETUID and CAP_SETGID instead"
)


def obstacle(path: str) -> str:
    """Return why the program *path* cannot change its user and group, or ``""``."""
    fields = _status()
    if fields.get("NoNewPrivs") == "1":
        return "no_new_privs is set for this process"
    bounding = int(fields.get("CapBnd") or "-1", 16)
    if bounding & _NEEDED != _NEEDED:
        return "the capability bounding set has no CAP_SETUID and CAP_SETGID"
    try:
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return "its file system is mounted nosuid"
        state = os.stat(path)
        if state.st_mode & stat.S_ISUID and state.st_uid == 0:
            return "" if bounding & _SYS_ADMIN else _ROOT_WITHOUT_ADMIN
        os.getxattr(path, _CAPABILITIES)
    except OSError:
        return "it is neither setuid root nor has capabilities"
    return ""


def _status() -> dict[str, str]:
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as lines:
            rows = (line.partition(":") for line in lines)
            return {name: value.strip() for name, _, value in rows}
    except OSError:
        return {}
