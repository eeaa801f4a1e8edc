"""Capabilities by name and number (capabilities(7), include/uapi/linux/capability.h)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ocitool.errors import SandboxError

# In the order of their numbers.
_SHORT: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
NAMES: Final = tuple(f"CAP_{name}" for name in _SHORT)


def normal(names: Iterable[str]) -> frozenset[str]:
    """Return *names* in upper case with the prefix CAP_; ALL is every one."""
    found = {name.upper() for name in names}
    if found & {"ALL", "CAP_ALL"}:
        return frozenset(NAMES)
    prefixed = frozenset(n if n.startswith("CAP_") else f"CAP_{n}" for n in found)
    for name in prefixed:
        if name not in NAMES:
            raise SandboxError(f"unknown capability {name!r}", where="capabilities")
    return prefixed


def mask(names: Iterable[str]) -> int:
    """Return the bit mask of *names*; raises SandboxError for an unknown one."""
    return sum(1 << NAMES.index(name) for name in normal(names))


def available() -> frozenset[str]:
    """Return the capabilities that this process can leave to a program: its bounding set."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        (bounding,) = (line.split()[1] for line in file if line.startswith("CapBnd:"))
    return frozenset(name for at, name in enumerate(NAMES) if int(bounding, 16) >> at & 1)
