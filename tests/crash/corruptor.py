"""Corruptions of a store that nobody uses: any of its files, and any row of its database."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ocitool.drivers import btrfs_subvolumes

#: What is not of the store's content: who holds what just now, and room that is kept.
_PASSED_OVER: Final = ("tmp", "locks", "containers", "trash", "reserve", "format", "kept")
_TABLES: Final = ("layers", "packed", "cache", "images", "origins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """One thing that was corrupted, and what a check must report of it; ``""``: nothing."""

    what: str
    reported: str = ""


class Corruptor:
    """Corrupts the store *root*, and knows what it did."""

    def __init__(self, root: Path, dice: random.Random) -> None:
        self._root = root
        self._dice = dice
        self._needed = _needed(root)
        self._victims: set[Path] = set()
        self.names = False  # whether index.json was corrupted
        self.rows = False  # whether the database was, or rows of it
        self._documents = False  # whether it may not be known what is needed
        self._unverified: set[str] = set()  # diff and chain IDs of layers whose blob is corrupt

    def make(self, count: int) -> list[Corruption]:
        """Corrupt so many things, each once."""
        made = [
            self._row() if self._dice.random() < 0.15 else self._file(self._victim())
            for _ in range(count)
        ]
        return [each if self._is_reported(each) else Corruption(what=each.what) for each in made]

    def _is_reported(self, corruption: Corruption) -> bool:
        """Say whether a first look can report it; what that repairs lets the next one see more."""
        if self.names or (self.rows and "drivers" in corruption.what):
            return False
        if self._documents and not (
            " oci/blobs" in corruption.what and "remove" not in corruption.what
        ):
            return corruption.reported == "oci-layout"
        # What a blob holds cannot be compared with the blob when that is corrupted.
        return not any(word in corruption.reported for word in self._unverified)

    # -- files ------------------------------------------------------------------------------

    def _victim(self) -> Path:
        """Choose a file: first one of the kinds, then one of that kind."""
        kinds: dict[str, list[Path]] = {}
        for path in set(_files(self._root)) - self._victims:
            parts = path.relative_to(self._root).parts
            kind = "/".join(parts[:3] if parts[0] == "drivers" else parts[:2])
            kinds.setdefault(kind, []).append(path)
        victim = self._dice.choice(sorted(kinds[self._dice.choice(sorted(kinds))]))
        self._victims.add(victim)
        return victim

    def _file(self, path: Path) -> Corruption:
        acts = [_remove]
        if stat.S_ISREG(path.lstat().st_mode):
            acts += [self._cut, self._flip, self._overwrite, self._replace]
        act = self._dice.choice(acts)
        with _writable(path):
            before = _content(path)
            act(path)
            name = act.__name__.strip("_")
            if _content(path) == before:
                return Corruption(what=f"{name} {path.relative_to(self._root)}, to no effect")
        return self._reported(name, path.relative_to(self._root))

    def _cut(self, path: Path) -> None:
        with _same_time(path):
            os.truncate(path, self._dice.randrange(path.stat().st_size or 1))

    def _flip(self, path: Path) -> None:
        size = path.stat().st_size
        with _same_time(path), open(path, "r+b") as file:
            file.seek(self._dice.randrange(size or 1))
            byte = file.read(1) or b"\0"
            file.seek(-len(byte) if size else 0, os.SEEK_CUR if size else os.SEEK_SET)
            file.write(bytes([byte[0] ^ 1 << self._dice.randrange(8)]))

    def _overwrite(self, path: Path) -> None:
        """Put another file's content into it; who has it by another name gets that, too."""
        with _same_time(path):
            path.write_bytes(self._another(path))

    def _replace(self, path: Path) -> None:
        """Put another file into its place."""
        state, new = path.stat(), path.with_name("new")
        new.write_bytes(self._another(path))
        shutil.copystat(path, new)
        os.chown(new, state.st_uid, state.st_gid)
        new.rename(path)

    def _another(self, path: Path) -> bytes:
        """Return the content of another file, mostly of the same name."""
        files = [each for each in _files(self._root) if each.is_file() and not each.is_symlink()]
        alike = [each for each in files if each.name == path.name and each != path]
        near = [each for each in files if each.parent == path.parent and each != path]
        return self._dice.choice(alike or near or files).read_bytes()

    def _reported(self, act: str, path: Path) -> Corruption:
        what, parts = f"{act} {path}", path.parts
        if parts[:2] == ("oci", "blobs"):
            digest = f"{parts[2]}:{parts[3]}"
            self._documents |= digest in self._needed.documents
            self._unverified |= self._needed.layers.get(digest, set())
            reported = digest if act != "remove" or digest in self._needed.all else ""
            return Corruption(what=what, reported=reported)
        if what.endswith("index.json"):
            self.names = True
        elif parts[0] == "db.sqlite":
            self.rows = True
        elif path.name == "oci-layout":
            return Corruption(what=what, reported="oci-layout")
        elif parts[0] == "indexes" and act != "remove":
            return Corruption(what=what, reported=parts[1])
        elif parts[0] == "drivers" and (
            parts[2:3] == ("layers",) or (parts[2:3] == ("merged",) and act != "remove")
        ):
            return Corruption(what=what, reported=f"layer {parts[3][:12]}")
        return Corruption(what=what)

    # -- rows -------------------------------------------------------------------------------

    def _row(self) -> Corruption:
        """Corrupt a row: what a check can say of it depends on what it still says itself."""
        self.rows = True
        table = self._dice.choice(_TABLES)
        try:
            with contextlib.closing(sqlite3.connect(self._root / "db.sqlite")) as database:
                what = self._change(database, table)
                database.commit()
        except sqlite3.Error as error:
            return Corruption(what=f"no row of {table}: {error}")
        return Corruption(what=what)

    def _change(self, database: sqlite3.Connection, table: str) -> str:
        rows = database.execute(f"SELECT * FROM {table}").fetchall()
        names = [column[1] for column in database.execute(f"PRAGMA table_info({table})")]
        if not rows:
            return f"no row of {table}"
        row = self._dice.choice(rows)
        which = " AND ".join(f"{name} = ?" for name in names)
        if self._dice.random() < 0.3:
            database.execute(f"DELETE FROM {table} WHERE {which}", row)
            return f"delete {row} of {table}"
        at = self._dice.choice([at for at, value in enumerate(row) if isinstance(value, str)])
        text = row[at] or "x"
        place = self._dice.randrange(len(text))
        changed = text[:place] + self._dice.choice('0f:"{}/x') + text[place + 1 :]
        if table != "cache" and self._dice.random() < 0.3:  # a step's record knows not whose it is
            changed = self._dice.choice(rows)[at]
        database.execute(
            f"UPDATE OR IGNORE {table} SET {names[at]} = ? WHERE {which}", (changed, *row)
        )
        return f"set {names[at]} of {row} of {table} to {changed!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Needed:
    """The digests of what the names of a store need."""

    all: frozenset[str]
    documents: frozenset[str]  # manifests, indexes and configs
    layers: dict[str, set[str]]  # blobs of layers -> the digits of their diff ids and chain ids


