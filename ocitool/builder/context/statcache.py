"""Content digests of a context's files, kept from one build to the next.

One record for each directory: a fingerprint of what ``stat`` says of its files, and the digest of
their content.  A file whose inode, size, mode, mtime and ctime are the same has the same content:
nobody can change a file without moving its ctime.  The exception is git's "racy" case, a change
within the clock's tick in which it was read; a directory with a file that young is not recorded.

Source: git, Documentation/technical/racy-git.txt.
"""

from __future__ import annotations

import marshal
import os
import stat
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b, sha256
from typing import Final

from ocitool.builder.context.describe import describe
from ocitool.builder.context.file_tree import FileTree
from ocitool.layer.entry import Kind, identity
from ocitool.store.database.build_cache import BuildCache, DirectoryRecord

_FORM: Final = 4  # of records; others, of another version, are made anew
#: What to do where files change while a build reads them.
CHANGED_HINT: Final = "build again, or exclude the changing files in .dockerignore"
_CHUNK: Final = 1 << 20  # bytes
_BATCH: Final = 256  # records that are written at once
#: How old a change must be before it is trusted: a tick of the kernel's clock is at most 10 ms,
#: and file systems without fractions of seconds (FAT, old NFS) round to two seconds.
_TICK: Final = 50_000_000  # nanoseconds
_COARSE: Final = 2_100_000_000  # nanoseconds

#: The digest of an empty file, as a socket is one.
_NOTHING: Final = sha256().hexdigest()

#: name, st_mode, inode, size, mtime, ctime
State = tuple[str, int, int, int, int, int]


class StatCache:
    """The records of the context *tree* under one set of ignore rules.

    Without *records* they are those of one build.
    """

    def __init__(self, records: BuildCache | None, tree: FileTree, rules: str) -> None:
        self._tree = tree
        self._records = records
        self._rules = rules
        self._fresh: list[DirectoryRecord] = []
        known = records.directories(rules, tree.top) if records is not None else []
        self._known = {record.directory: record for record in known}

    def digest(self, directory: str, states: list[State], began: int, key: str) -> str:
        """Return the digest of the files of *directory*, whose *states* are sorted by name.

        *began* is when they were looked at, in nanoseconds.  Directories are not among them.
        *key* is what the record is kept under.
        """
        fingerprint = blake2b(marshal.dumps((_FORM, states), 2), digest_size=16).digest()
        known = self._known.get(key)
        if known is not None and known.state == fingerprint:
            return known.digest
        contents = self._contents(key)
        prefix = f"{directory}/" if directory else ""
        fresh: dict[str, tuple[State, str]] = {}
        with self._tree.reader() as open_file:
            for state in states:
                old = contents.get(state[0])
                same = old is not None and old[0] == state
                text = old[1] if same and old else self._describe(prefix, state, open_file)
                fresh[state[0]] = (state, text)
        digest = sha256(
            marshal.dumps([(name, text) for name, (_, text) in fresh.items()], 2)
        ).hexdigest()
        if not _racy(states, began):
            self._known[key] = DirectoryRecord(key, fingerprint, digest, b"")
            content = marshal.dumps((_FORM, fresh), 2)
            self._fresh.append(DirectoryRecord(key, fingerprint, digest, content))
            if len(self._fresh) >= _BATCH:
                self.save()
        return digest

    def _contents(self, key: str) -> dict[str, tuple[State, str]]:
        if key not in self._known or self._records is None:
            return {}
        content = self._records.directory_content(self._rules, key)
        if not content:
            return {}
        record = marshal.loads(content)
        if not isinstance(record, tuple) or record[0] != _FORM:
            return {}
        contents: dict[str, tuple[State, str]] = record[1]
        return contents

    def _describe(self, prefix: str, state: State, open_file: Callable[[str], int]) -> str:
        """Return what a file is, in a way that only equal files have in common."""
        name, mode, *_ = state
        inner, tree = f"{prefix}{name}", self._tree
        if not stat.S_ISREG(mode):
            entry = describe(tree, inner, name, tree.state(inner))
            content = _NOTHING if entry.kind == Kind.FILE else ""
        else:
            fd = open_file(inner)
            try:
                entry, content = describe(tree, inner, name, os.fstat(fd)), _hash(fd)
            finally:
                os.close(fd)
        return f"{identity(entry, owners=False)} {content}"

    def save(self) -> None:
        """Write the new records."""
        if self._fresh and self._records is not None:
            self._records.put_directories(self._rules, self._fresh)
            self._fresh = []


def _racy(states: Iterable[State], began: int) -> bool:
    now = min(began, time.time_ns())
    for state in states:
        changed = state[5]
        if changed > now - (_TICK if changed % 1_000_000_000 else _COARSE):
            return True
    return False


def _hash(fd: int) -> str:
    hasher = sha256()
    while data := os.read(fd, _CHUNK):
        hasher.update(data)
    return hasher.hexdigest()
