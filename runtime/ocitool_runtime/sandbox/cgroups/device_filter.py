"""Which devices the processes of a cgroup may open: docker's list, for cgroup v1 and v2.

Any device may be made (``mknod``), as images ship them and builds make them; only those of the
list may be read and written.
Runs in: shim.  Imports only the standard library.
Source: moby oci/defaults.go and runc's AllowedDevices, without 5:1, the console of the host;
Documentation/admin-guide/cgroup-v1/devices.rst; cgroup-v2.rst, "Device controller"; linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

from ocitool_runtime.sandbox.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    Device = tuple[str, int, int, str]  # "c" or "b", major, minor, what of "rwm" is allowed

# Character devices by major and minor number; -1: every minor.
ALLOWED = (
    (1, 3),  # null
    (1, 5),  # zero
    (1, 7),  # full
    (1, 8),  # random
    (1, 9),  # urandom
    (5, 0),  # tty
    (5, 2),  # ptmx
    (136, -1),  # pts/*
)

_PROG_LOAD, _PROG_ATTACH = 5, 8  # commands of bpf(2)
_CGROUP_DEVICE = 15  # BPF_PROG_TYPE_CGROUP_DEVICE
_ATTACH_DEVICE = 6  # BPF_CGROUP_DEVICE
_ALLOW_MULTI = 2  # what the parent cgroups refuse stays refused
_READ, _WRITE = 2, 4  # BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE
_READ_OR_WRITE = _READ | _WRITE
_CHARACTER = 2  # BPF_DEVCG_DEV_CHAR
_TYPES = {"b": 1, "c": _CHARACTER}  # BPF_DEVCG_DEV_BLOCK
_DENY = [(0xB7, 0, 0, 0), (0x95, 0, 0, 0)]  # r0 = 0; exit
_ALLOW = [(0xB7, 0, 0, 1), (0x95, 0, 0, 0)]


def restrict_v1(cgroup: int, further: list[Device]) -> None:
    """Set the list, and *further* devices, of an open, empty directory of the v1 controller.

    What the parent cgroup does not allow cannot be allowed here, and is left out.  Raises OSError.
    """
    _write(cgroup, "devices.deny", b"a")
    rules: list[tuple[bytes, ...]] = [(b"b *:* m",), (b"c *:* m",)]
    rules += [(_line(device) + b" rwm", _line(device) + b" rw") for device in ALLOWED]
    rules += [(f"{kind} {major}:{minor} {how}".encode(),) for kind, major, minor, how in further]
    for rule in rules:
        for each in rule:
            try:
                _write(cgroup, "devices.allow", each)
                break
            except PermissionError:
                continue


def restrict_v2(cgroup: int, further: list[Device]) -> None:
    """Attach the list, and *further* devices, to an open directory of cgroup v2; raises OSError."""
    code = b"".join(struct.pack("<BBhi", *row) for row in _program(further))
    text = ctypes.create_string_buffer(code, len(code))
    license_ = ctypes.create_string_buffer(b"Apache-2.0")
    load = struct.pack(
        "=IIQQIIQ", _CGROUP_DEVICE, len(code) // 8, ctypes.addressof(text),
        ctypes.addressof(license_), 0, 0, 0,
    )  # fmt: skip
    program = syscalls.bpf(_PROG_LOAD, load)
    try:
        attach = struct.pack("=IIII", cgroup, program, _ATTACH_DEVICE, _ALLOW_MULTI)
        syscalls.bpf(_PROG_ATTACH, attach)
    finally:
        os.close(program)


def _line(device: tuple[int, int]) -> bytes:
    major, minor = device
    return b"c %d:%s" % (major, b"*" if minor < 0 else b"%d" % minor)


def _write(cgroup: int, name: str, text: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)


def _program(further: list[Device]) -> list[tuple[int, int, int, int]]:
    """Return the instructions (code, registers, offset, value); r1 is bpf_cgroup_dev_ctx."""
    code = [
        (0x61, 2 | 1 << 4, 0, 0),  # r2 = access << 16 | type
        (0x61, 4 | 1 << 4, 4, 0),  # r4 = major
        (0x61, 5 | 1 << 4, 8, 0),  # r5 = minor
        (0xBC, 3 | 2 << 4, 0, 0),  # r3 = r2
        (0x54, 3, 0, 0xFFFF),  # r3 = type
        (0x74, 2, 0, 16),  # r2 = access
        (0x45, 2, 2, _READ_OR_WRITE),  # if mknod(2) alone: allow
        *_ALLOW,
    ]
    for kind, major, minor, how in further:
        refused = (0 if "r" in how else _READ) | (0 if "w" in how else _WRITE)
        found = [(0x55, 5, 3, minor), (0x45, 2, 2, refused), *_ALLOW]
        code += [(0x55, 3, 5, _TYPES[kind]), (0x55, 4, 4, major), *found]
    code += [
        (0x15, 3, 2, _CHARACTER),  # if not a character device: deny
        *_DENY,
    ]
    for major, minor in ALLOWED:
        found = _ALLOW if minor < 0 else [(0x55, 5, 2, minor), *_ALLOW]
        code += [(0x55, 4, len(found), major), *found]
    return [*code, *_DENY]
