"""The paths in a store, its format version, and its locks.

``docs/store-format.md`` describes the directory; this file and that one change together.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from typing import Final

from ocitool.errors import StoreError, StoreLocked, StoreReadOnly, StoreVersion
from ocitool.layer.fileio import open_noatime
from ocitool.layer.locks import is_same, try_lock
from ocitool.store.directory.atomic import is_temporary, write_file, write_new_file
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.ownership import require_closed, require_own

FORMAT: Final = 1
#: Bytes of a root: SQLite opens paths of up to 512, with a log's ending and a zero (os_unix.c).
_LONGEST: Final = 512 - len("/db.sqlite-journal")
_SMALL: Final = 4096  # bytes
_LOCK_PATIENCE: Final = 600.0  # seconds


class Layout:
    """The directory *root*, checked, and created if it is missing and *make* is True.

    With *make* its owner is checked, too (`directory.ownership`): a store of *trusted_owner* is
    accepted as one's own.
    """

    def __init__(self, root: str, *, make: bool = True, trusted_owner: str = "") -> None:
        self.root = root
        self.oci = f"{root}/oci"
        self.blobs = f"{root}/oci/blobs"
        self.index = f"{root}/oci/index.json"
        self.layout_file = f"{root}/oci/oci-layout"
        self.database = f"{root}/db.sqlite"
        self.indexes = f"{root}/indexes"
        self.drivers = f"{root}/drivers"
        self.containers = f"{root}/containers"
        self.mounts = f"{root}/mounts"  # made by the first RUN that needs it
        self.tmp = f"{root}/tmp"
        self.locks = f"{root}/locks"
        self.quarantine = f"{root}/damaged"  # made when something is moved there
        self.trash = f"{root}/trash"  # likewise
        self.reserve = f"{root}/reserve"
        self.served = f"{root}/served"  # made by the first `registry serve`
        if make:
            require_own(root, trusted_owner)
        self._prepare(make)
        if make:
            require_own(root, trusted_owner)  # another user may have created it meanwhile
            require_closed(root)
        self.readonly = not os.access(root, os.W_OK, effective_ids=True)

    def require_writable(self) -> None:
        """Refuse work that changes a read-only store.

        Raises:
            StoreReadOnly: it is read-only.
        """
        if self.readonly:
            mounted = os.statvfs(self.root).f_flag & os.ST_RDONLY
            why = "it is on a read-only file system" if mounted else "this user may not write to it"
            raise StoreReadOnly(
                f"the store is read-only: {why}",
                where=self.root,
                hint="use --root or OCITOOL_ROOT with a directory you may write to, "
                "--shared-stores with this one",
            )

    def _prepare(self, make: bool) -> None:
        version = f"{self.root}/format"
        try:
            with open_noatime(version) as file:
                text = file.read(20).strip()
        except FileNotFoundError:
            if not make:
                raise StoreError("directory is not a store", where=self.root) from None
            self._create(version)
            return
        except OSError as error:
            raise StoreError(
                f"cannot read the store: {error.strerror}",
                where=self.root,
                hint="use --root with a directory of your own, or run as its owner",
            ) from error
        if text != b"%d" % FORMAT:
            found = text.decode("ascii", "backslashreplace") or "unknown"
            raise StoreVersion(
                f"unsupported store format {found}: this ocitool supports {FORMAT}",
                where=self.root,
                hint="use a newer ocitool, or another --root",
            )
        if make:
            with contextlib.suppress(OSError):  # a store that can only be read is used as it is
                self._make_directories()

    def _make_directories(self) -> None:
        """Create missing directories: a copy of a store may have lost the empty ones."""
        for path in (
            f"{self.blobs}/sha256",
            self.indexes,
            self.drivers,
            self.containers,
            self.tmp,
            self.locks,
        ):
            if not os.path.isdir(path):
                os.makedirs(path, mode=0o755, exist_ok=True)

    def _create(self, version: str) -> None:
        length = len(os.fsencode(os.path.realpath(self.root)))
        if length > _LONGEST:
            raise StoreError(
                f"path of the store has {length} bytes, and the limit is {_LONGEST}",
                where=self.root,
                hint="use --root with a shorter path",
            )
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            names = os.listdir(self.root)
            # Another process may be creating it right now.
            strangers = [name for name in names if name not in _OWN and not is_temporary(name)]
            if strangers:
                raise StoreError(
                    f"directory is not empty and not a store (it contains {strangers[0]!r})",
                    where=self.root,
                    hint="use --root with an empty or a new directory",
                )
            os.chmod(self.root, 0o700)
            self._make_directories()
            self.write_layout_file()
            # Another process may have created it, and named an image, since the first look.
            write_new_file(self.index, b'{"schemaVersion":2,"manifests":[]}')
            # The version comes last: with it there, everything else is.
            write_file(version, b"%d\n" % FORMAT)
        except OSError as error:
            raise StoreError(
                f"cannot create the store: {error.strerror}",
                where=self.root,
                hint="use --root or OCITOOL_ROOT with a directory you may write to",
            ) from error

    def write_layout_file(self) -> None:
        """Write what makes the directory an image layout (image-spec v1.1, image-layout.md)."""
        write_file(self.layout_file, b'{"imageLayoutVersion":"1.0.0"}')

    def is_image_layout(self) -> bool:
        """Say whether that file exists and is valid."""
        try:
            with open_noatime(self.layout_file) as file:
                known: bool = json.loads(file.read(_SMALL))["imageLayoutVersion"] == "1.0.0"
                return known
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def work_lock(self, kind: str, name: str) -> contextlib.AbstractContextManager[None]:
        """Hold the lock for work on *name*; wait for it without a time limit."""
        return self.lock(f"{kind}-{name}", patience=math.inf)

    @contextlib.contextmanager
    def lock(self, name: str, *, patience: float = _LOCK_PATIENCE) -> Iterator[None]:
        """Hold the lock *name* among all processes; `StoreLocked` after *patience* seconds.

        It is a lock of flock(2), so it ends with its process.  Its file is removed with the lock,
        and a process that has waited for a removed file starts again.
        """
        self.require_writable()
        path = f"{self.locks}/{name}"
        deadline = time.monotonic() + patience
        fd = -1
        while fd < 0:
            fd = self._try(path)
            if fd < 0:
                if time.monotonic() > deadline:
                    raise StoreLocked(
                        f"another process has held the lock {name!r} for {patience:.0f} seconds",
                        where=self.root,
                        hint="wait for it to end, or stop it",
                    )
                time.sleep(0.01)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)

    def _try(self, path: str) -> int:
        """Return the descriptor of the lock file *path*, locked, or -1 if another has it."""
        with full_disk(self.root):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if try_lock(fd) and is_same(path, fd):
            return fd
        os.close(fd)
        return -1


_OWN: Final = frozenset(
    {"oci", "db.sqlite", "db.sqlite-wal", "db.sqlite-shm", "indexes", "drivers", "containers",
     "mounts", "tmp", "trash", "locks", "damaged", "registry", "reserve", "served", "format",
     "lost+found"}
)  # fmt: skip


def boot_id() -> str:
    """Return the ID of the machine's current boot (random(4))."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
