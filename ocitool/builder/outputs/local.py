"""The files of a result in a directory: staged beside what is there, then moved into place.

Nothing in the destination is followed: what is a link there, and a directory in the result, is
replaced.  Until all files are written nothing of the destination changes.

Source: BuildKit, exporter/local, and the receiving side of its client, which gives all files to
the user who calls it and merges them into the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ocitool.errors import LayerError, NotFound, OcitoolError
from ocitool.layer import xattrs
from ocitool.layer.beneath import Root, remove_tree
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.fileio import write_all
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import Removal

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STAGING: Final = re.compile(r"\.ocitool-[0-9a-f]{8}")
_OPEN: Final = 0o700  # the bits that moving things in and out of a directory needs

Export = Callable[[Callable[[bytes], object], Callable[[Entry], Entry]], None]
"""Writes a tar to the first argument; the second returns what is written of an entry."""


def export_directory(export: Export, dest: str, *, delete: bool = False) -> tuple[str, ...]:
    """Write the files of *export* to the directory *dest*; returns what had to be left out.

    Owners are this user and group.  Devices are left out where the user may not make them.  With
    *delete* the directory loses what the result does not have.

    Raises:
        NotFound: the directory cannot be made, or written.
        LayerError: the destination's file system cannot hold a file.
    """
    with _errors_translated(dest), contextlib.ExitStack() as undo:
        if made := _make_missing(dest):
            undo.callback(remove_tree, made)
        _remove_abandoned(dest)
        staging = os.path.join(dest, f".ocitool-{os.urandom(4).hex()}")
        os.mkdir(staging, 0o700)
        undo.callback(remove_tree, staging)
        locked = os.open(staging, _DIRECTORY | os.O_NOFOLLOW)
        undo.callback(os.close, locked)
        fcntl.flock(locked, fcntl.LOCK_EX)
        staged = _Staged()
        notes = _unpack(export, staged, staging)
        _Merge(os.path.basename(staging), delete=delete).into(staging, dest)
        _finish(dest, staged.directories)
        os.rmdir(staging)
        os.close(locked)
        undo.pop_all()
        return notes


def _remove_abandoned(dest: str) -> None:
    """Remove what exports have staged in *dest* that were killed: nobody holds its lock."""
    for name in filter(_STAGING.fullmatch, os.listdir(dest)):
        path = os.path.join(dest, name)
        with contextlib.suppress(OSError):  # another's, or locked, or gone
            fd = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
            finally:
                os.close(fd)


def _make_missing(dest: str) -> str:
    """Make the directory *dest*; returns the topmost directory that was made, ``""`` if none."""
    made, path = "", os.path.abspath(dest)
    while not os.path.lexists(path):
        made, path = path, os.path.dirname(path)
    os.makedirs(dest, exist_ok=True)
    return made


@dataclass(slots=True)
class _Staged:
    """Keeps what directories are to be in the end: while they are filled, they are open."""

    directories: list[Entry] = field(default_factory=list)

    def change(self, entry: Entry) -> Entry:
        entry = entry._replace(uid=os.geteuid(), gid=os.getegid())
        if entry.kind == Kind.DIRECTORY:
            self.directories.append(entry)
            entry = entry._replace(mode=entry.mode | _OPEN)
        return entry


def _unpack(export: Export, staged: _Staged, staging: str) -> tuple[str, ...]:
    """Unpack the tar that *export* writes, while it writes it; returns what was left out."""
    reader, writer = os.pipe()
    found: list[tuple[str, ...]] = []
    failed: list[BaseException] = []

    def unpack() -> None:
        with open(reader, "rb") as stream:
            try:
                found.append(apply(stream, staging, Removal()).notes)
            except BaseException as error:
                failed.append(error)

    thread = threading.Thread(target=unpack, name="export", daemon=True)
    try:
        thread.start()  # an interrupt while it starts must end it, too
        with contextlib.suppress(BrokenPipeError):  # then unpacking has failed
            export(lambda data: write_all(writer, data), staged.change)
    finally:
        os.close(writer)
        if thread.is_alive():
            thread.join()
    if failed:
        raise failed[0]
    return found[0]


class _Merge:
    """Moves the content of a directory into another one, which may have content."""

    def __init__(self, staging: str, *, delete: bool) -> None:
        self._staging = staging
        self._delete = delete

    def into(self, source: str, dest: str) -> None:
        """Move everything in the directory *source* into *dest*."""
        top = os.open(dest, _DIRECTORY)  # the user's own path may be a link
        try:
            staged = os.open(source, _DIRECTORY | os.O_NOFOLLOW)
            try:
                self._directory(staged, top, top=True)
            finally:
                os.close(staged)
        finally:
            os.close(top)

    def _directory(self, source: int, dest: int, *, top: bool = False) -> None:
        names = _kinds(source)
        there = _kinds(dest)
        if top:
            there.pop(self._staging, None)
        if self._delete:
            for name in there.keys() - names.keys():
                remove_tree(name, dir_fd=dest)
        for name, is_directory in names.items():
            if is_directory and there.get(name):
                self._merged(name, source, dest)
                continue
            if name in there and (is_directory or there[name]):
                remove_tree(name, dir_fd=dest)
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=dest)

    def _merged(self, name: str, source: int, dest: int) -> None:
        inner, below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=source), -1
        try:
            below = _open_directory(name, dest)
            self._directory(inner, below)
            xattrs.write(below, xattrs.read(inner))
        finally:
            os.close(inner)
            if below >= 0:
                os.close(below)
        os.rmdir(name, dir_fd=source)


def _open_directory(name: str, dest: int) -> int:
    """Open a directory so that it can be changed; its mode is set when all is in place."""
    try:
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=dest)
    except PermissionError:
        os.chmod(name, _OPEN, dir_fd=dest)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=dest)
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & _OPEN != _OPEN:
        os.fchmod(fd, mode | _OPEN)
    return fd


def _kinds(directory: int) -> dict[str, bool]:
    """Return the names in a directory, and which of them are directories themselves."""
    with os.scandir(directory) as entries:
        return {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}


def _finish(dest: str, directories: list[Entry]) -> None:
    """Set owner, mode and time of the directories, those inside first."""
    with Root(os.path.realpath(dest)) as root:
        for entry in reversed(directories):
            fd = root.directory(entry.path)
            state = os.fstat(fd)
            if (state.st_uid, state.st_gid) != (entry.uid, entry.gid):
                os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime, entry.mtime))


@contextlib.contextmanager
def _errors_translated(dest: str) -> Iterator[None]:
    try:
        yield
    except LayerError as error:
        error.where = f"{dest}: {error.where}" if error.where else dest
        raise
    except OcitoolError:
        raise
    except OSError as error:
        # Without its cause: a full disk here is not the disk of the store.
        raise NotFound(f"cannot write the files: {error.strerror}", where=dest) from None
