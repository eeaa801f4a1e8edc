"""Which extended attributes belong to a layer, and reading and writing them.

Source: OCI image-spec v1.1, layer.md; what the engines keep: user.*, file capabilities, ACLs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Final

from ocitool.errors import LayerError
from ocitool.layer.entry import NO_XATTRS, Kind

#: Never in a layer: labels belong to the machine, xattrs of overlays to the driver.  Taken from a
#: layer they would forge opaque directories, redirects or owners (`ocitool.layer.ownership`).
_DROPPED: Final = (
    "security.selinux",
    "trusted.",
    "user.overlay.",
    "user.fuseoverlayfs.",
    "user.ocitool.",
    "system.nfs4_acl",
)
_ACL: Final = "system.posix_acl_"
_CAPABILITIES: Final = "security.capability"
_INVALID: Final = frozenset({errno.E2BIG, errno.EINVAL, errno.ERANGE})
_UNSUPPORTED: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA})


def belongs(name: str) -> bool:
    """Say whether the attribute *name* is kept; PAX cannot write one with "=" in it."""
    return not name.startswith(_DROPPED) and "=" not in name


def kept(values: Mapping[str, bytes], kind: str) -> Mapping[str, bytes]:
    """Return those of *values*, a layer's attributes of a file of *kind*, that it has unpacked."""
    found = {name: value for name, value in values.items() if belongs(name)}
    if kind in (Kind.FILE, Kind.DIRECTORY):
        return found
    # xattr(7), "User extended attributes"
    return {name: value for name, value in found.items() if not name.startswith("user.")}


def capabilities(values: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return only the file capabilities: what COPY and ADD take from files outside of images.

    Other attributes say how a file came to this machine, as browsers and indexers write them, so
    the layer would differ from machine to machine.  BuildKit's layers hold no others.
    """
    if not values:
        return values
    return {name: value for name, value in values.items() if name == _CAPABILITIES}


def read(path: str | int) -> Mapping[str, bytes]:
    """Return the attributes of a file: a descriptor, or a path whose last link is not followed."""
    follow = isinstance(path, int)
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return NO_XATTRS
        raise
    if not names:
        return NO_XATTRS
    found: dict[str, bytes] = {}
    for name in sorted(names):
        if belongs(name):
            try:
                found[name] = os.getxattr(path, name, follow_symlinks=follow)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
    return found


def write(path: str | int, values: Mapping[str, bytes]) -> tuple[str, ...]:
    """Set what belongs to a layer; returns the names that the file system or the kernel refused.

    Raises:
        LayerError: one is malformed, or larger than the file system has room for in a file.
    """
    follow = isinstance(path, int)
    refused = []
    for name, value in values.items():
        if not belongs(name):
            continue
        try:
            os.setxattr(path, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno == errno.ENOSPC and _has_room(path):  # ext4 gives a file 4 KiB for them
                raise LayerError(
                    f"the attribute {name} of {len(value)} bytes is too large for this file system",
                    hint="use the driver erofs, or a store on XFS or btrfs",
                ) from error
            if error.errno in _INVALID:
                raise _invalid(name, value, error) from error
            if error.errno not in _UNSUPPORTED:
                raise
            refused.append(name)
    return tuple(refused)


def _invalid(name: str, value: bytes, error: OSError) -> LayerError:
    if name.startswith(_ACL) and len(value) % 8 == 4:  # acl(5): a version, and entries of 8 bytes
        return LayerError(
            "its ACL contains IDs that are not mapped for this user",
            hint="give this user a range of 65536 IDs in /etc/subuid and /etc/subgid",
        )
    return LayerError(
        f"the attribute {name} of {len(value)} bytes is refused by the kernel: {error.strerror}",
        hint="it is malformed, or larger than 64 KiB: pack the files without it",
    )


def _has_room(path: str | int) -> bool:
    """Say whether the disk is not full: 64 KiB is all that one attribute can need."""
    state = os.statvfs(path if isinstance(path, int) else os.path.dirname(path))
    return state.f_bfree * state.f_frsize > 1 << 16
