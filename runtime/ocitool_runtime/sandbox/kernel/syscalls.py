"""Linux system calls that Python lacks, as functions that raise `Refused`.

Runs in: host process, shim, container init.  Imports only the standard library.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import c_char_p, c_long, c_uint64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

# mount attributes, include/uapi/linux/mount.h
RDONLY = 0x1
NOSUID = 0x2
NODEV = 0x4
NOEXEC = 0x8

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
_PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_SECCOMP_NEW_LISTENER = 1 << 3

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_RESOLVE_NO_MAGICLINKS = 0x02
_ATTEMPTS = 128  # of openat2(2), which asks to repeat a call
_RESOLVE_IN_ROOT = 0x10
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_SET_FD = 5
_FSCONFIG_CMD_CREATE = 6

# Numbers that differ between machines; from 424 on they are the same everywhere.
_OWN_NUMBERS = {
    "x86_64": {
        "pivot_root": 155,
        "keyctl": 250,
        "capset": 126,
        "rt_sigaction": 13,
        "seccomp": 317,
        "setfsgid": 123,
        "setfsuid": 122,
        "bpf": 321,
        "statx": 332,
        "process_vm_readv": 310,
    },
    "aarch64": {
        "pivot_root": 41,
        "keyctl": 219,
        "capset": 91,
        "rt_sigaction": 134,
        "seccomp": 277,
        "setfsgid": 152,
        "setfsuid": 151,
        "bpf": 280,
        "statx": 291,
        "process_vm_readv": 270,
    },
}
_NUMBERS = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
} | _OWN_NUMBERS.get(os.uname().machine, {})

_DEFAULT_ACTION = bytes(32)  # struct sigaction of the kernel: SIG_DFL, no flags, no mask

libc = ctypes.CDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = c_long


class Refused(OSError):
    """The kernel refused *syscall*; ``filename`` is the file, option or file system concerned."""

    def __init__(self, number: int, syscall: str, path: str = "") -> None:
        super().__init__(number, os.strerror(number), path or None)
        self.syscall = syscall


def _call(name: str, *arguments: Any, path: str = "") -> int:
    wide = [c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = _syscall(c_long(_NUMBERS[name]), *wide)
    if result < 0:
        raise Refused(ctypes.get_errno(), name, path)
    return result


def _libcall(name: str, *arguments: Any, path: str = "") -> int:
    result: int = getattr(libc, name)(*arguments)
    if result < 0:
        raise Refused(ctypes.get_errno(), name, path)
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces named by *flags* (CLONE_NEW*)."""
    _libcall("unshare", flags)


def join_mounts(namespace: int) -> None:
    """Enter the mount namespace that *namespace* has open; root and cwd become its root."""
    _libcall("setns", namespace, CLONE_NEWNS)


def set_file_ids(uid: int, gid: int) -> None:
    """Set the IDs with which this thread makes files and sockets (setfsuid(2)), and no others."""
    for name, number in (("setfsgid", gid), ("setfsuid", uid)):
        _call(name, number)
        if _call(name, number) != number:  # it returns what was before, and no error
            raise Refused(errno.EPERM, name, str(number))


def prctl(option: int, value: int) -> int:
    """Call prctl(2) with one argument, the rest 0."""
    return _libcall("prctl", option, c_long(value), c_long(0), c_long(0), c_long(0))


def sethostname(name: bytes) -> None:
    """Set the host name of the UTS namespace."""
    _libcall("sethostname", name, ctypes.c_size_t(len(name)))


def close_range(first: int, last: int) -> None:
    """Close every descriptor from *first* to *last*, both included."""
    if first <= last:
        _call("close_range", first, last, 0)


def join_new_keyring() -> None:
    """Start an empty session keyring, so that the caller's keys are out of reach."""
    _call("keyctl", 1, None)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three capability sets of this thread; each is a bit mask."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    words = [
        s >> shift & 0xFFFFFFFF for shift in (0, 32) for s in (effective, permitted, inheritable)
    ]
    _call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(*words)))


