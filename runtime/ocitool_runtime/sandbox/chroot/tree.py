"""The directory tree that becomes the root: what a container has in place of the image's own.

Nothing can be mounted, so the image's /dev, /proc, /sys and files such as /etc/resolv.conf are
moved aside while a program runs, and moved back afterwards, whatever became of their replacements.
Modification times of directories stay as they are, so that a layer shows nothing of it.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import write_all
from ocitool_runtime.sandbox.rootfs import memory_files
from ocitool_runtime.sandbox.rootfs.mountpoints import MountPoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import FilePlan, MountPlan

_ASIDE = "aside"  # beside the tree, on the same file system
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Replacement:
    """A name in an open directory, and the name under which what it had is kept, or ""."""

    __slots__ = ("kept", "name", "origin", "parent")

    def __init__(self, parent: int, name: str, kept: str) -> None:
        self.parent = parent
        self.name = name
        self.kept = kept
        self.origin: tuple[str, int] | None = None  # where it was moved from, and its file type


class Tree:
    """A tree with replacements; ``fd`` is its root directory, ``path`` where it is."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.fd = os.open(self.path, _DIRECTORY)
        self._keep = os.path.join(os.path.dirname(self.path), _ASIDE)
        os.mkdir(self._keep, 0o700)
        self._kept = os.open(self._keep, _DIRECTORY)
        self._replacements: list[_Replacement] = []
        self._made: list[tuple[str, os.stat_result]] = []
        self.points = MountPoints(self.fd, mounting=False)
        self._secret: list[int] = []
        self._moved: dict[str, str] = {}  # targets by their sources

    def directory(self, name: str) -> int:
        """Replace the entry *name* of the root by an empty directory; return that, open."""
        with _TimesKept(self.fd):
            self._move_aside(self.fd, name)
            os.mkdir(name, 0o755, dir_fd=self.fd)
        return os.open(name, _DIRECTORY, dir_fd=self.fd)

    def files(self, plans: list[FilePlan]) -> None:
        """Replace files in directories of the root; links to such directories are resolved."""
        for plan in plans:
            directory, _, name = plan["target"].strip("/").partition("/")
            parent = self._open(directory)
            if parent >= 0:
                with _TimesKept(parent):
                    self._move_aside(parent, name)
                    _write(parent, name, plan["content"])

    def close_off(self, directory: int) -> None:
        """Refuse to `place` anything in the open *directory*."""
        self.points.close_off(directory)

    def make_directory(self, path: str) -> None:
        """Make a directory that stays, unless it is there."""
        found = self.points.open(path, directory=True, keep=True)
        directory = stat.S_ISDIR(os.stat(found).st_mode)
        os.close(found)
        if not directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def place(self, plan: MountPlan) -> None:
        """Put a file or a socket into the tree, where others would mount it.

        Unlike a mount it can be moved and linked: then what is left is empty.
        """
        parent, name = self.points.open_parent(plan["target"])
        _require_kind(parent, name, plan["target"], directory=False)
        with _TimesKept(parent):
            self._move_aside(parent, name)
            memory_files.make(plan, parent, name)
        if plan["type"] == "file":
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._secret.append(os.open(name, flags, dir_fd=parent))

    def move(self, plan: MountPlan) -> None:
        """Move a directory or file into the tree until `restore`, where others would mount it.

        What is there already, for another target, gets a link.
        """
        parent, name = self.points.open_parent(plan["target"])
        source = plan["source"]
        directory = source in self._moved or stat.S_ISDIR(os.lstat(source).st_mode)
        _require_kind(parent, name, plan["target"], directory=directory)
        with _TimesKept(parent):
            self._move_aside(parent, name)
            if source in self._moved:
                os.symlink(self._moved[source], name, dir_fd=parent)
                return
            kind = stat.S_IFMT(os.lstat(source).st_mode)
            os.rename(source, name, dst_dir_fd=parent)
        self._moved[source] = plan["target"]
        self._replacements[-1].origin = (source, kind)

    def restore(self) -> None:
        """Remove the replacements, and move what was there before back."""
        for fd in self._secret:
            os.ftruncate(fd, 0)
        for each in reversed(self._replacements):
            with _TimesKept(each.parent):
                if each.origin is not None:
                    _return(each.parent, each.name, *each.origin)
                self._remove(each.parent, each.name)
                if each.kept:
                    self._move_back(each)
        self.points.clean()
        for name, made in self._made:
            with _TimesKept(self.fd):
                try:
                    if os.path.samestat(made, os.lstat(name, dir_fd=self.fd)):
                        os.rmdir(name, dir_fd=self.fd)
                except OSError:  # the program has put something there
                    continue
        for name in os.listdir(self._kept):
            self._remove(self._kept, name)
        os.rmdir(self._keep)

    def _remove(self, parent: int, name: str) -> None:
        """Remove a file, or a directory of any depth, whose content is moved up first."""
        gone = [(parent, name)]
        for number in itertools.count():
            if not gone:
                return
            parent, name = gone.pop()
            try:
                if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=parent)
                    continue
            except FileNotFoundError:
                continue
            os.chmod(name, 0o700, dir_fd=parent)  # otherwise an ordinary user cannot change it
            moved = f"gone.{number}"
            os.rename(name, moved, src_dir_fd=parent, dst_dir_fd=self._kept)
            inside = os.open(moved, _DIRECTORY, dir_fd=self._kept)
            for number_inside, each in enumerate(os.listdir(inside)):
                up = f"{moved}.{number_inside}"
                os.rename(each, up, src_dir_fd=inside, dst_dir_fd=self._kept)
                gone.append((self._kept, up))
            os.close(inside)
            os.rmdir(moved, dir_fd=self._kept)

    def _open(self, name: str) -> int:
        """Return the directory /*name*, made if missing; -1 if it is something else."""
        try:
            found = syscalls.open_in_root(self.fd, name)
            return os.open(".", _DIRECTORY, dir_fd=found)
        except OSError as error:
            if error.errno != errno.ENOENT:
                return -1
        try:
            with _TimesKept(self.fd):
                os.mkdir(name, 0o755, dir_fd=self.fd)
        except FileExistsError:  # a link that leads nowhere
            return -1
        made = os.open(name, _DIRECTORY, dir_fd=self.fd)
        self._made.append((name, os.stat(made)))
        return made

    def _move_aside(self, parent: int, name: str) -> None:
        kept = str(len(self._replacements))
        try:
            os.rename(name, kept, src_dir_fd=parent, dst_dir_fd=self._kept)
        except FileNotFoundError:
            kept = ""
        self._replacements.append(_Replacement(parent, name, kept))

    def _move_back(self, each: _Replacement) -> None:
        try:
            os.rename(each.kept, each.name, src_dir_fd=self._kept, dst_dir_fd=each.parent)
        except FileNotFoundError:  # the program has removed the directory
            return


class _TimesKept:
    """Restores the modification time of an open directory after entries of it were replaced."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._state = os.stat(directory)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        times = (self._state.st_atime_ns, self._state.st_mtime_ns)
        os.utime(self._directory, ns=times)


def _require_kind(parent: int, name: str, target: str, *, directory: bool) -> None:
    """Refuse to put a file in place of a directory, or the reverse, as mount(2) does."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISLNK(found) and stat.S_ISDIR(found) != directory:
        raise syscalls.Refused(errno.ENOTDIR if directory else errno.EISDIR, "rename", target)


def _return(parent: int, name: str, source: str, kind: int) -> None:
    """Move what came from *source* back, or what the program has put there in its place.

    Something of another *kind* is left: a cache stays a directory.
    """
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_IFMT(found.st_mode) == kind:
            os.rename(name, source, src_dir_fd=parent)
    except OSError:  # it is gone, or the caller has ended and another one has made a new one
        return


def _write(parent: int, name: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    made = os.open(name, flags, 0o644, dir_fd=parent)
    try:
        write_all(made, content)
    finally:
        os.close(made)
