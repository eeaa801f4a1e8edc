"""One member of a layer as a value, and what names mean in a layer."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ocitool.errors import TooLarge, UnsafePath


class Kind:
    """What an entry is.  Strings and no enum: a layer of 50,000 entries compares them often."""

    FILE: Final = "file"
    DIRECTORY: Final = "dir"
    SYMLINK: Final = "symlink"
    HARDLINK: Final = "link"
    CHAR: Final = "char"
    BLOCK: Final = "block"
    FIFO: Final = "fifo"
    #: Of no entry: what a driver's tree has instead of what a layer removes.
    WHITEOUT: Final = "whiteout"


#: Whiteouts, image-spec layer.md: ``.wh.NAME`` removes NAME of the layers below,
#: ``.wh..wh..opq`` hides all that the layers below have in its directory.
WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
#: Left by aufs (``.wh..wh.plnk``, ``.wh..wh.aufs``); without meaning for anybody else.
AUFS: Final = ".wh..wh."
#: What looks like a whiteout and removes nothing that a layer could have: with ``.wh...`` it would
#: be the directory above, which for the top lies outside of the tree.
NO_WHITEOUTS: Final = frozenset({".wh.", ".wh..", ".wh..."})

NO_XATTRS: Final[Mapping[str, bytes]] = {}


class Entry(NamedTuple):
    """One archive member.  A tuple and not a dataclass: a layer has 50,000 of them.

    ``path`` is relative, without ``.``, ``..`` and a trailing slash; the root itself is ``""``.
    Bytes that are not UTF-8 are kept as surrogate escapes.
    """

    path: str
    kind: str
    mode: int = 0o644  # permission bits, 07777 at most
    uid: int = 0
    gid: int = 0
    size: int = 0  # bytes; 0 unless a file
    mtime: int = 0  # nanoseconds since the epoch
    link: str = ""  # target: of a symlink as written, of a hard link like ``path``
    device: tuple[int, int] = (0, 0)  # major, minor
    xattrs: Mapping[str, bytes] = NO_XATTRS


def identity(entry: Entry, *, owners: bool) -> str:
    """Return all that *entry* brings into a layer, as a text that no other entry has.

    Every field counts that is not left out here: times, and owners unless *owners* is set.
    """
    kept = entry if owners else entry._replace(uid=0, gid=0)
    return repr((*kept._replace(mtime=0, xattrs={}), sorted(entry.xattrs.items())))


def described(file: Entry, link: Entry) -> Entry:
    """Return *file* with what the header of the hard link *link* to it says.

    Of a file with several names the last header counts: its owner, mode and time, of a symbolic
    link the owner alone.  Extended attributes are added; what the header leaves out stays.

    Source: docker's and podman's unpacking, which apply each header to the file that has it.
    """
    kept = file.kind == Kind.SYMLINK
    return file._replace(
        mode=file.mode if kept else link.mode,
        uid=link.uid,
        gid=link.gid,
        mtime=file.mtime if kept else link.mtime,
        xattrs={**file.xattrs, **link.xattrs} if link.xattrs else file.xattrs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a layer may have, so that a hostile one cannot fill the machine."""

    entries: int = 4_000_000
    path: int = 4095  # bytes, PATH_MAX less its NUL
    name: int = 255  # bytes, NAME_MAX
    depth: int = 256  # names in a path; walks go down by recursion
    pax: int = 1 << 20  # bytes of extended headers for one member
    spans: int = 1 << 17  # runs of data in one sparse file; a map of so many takes 20 MB
    total: int = 256 << 30  # bytes when unpacked, holes included
    ratio: int = 250  # unpacked bytes for one compressed byte, counted above ``ratio_from``
    ratio_from: int = 1 << 30  # bytes


DEFAULT_LIMITS: Final = Limits()


def clean_path(name: str, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return *name* as `Entry.path` has it: no path leads out of the tree.

    ``./a//b/``, ``/a/b`` and ``../a/c/../b`` all become ``a/b``, as GNU tar and docker have it: a
    leading slash is dropped, and ``..`` ends at the root (CVE-2007-4559, CVE-2019-14271).

    Raises:
        UnsafePath: it contains a NUL byte, or is longer than Linux has names.
        TooLarge: it has too many components.
    """
    # The common cases first: 50,000 names cost a tenth of a second if each is taken apart.
    if name.startswith("./") and not name.startswith("//", 1):  # as GNU tar writes all of them
        name = name[2:]
    plain = name.isascii() and len(name) <= limits.name <= limits.path
    odd = name[:1] in "./" or "/." in name or "//" in name or "\0" in name
    if plain and not odd and name.count("/") < limits.depth:
        return name.removesuffix("/")
    if "\0" in name:
        raise UnsafePath("a name contains a NUL byte", where=repr(name))
    if len(name) > limits.path // 4 and len(encode(name)) > limits.path:
        raise UnsafePath(f"a path is longer than {limits.path} bytes", where=name[:80] + "...")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    name = "/".join(parts)
    if len(parts) > limits.depth:
        raise TooLarge(f"a path has more than {limits.depth} components", where=name[:80] + "...")
    if len(name) > limits.name // 4:
        for part in parts:
            if len(encode(part)) > limits.name:
                raise UnsafePath(f"a name is longer than {limits.name} bytes", where=part[:80])
    return name


def split(path: str) -> tuple[str, str]:
    """Return directory and name of a clean path."""
    parent, _, name = path.rpartition("/")
    return parent, name


def order(path: str) -> bytes:
    """The sort key of a layer: bytewise, each directory right before what is in it."""
    return encode(path).replace(b"/", b"\0")


def encode(text: str) -> bytes:
    """Return the bytes of a name."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """Return the text of a name."""
    return data.decode("utf-8", "surrogateescape")


def shown(path: str) -> str:
    """Return *path* for people, from the image's root and on one line."""
    return "/" + (path if path.isprintable() else path.encode("unicode_escape").decode())


def kind_of(mode: int) -> str:
    """Return the kind for a ``st_mode``; ``""`` for sockets, which no layer holds."""
    return _KINDS.get(stat.S_IFMT(mode), "")


_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