def seccomp(program: bytes, *, listen: bool = False) -> int:
    """Install a filter: an array of struct sock_filter.

    With *listen* the descriptor is returned from which calls are answered, closed on exec.
    """
    text = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    argument = ctypes.byref(Program(len(program) // 8, ctypes.addressof(text)))
    if listen:
        return _call("seccomp", 1, _SECCOMP_NEW_LISTENER, argument)  # SECCOMP_SET_MODE_FILTER
    return _libcall("prctl", _PR_SET_SECCOMP, c_long(_SECCOMP_MODE_FILTER), argument)


def bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2) with the beginning of ``union bpf_attr``."""
    value = ctypes.create_string_buffer(attributes, len(attributes))
    return _call("bpf", command, ctypes.byref(value), len(attributes))


def prlimit(resource: int, soft: int, hard: int) -> None:
    """Set one limit of this process; the values are 64 bits wide."""
    pair = (c_uint64 * 2)(soft & 0xFFFFFFFFFFFFFFFF, hard & 0xFFFFFFFFFFFFFFFF)
    _libcall("prlimit", 0, resource, ctypes.byref(pair), None)


def get_rlimit(resource: int) -> tuple[int, int]:
    """Return the soft and the hard limit of this process."""
    pair = (c_uint64 * 2)()
    _libcall("prlimit", 0, resource, None, pair)
    return pair[0], pair[1]


def filesystem_type(fd: int) -> int:
    """Return ``f_type`` of the file system that *fd* is on (statfs(2) lists the numbers)."""
    answer = (c_long * 32)()
    _libcall("fstatfs", fd, ctypes.byref(answer))
    return int(answer[0]) & 0xFFFFFFFF


def reset_signal(number: int) -> None:
    """Give a signal its default action, also if the C library refuses to."""
    _call("rt_sigaction", number, _DEFAULT_ACTION, None, 8)


def pidfd_getfd(process: int, fd: int) -> int:
    """Return a copy of the descriptor *fd* of the process that the pidfd *process* stands for."""
    return _call("pidfd_getfd", process, fd, 0)


# -- mounts ----------------------------------------------------------------------------------


def make_slave() -> None:
    """Propagate no mount of this namespace to the host (mount_namespaces(7), MS_SLAVE)."""
    _libcall("mount", None, b"/", None, c_long(_MS_REC | _MS_SLAVE), None, path="/")


def mount(source: str, target: str, kind: str, data: str) -> None:
    """Mount with mount(2), for kernels before fsopen(2); *data* is one page at most."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode(), c_long(0), data.encode())
    _libcall("mount", *arguments, path=target)


def detach(fd: int) -> None:
    """Detach the mount that *fd* is the root of, and everything mounted on it."""
    os.fchdir(fd)
    _libcall("umount2", b".", _MNT_DETACH)


def unmount(parent: int, name: str) -> None:
    """Go into the directory *parent*, and detach all that is mounted on *name* there."""
    os.fchdir(parent)
    unmount_path(name)


def unmount_path(path: str) -> None:
    """Detach all that is mounted on *path*, if anything is."""
    while libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        pass


def pivot_root_here() -> None:
    """Make the current directory the root and drop the old one (pivot_root(2), NOTES)."""
    _call("pivot_root", c_char_p(b"."), c_char_p(b"."))
    _libcall("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def fsopen(kind: str) -> int:
    """Start to configure a new file system."""
    return _call("fsopen", kind.encode(), 1, path=kind)


def fsconfig(fd: int, key: str, value: str | None = None) -> None:
    """Set a string (256 bytes at most), or a flag where there is no *value*."""
    if value is None:
        _call("fsconfig", fd, _FSCONFIG_SET_FLAG, key.encode(), None, 0, path=key)
    else:
        text = os.fsencode(value)
        _call("fsconfig", fd, _FSCONFIG_SET_STRING, key.encode(), text, 0, path=f"{key}={value}")


def fsconfig_fd(fd: int, key: str, value: int) -> None:
    """Set a parameter to an open directory (for overlayfs from Linux 6.13 on)."""
    _call("fsconfig", fd, _FSCONFIG_SET_FD, key.encode(), None, value, path=key)


def fsmount(fd: int, attributes: int) -> int:
    """Make the configured file system a detached mount and return its root."""
    _call("fsconfig", fd, _FSCONFIG_CMD_CREATE, None, None, 0)
    return _call("fsmount", fd, 1, attributes)


def clone_tree(fd: int, *, recursive: bool) -> int:
    """Return a detached bind mount of the file or directory that *fd* has open."""
    flags = _OPEN_TREE_CLONE | _CLOEXEC | _AT_EMPTY_PATH
    flags |= _AT_RECURSIVE if recursive else 0
    return _call("open_tree", fd, b"", flags)


def move_mount(mount_fd: int, target: int, path: str = "") -> None:
    """Attach a detached mount on the file or directory that *target* has open."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _call("move_mount", mount_fd, b"", target, b"", flags, path=path)


def mount_setattr(fd: int, *, add: int, clear: int = 0, recursive: bool = False) -> None:
    """Change the attributes of the mount that *fd* is the root of."""
    value = ctypes.byref((c_uint64 * 4)(add, clear, 0, 0))
    _call("mount_setattr", fd, b"", _AT_EMPTY_PATH | recursive * _AT_RECURSIVE, value, 32)


def open_in_root(root: int, path: str, flags: int = 0) -> int:
    """Open *path* (O_PATH) as if *root* was ``/``: no link and no ``..`` leads out of it.

    If anything on the machine is renamed or mounted while the kernel resolves ``..``, it fails with
    EAGAIN, and the caller is to try again (openat2(2)).
    """
    flags |= os.O_PATH | _CLOEXEC
    how = (c_uint64 * 3)(flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    for left in reversed(range(_ATTEMPTS)):
        try:
            return _call("openat2", root, os.fsencode(path), ctypes.byref(how), 24, path=path)
        except Refused as error:
            if error.errno != errno.EAGAIN or not left:
                raise
    raise AssertionError("the last attempt neither opened the path nor failed")


def open_here(path: bytes, flags: int) -> int:
    """Open *path* by openat2(2), but not through magic links like those in /proc/PID/fd."""
    how = (c_uint64 * 3)(flags | _CLOEXEC, 0, _RESOLVE_NO_MAGICLINKS)
    return _call("openat2", _AT_FDCWD, path, ctypes.byref(how), 24, path=os.fsdecode(path))


def statx(path: bytes, flags: int, mask: int) -> bytes:
    """Return the ``struct statx`` of *path*."""
    answer = ctypes.create_string_buffer(256)
    _call("statx", _AT_FDCWD, path, flags, mask, answer, path=os.fsdecode(path))
    return answer.raw


_PAGE = 4096  # bytes, or less than a page has
_ONE, _NO = c_long(1), c_long(0)


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Return *size* bytes of the memory of the process *pid*."""
    data = ctypes.create_string_buffer(size)
    ours = _Span(ctypes.addressof(data), size)
    theirs = _Span(address, size)
    here, there = ctypes.byref(ours), ctypes.byref(theirs)
    _call("process_vm_readv", pid, here, c_long(1), there, c_long(1), c_long(0))
    return data.raw


class TextReader:
    """Reads texts from the memory of other processes, for one thread: it keeps its buffers."""

    def __init__(self) -> None:
        self._data = ctypes.create_string_buffer(_PAGE + 1)
        self._address = ctypes.addressof(self._data)
        self._ours, self._theirs = _Span(self._address, 0), _Span(0, 0)
        self._spans = ctypes.byref(self._ours), ctypes.byref(self._theirs)
        self._number = c_long(_NUMBERS["process_vm_readv"])

    def read(self, pid: int, address: int, longest: int) -> bytes | None:
        """Return the text up to the NUL at *address*; None if it cannot be read or is longer."""
        text = b""
        while len(text) < longest:  # a page at a time: the next may not be there
            self._ours.length = self._theirs.length = _PAGE - address % _PAGE
            self._theirs.base = address
            ours, theirs = self._spans
            got = _syscall(self._number, c_long(pid), ours, _ONE, theirs, _ONE, _NO)
            if got <= 0:
                return None
            self._data[got] = b"\0"
            part = ctypes.string_at(self._address)
            text += part
            if len(part) < got:
                return text
            address += got
        return None
