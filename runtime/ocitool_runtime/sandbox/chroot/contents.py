"""What /dev, /proc and /sys of a chroot hold, where nothing can be mounted.

/proc and /sys hold copies of files that describe the machine, for programs that look whether they
are there; `proc_files` answers those who open them.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import os
import stat

from ocitool_runtime.sandbox.kernel.files import write_all
from ocitool_runtime.sandbox.rootfs.devices import LINKS, NODES

_SHARED = ("shm", "mqueue")
_LARGEST = 1 << 20  # bytes of a file that is copied
_PROC = (
    "cmdline", "cpuinfo", "devices", "filesystems", "loadavg", "meminfo", "modules", "partitions",
    "stat", "swaps", "uptime", "version", "vmstat", "sys/kernel/cap_last_cap",
    "sys/kernel/hostname", "sys/kernel/ngroups_max", "sys/kernel/osrelease", "sys/kernel/ostype",
    "sys/kernel/overflowgid", "sys/kernel/overflowuid", "sys/kernel/pid_max",
    "sys/kernel/random/boot_id", "sys/kernel/random/uuid", "sys/kernel/version",
    "sys/fs/file-max", "sys/fs/nr_open", "sys/net/core/somaxconn", "sys/vm/max_map_count",
    "sys/vm/overcommit_memory",
)  # fmt: skip
_SYS = (
    "devices/system/cpu/online", "devices/system/cpu/possible", "devices/system/cpu/present",
    "kernel/mm/transparent_hugepage/enabled", "kernel/mm/transparent_hugepage/hpage_pmd_size",
)  # fmt: skip
#: Of a process; those of the shim would mislead, so they only have what all have in common.
_OWN = ("auxv", "cmdline", "comm", "environ", "limits", "maps", "oom_score_adj", "stat", "status")
_COMMON = ("cgroup", "mountinfo", "mounts")
_PROC_LINKS = {"mounts": "self/mounts", "thread-self": "self"}


def fill_dev(dev: int) -> bool:
    """Make the nodes and links of /dev; say whether the nodes can be opened there.

    They cannot be made without CAP_MKNOD, nor opened on a file system that is mounted nodev or
    against a filter of devices: then they are empty files.
    """
    usable = _make_nodes(dev)
    for name, target in LINKS.items():
        os.symlink(target, name, dir_fd=dev)
    os.mkdir("pts", 0o755, dir_fd=dev)
    for name in _SHARED:
        os.mkdir(name, 0o1777, dir_fd=dev)
        os.chmod(name, 0o1777, dir_fd=dev)
    return usable


def _make_nodes(dev: int) -> bool:
    try:
        for name, number in NODES.items():
            os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(*number), dir_fd=dev)
            os.chmod(name, 0o666, dir_fd=dev)
        os.close(os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=dev))
        return True
    except PermissionError:
        for name in NODES:
            try:
                os.unlink(name, dir_fd=dev)
            except FileNotFoundError:
                continue
        for name in NODES:
            _write(dev, name, b"", 0o666)
        return False


def copy_scripts(source: str, dev: int, name: str) -> None:
    """Copy the regular files of the directory *source* to /dev/*name*."""
    os.mkdir(name, 0o755, dir_fd=dev)
    for entry in os.scandir(source):
        with open(entry.path, "rb") as file:
            _write(dev, f"{name}/{entry.name}", file.read(), entry.stat().st_mode & 0o777)


def fill_proc(proc: int) -> None:
    """Copy what describes the machine, and make a /proc/self."""
    _copy("/proc", _PROC, proc)
    os.mkdir("self", 0o755, dir_fd=proc)
    os.mkdir("self/fd", 0o755, dir_fd=proc)
    for name in _OWN:
        _write(proc, f"self/{name}", b"", 0o444)
    _copy("/proc", tuple(f"self/{name}" for name in _COMMON), proc)
    for name, target in _PROC_LINKS.items():
        os.symlink(target, name, dir_fd=proc)


def fill_sys(sys: int) -> None:
    """Copy what describes the machine."""
    _copy("/sys", _SYS, sys)


def _copy(source: str, names: tuple[str, ...], target: int) -> None:
    """Copy files that are there and readable."""
    for name in names:
        try:
            fd = os.open(f"{source}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                content = os.read(fd, _LARGEST)
            finally:
                os.close(fd)
        except OSError:
            continue
        _make_parents(name, target)
        _write(target, name, content, 0o444)


def _make_parents(name: str, target: int) -> None:
    for at, char in enumerate(name):
        if char == "/":
            try:
                os.mkdir(name[:at], 0o755, dir_fd=target)
            except FileExistsError:
                continue


def _write(directory: int, name: str, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    made = os.open(name, flags, mode, dir_fd=directory)
    try:
        os.fchmod(made, mode)
        write_all(made, content)
    finally:
        os.close(made)