def _needed(root: Path) -> _Needed:
    everything: set[str] = set()
    documents: set[str] = set()

    layers: dict[str, set[str]] = {}

    def load(digest: str) -> Any:
        return json.loads((root / "oci" / "blobs" / digest.replace(":", "/")).read_bytes())

    todo = [
        each["digest"] for each in json.loads((root / "oci/index.json").read_bytes())["manifests"]
    ]
    while todo:
        digest = todo.pop()
        fields = load(digest)
        documents.add(digest)
        todo += [each["digest"] for each in fields.get("manifests", ())]
        if "config" in fields:
            documents.add(fields["config"]["digest"])
            blobs = [layer["digest"] for layer in fields["layers"]]
            everything.update(blobs)
            chain = ""
            for blob, diff in zip(
                blobs, load(fields["config"]["digest"])["rootfs"]["diff_ids"], strict=True
            ):
                chain = (
                    "sha256:" + sha256(f"{chain} {diff}".encode()).hexdigest() if chain else diff
                )
                layers.setdefault(blob, set()).update((diff[7:], chain[7:19]))
    return _Needed(
        all=frozenset(everything | documents), documents=frozenset(documents), layers=layers
    )


def _files(root: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(root):
        if Path(place) == root:
            folders[:] = [name for name in folders if name not in _PASSED_OVER]
        folders[:] = sorted(name for name in folders if name not in ("trash", "trees", "mounts"))
        for name in sorted(files):
            if Path(place) != root or name not in _PASSED_OVER:
                found.append(Path(place, name))
    return found


def _remove(path: Path) -> None:
    path.unlink()


def _content(path: Path) -> bytes | None:
    try:
        return os.fsencode(os.readlink(path)) if path.is_symlink() else _read(path)
    except FileNotFoundError:
        return None


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else repr(path.lstat().st_mode).encode()


@contextlib.contextmanager
def _same_time(path: Path) -> Iterator[None]:
    """Leave the time as it was: a disk that forgets does not set it."""
    state = path.stat()
    yield
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Let what is in a read-only subvolume be corrupted."""
    tops = [
        each
        for each in path.parents
        if each.name == "fs" and btrfs_subvolumes.is_subvolume(str(each))
    ]
    for top in tops:
        btrfs_subvolumes.set_read_only(str(top), False)
    try:
        with _same_time(path.parent):
            yield
    finally:
        for top in tops:
            btrfs_subvolumes.set_read_only(str(top), True)
