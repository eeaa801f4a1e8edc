"""System calls that a container may not make, and the capabilities that allow each.

Numbers are the kernel's: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl,
include/uapi/asm-generic/unistd.h for aarch64; -1 where the machine has no such call.

The meaning is that of Docker's default profile: what is neither named here nor newer than
`NEWEST` is allowed.  A call that is newer than the list answers ENOSYS, so that a C library
falls back to an older one; a refused one answers EPERM.
"""

from __future__ import annotations

# The last call the list was checked against (removexattrat, Linux 6.13).
NEWEST = 466

# Numbers that the machines do not use: they stay refused if a later kernel uses them.
HOLES = {
    "x86_64": ((336, 423),),
    "i386": ((222, 223), (251, 251), (285, 285), (387, 392), (415, 415)),
    "aarch64": ((244, 259), (295, 423)),
}

# name, capabilities (any one allows it; none: always refused), x86_64, i386, aarch64
REFUSED = (
    ("_sysctl", "", 156, 149, -1),
    ("acct", "SYS_PACCT", 163, 51, 89),
    ("add_key", "", 248, 286, 217),
    ("afs_syscall", "", 183, 137, -1),
    ("bdflush", "", -1, 134, -1),
    ("bpf", "SYS_ADMIN BPF", 321, 357, 280),
    ("break", "", -1, 17, -1),
    ("chroot", "SYS_CHROOT", 161, 61, 51),
    ("clock_settime", "SYS_TIME", 227, 264, 112),
    ("clock_settime64", "SYS_TIME", -1, 404, -1),
    ("create_module", "", 174, 127, -1),
    ("delete_module", "SYS_MODULE", 176, 129, 106),
    ("fanotify_init", "SYS_ADMIN", 300, 338, 262),
    ("finit_module", "SYS_MODULE", 313, 350, 273),
    ("fsconfig", "SYS_ADMIN", 431, 431, 431),
    ("fsmount", "SYS_ADMIN", 432, 432, 432),
    ("fsopen", "SYS_ADMIN", 430, 430, 430),
    ("fspick", "SYS_ADMIN", 433, 433, 433),
    ("ftime", "", -1, 35, -1),
    ("get_kernel_syms", "", 177, 130, -1),
    ("get_mempolicy", "SYS_NICE", 239, 275, 236),
    ("getpmsg", "", 181, 188, -1),
    ("gtty", "", -1, 32, -1),
    ("idle", "", -1, 112, -1),
    ("init_module", "SYS_MODULE", 175, 128, 105),
    ("io_uring_enter", "", 426, 426, 426),
    ("io_uring_register", "", 427, 427, 427),
    ("io_uring_setup", "", 425, 425, 425),
    ("ioperm", "SYS_RAWIO", 173, 101, -1),
    ("iopl", "SYS_RAWIO", 172, 110, -1),
    ("kcmp", "SYS_PTRACE", 312, 349, 272),
    ("kexec_file_load", "", 320, -1, 294),
    ("kexec_load", "", 246, 283, 104),
    ("keyctl", "", 250, 288, 219),
    ("lock", "", -1, 53, -1),
    ("lookup_dcookie", "SYS_ADMIN", 212, 253, 18),
    ("mbind", "SYS_NICE", 237, 274, 235),
    ("migrate_pages", "", 256, 294, 238),
    ("mount", "SYS_ADMIN", 165, 21, 40),
    ("mount_setattr", "SYS_ADMIN", 442, 442, 442),
    ("move_mount", "SYS_ADMIN", 429, 429, 429),
    ("move_pages", "", 279, 317, 239),
    ("mpx", "", -1, 56, -1),
    ("nfsservctl", "", 180, 169, 42),
    ("nice", "", -1, 34, -1),
    ("oldfstat", "", -1, 28, -1),
    ("oldlstat", "", -1, 84, -1),
    ("oldolduname", "", -1, 59, -1),
    ("oldstat", "", -1, 18, -1),
    ("olduname", "", -1, 109, -1),
    ("open_by_handle_at", "DAC_READ_SEARCH", 304, 342, 265),
    ("open_tree", "SYS_ADMIN", 428, 428, 428),
    ("perf_event_open", "SYS_ADMIN PERFMON", 298, 336, 241),
    ("pidfd_getfd", "SYS_PTRACE", 438, 438, 438),
    ("pivot_root", "", 155, 217, 41),
    ("process_madvise", "SYS_PTRACE", 440, 440, 440),
    ("prof", "", -1, 44, -1),
    ("profil", "", -1, 98, -1),
    ("putpmsg", "", 182, 189, -1),
    ("query_module", "", 178, 167, -1),
    ("quotactl", "SYS_ADMIN", 179, 131, 60),
    ("quotactl_fd", "SYS_ADMIN", 443, 443, 443),
    ("reboot", "SYS_BOOT", 169, 88, 142),
    ("request_key", "", 249, 287, 218),
    ("security", "", 185, -1, -1),
    ("set_mempolicy", "SYS_NICE", 238, 276, 237),
    ("set_mempolicy_home_node", "SYS_NICE", 450, 450, 450),
    ("setdomainname", "SYS_ADMIN", 171, 121, 162),
    ("sethostname", "SYS_ADMIN", 170, 74, 161),
    ("setns", "SYS_ADMIN", 308, 346, 268),
    ("settimeofday", "SYS_TIME", 164, 79, 170),
    ("sgetmask", "", -1, 68, -1),
    ("ssetmask", "", -1, 69, -1),
    ("stime", "SYS_TIME", -1, 25, -1),
    ("stty", "", -1, 31, -1),
    ("swapoff", "", 168, 115, 225),
    ("swapon", "", 167, 87, 224),
    ("sysfs", "", 139, 135, -1),
    ("syslog", "SYS_ADMIN SYSLOG", 103, 103, 116),
    ("tuxcall", "", 184, -1, -1),
    ("ulimit", "", -1, 58, -1),
    ("umount", "SYS_ADMIN", -1, 22, -1),
    ("umount2", "SYS_ADMIN", 166, 52, 39),
    ("unshare", "SYS_ADMIN", 272, 310, 97),
    ("uselib", "", 134, 86, -1),
    ("userfaultfd", "", 323, 374, 282),
    ("ustat", "", 136, 62, -1),
    ("vhangup", "SYS_TTY_CONFIG", 153, 111, 58),
    ("vm86", "", -1, 166, -1),
    ("vm86old", "", -1, 113, -1),
    ("vserver", "", 236, 273, -1),
    ("lsm_get_self_attr", "SYS_ADMIN", 459, 459, 459),
    ("lsm_set_self_attr", "SYS_ADMIN", 460, 460, 460),
    ("lsm_list_modules", "SYS_ADMIN", 461, 461, 461),
)

# Calls that are decided by their arguments: x86_64, i386, aarch64; -1 where there is none
JUDGED = {
    "clone": (56, 120, 220),
    "clone3": (435, 435, 435),
    "personality": (135, 136, 92),
    "socket": (41, 359, 198),
    "socketcall": (-1, 102, -1),
    "socketpair": (53, 360, 199),
}

# In a chroot: calls that the shim answers for paths in /proc, /sys and /dev.  Those that are named
# are judged by their flags; "" are open, openat2, readlink, stat and access, with their variants.
FILES: dict[str, dict[str, tuple[int, ...]]] = {
    "x86_64": {
        "open": (2,), "openat": (257,), "newfstatat": (262,), "statx": (332,),
        "": (4, 6, 21, 89, 267, 269, 437, 439),
    },
    "i386": {"open": (5,), "openat": (295,), "statx": (383,), "": (33, 85, 305, 307, 437, 439)},
    "aarch64": {"openat": (56,), "newfstatat": (79,), "statx": (291,), "": (48, 78, 437, 439)},
}  # fmt: skip
