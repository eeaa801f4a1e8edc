"""The system calls that the shim answers in single-ID mode, and their numbers.

The host process builds the filter of them.
Runs in: host process, shim.  Imports only the standard library.
Source: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl,
include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

from ocitool_runtime.sandbox.notify.seccomp_notify import AARCH64, I386, X86_64

# x86_64, i386, aarch64; -1 where a machine has no such call.  i386's calls with 16-bit IDs are
# left out.
OWNERS = {
    "chown": (92, 212, -1),
    "fchown": (93, 207, 55),
    "lchown": (94, 198, -1),
    "fchownat": (260, 298, 54),
}
MODES = {
    "chmod": (90, 15, -1),
    "fchmod": (91, 94, 52),
    "fchmodat": (268, 306, 53),
    "fchmodat2": (452, 452, 452),
    "utimensat": (280, 320, 88),
    "truncate": (76, 193, 45),
}
NODES = {
    "mknod": (133, 14, -1),
    "mknodat": (259, 297, 33),
}
IDS = {
    "getuid": (102, 199, 174),
    "geteuid": (107, 201, 175),
    "getgid": (104, 200, 176),
    "getegid": (108, 202, 177),
    "getresuid": (118, 209, 148),
    "getresgid": (120, 211, 150),
    "getgroups": (115, 205, 158),
    "setuid": (105, 213, 146),
    "setgid": (106, 214, 144),
    "setreuid": (113, 203, 145),
    "setregid": (114, 204, 143),
    "setresuid": (117, 208, 147),
    "setresgid": (119, 210, 149),
    "setfsuid": (122, 215, 151),
    "setfsgid": (123, 216, 152),
    "setgroups": (116, 206, 159),
}

PROGRAMS = {
    "execve": (59, 11, 221),
    "execveat": (322, 358, 281),
}
#: These make or change files; "open" and "openat" only to write or with O_CREAT.
NEW_FILES = {
    "open": (2, 5, -1),
    "openat": (257, 295, 56),
    "openat2": (437, 437, 437),
    "creat": (85, 8, -1),
    "mkdir": (83, 39, -1),
    "mkdirat": (258, 296, 34),
    "symlink": (88, 83, -1),
    "symlinkat": (266, 304, 36),
}
#: These give and take names of files.
MOVES = {
    "rename": (82, 38, -1),
    "renameat": (264, 302, 38),
    "renameat2": (316, 353, 276),
    "link": (86, 9, -1),
    "linkat": (265, 303, 37),
    "unlink": (87, 10, -1),
    "unlinkat": (263, 301, 35),
    "rmdir": (84, 40, -1),
}
ACCESS = {
    "access": (21, 33, -1),
    "faccessat": (269, 307, 48),
    "faccessat2": (439, 439, 439),
}
STATUS = {
    "stat": (4, 195, -1),
    "lstat": (6, 196, -1),
    "fstat": (5, 197, 80),
    "newfstatat": (262, 300, 79),
    "statx": (332, 383, 291),
}
#: With the option PR_SET_KEEPCAPS.
KEEP = {"prctl": (157, 172, 167)}
EFFECTIVE = {"capset": (126, 185, 91)}
#: With the option SO_PEERCRED.
PEERS = {"getsockopt": (55, 365, 209)}
#: Of the limit RLIMIT_LOCKS.
LIMITS = {
    "prlimit64": (302, 340, 261),
    "getrlimit": (97, 191, 163),
    "setrlimit": (160, 75, 164),
}

ANSWERED = (
    OWNERS, MODES, NODES, IDS, PROGRAMS, NEW_FILES, MOVES, ACCESS, STATUS, PEERS, KEEP, EFFECTIVE,
    LIMITS,
)  # fmt: skip

MACHINES = {"x86_64": (0, X86_64), "i386": (1, I386), "aarch64": (2, AARCH64)}


def numbers_of(table: dict[str, tuple[int, int, int]], machine: str) -> dict[str, int]:
    """Return the numbers that *machine* has for the calls of *table*."""
    column, _ = MACHINES[machine]
    return {name: row[column] for name, row in table.items() if row[column] >= 0}


def names(*tables: dict[str, tuple[int, int, int]]) -> dict[tuple[int, int], str]:
    """Return the name of each call of *tables*, by machine (AUDIT_ARCH_*) and number."""
    found = {}
    for table in tables:
        for machine, (_, audit) in MACHINES.items():
            found.update({(audit, n): name for name, n in numbers_of(table, machine).items()})
    return found
