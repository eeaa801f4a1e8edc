"""Unpacking a layer's tar onto a directory of a file system."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from ocitool.errors import LayerError
from ocitool.layer.apply_changeset import Applied, Changeset
from ocitool.layer.beneath import Root
from ocitool.layer.entry import DEFAULT_LIMITS, Entry, Limits
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack.target import DirectoryTarget
from ocitool.layer.unpack.whiteouts import Whiteouts
from ocitool.oci.content import Stream


def apply(
    stream: Stream,
    tree: str,
    whiteouts: Whiteouts,
    *,
    lower: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Applied:
    """Unpack the tar *stream* onto the directory *tree* and read it to its end.

    *lower* are the trees that *tree* will be stacked on, the topmost first: directories that the
    layer uses without having them take their attributes from there.  On an error the tree is left
    half done, for the caller to remove.

    Raises:
        LayerError: the archive is corrupt, hostile, or cannot be represented here.
        OSError: the file system failed.
    """
    reader = TarReader(stream, limits)
    with Root(tree) as root:
        target = DirectoryTarget(root, tree, lower, whiteouts, reader)
        changes = Changeset(target)
        for entry in reader:
            try:
                changes.add(entry)
            except OSError as error:
                raise _translated(error, entry) from error
        reader.drain()
        target.finish()
    return changes.applied()


_REFUSED: Final = frozenset(
    {
        errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EMLINK,
        errno.EISDIR, errno.E2BIG, errno.ERANGE, errno.EFBIG,
    }
)  # fmt: skip


def _translated(error: OSError, entry: Entry) -> Exception:
    if error.errno in (errno.EINVAL, errno.EPERM) and (entry.uid or entry.gid):
        return LayerError(
            f"its owner {entry.uid}:{entry.gid} is not mapped for this user",
            where=entry.path,
            hint="give this user a range of 65536 IDs in /etc/subuid and /etc/subgid",
        )
    if error.errno in _REFUSED:
        return LayerError(f"cannot unpack the entry: {error.strerror}", where=entry.path)
    return error
