"""The SQLite database: what an OCI layout has no room for.

Everything in it can be made again from the layout, which takes time; except for the table
``origins`` of a registry server, which says what each of its repositories has.  With WAL, readers
go on while one process writes; ``busy_timeout`` makes writers wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ocitool.errors import StoreError, StoreVersion
from ocitool.store.directory.full_disk import full_error, is_full

VERSION: Final = 3
_IMAGES: Final = """
CREATE TABLE images (          -- what listings show of a manifest that is here
    digest TEXT PRIMARY KEY, id TEXT NOT NULL, created TEXT NOT NULL, platform TEXT NOT NULL,
    size INTEGER NOT NULL) WITHOUT ROWID"""
_STEPS: Final = {  # from a version to the next
    1: "ALTER TABLE layers ADD COLUMN made REAL NOT NULL DEFAULT 0",
    2: _IMAGES,
}
_BUSY: Final = 60.0  # seconds
#: The hint of the error for a corrupt file.
CORRUPT: Final = "it is corrupt: remove it and its -wal and -shm; layers are unpacked again"
_REFUSED: Final = "use --root with a directory you may write to"
_FAILED: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_HINTS: Final = {
    # The statements are ours: where they do not fit the tables, the tables are corrupt.
    sqlite3.SQLITE_ERROR: CORRUPT,
    sqlite3.SQLITE_CORRUPT: CORRUPT,
    sqlite3.SQLITE_NOTADB: CORRUPT,
    sqlite3.SQLITE_CANTOPEN: _REFUSED,
    sqlite3.SQLITE_PERM: _REFUSED,
    sqlite3.SQLITE_READONLY: _REFUSED,
}

_SCHEMA: Final = f"""{_IMAGES};
CREATE TABLE layers (          -- unpacked layers
    chain TEXT NOT NULL, driver TEXT NOT NULL, diff TEXT NOT NULL, parent TEXT NOT NULL,
    boot TEXT NOT NULL,        -- the machine's boot it was unpacked in; '' once it is durable
    used REAL NOT NULL,        -- when a process last claimed it, in seconds since the epoch
    made REAL NOT NULL,        -- when it was unpacked
    PRIMARY KEY (driver, chain)) WITHOUT ROWID;
CREATE TABLE packed (          -- blobs that hold a layer whose content was verified
    digest TEXT PRIMARY KEY, diff TEXT NOT NULL, codec TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX packed_diff ON packed (diff);
CREATE TABLE origins (         -- repositories that are known to hold a blob
    digest TEXT NOT NULL, repository TEXT NOT NULL,
    PRIMARY KEY (digest, repository)) WITHOUT ROWID;
CREATE TABLE cache (           -- build steps that were done
    key TEXT PRIMARY KEY, record TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE files (           -- the stat cache: one row for each directory of a context
    directory TEXT NOT NULL, rules TEXT NOT NULL, state BLOB NOT NULL, digest TEXT NOT NULL,
    content BLOB NOT NULL, PRIMARY KEY (directory, rules)) WITHOUT ROWID;
"""
_COLUMNS: Final = {
    "layers": "chain, driver, diff, parent, boot, used, made",
    "images": "digest, id, created, platform, size",
    "packed": "digest, diff, codec",
    "origins": "digest, repository",
    "cache": "key, record, used",
    "files": "directory, rules, state, digest, content",
}


class Database:
    """One connection, shared by the threads of a process one at a time.

    With *copy* it is a copy in memory, for a read-only store: changes are lost at the end.
    """

    def __init__(self, path: str, *, copy: bool = False) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                ":memory:" if copy else path,
                timeout=_BUSY,
                isolation_level=None,
                check_same_thread=False,
            )
            if copy and os.path.exists(path):
                _copy(path, self._connection)
            self._prepare(path)
        except sqlite3.Error as error:
            raise _error(error, path) from error

    def _prepare(self, path: str) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreVersion(
                f"unsupported database format {version}: this ocitool supports {VERSION}",
                where=path,
                hint="use a newer ocitool, or another --root",
            )
        self._connection.execute("PRAGMA synchronous=NORMAL")
        if version != VERSION:
            self._upgrade(path)

    def _upgrade(self, path: str) -> None:
        """Create the tables, or upgrade those of an older version."""
        # The change to WAL fails at once, whatever busy_timeout is, while another process does
        # the same: so a lock on the directory lets only one do it at a time.
        with _alone(os.path.dirname(path)):
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._make_tables()

    def _make_tables(self) -> None:
        with self.write():
            # Another process may have been faster.
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    if statement.strip():
                        self._connection.execute(statement)
            else:
                for older in range(version, VERSION):
                    self._connection.execute(_STEPS[older])
            self._connection.execute(f"PRAGMA user_version={VERSION}")

    def corruption(self) -> str:
        """Return what is corrupt in the file, ``""`` if nothing is."""
        try:
            found: str = self.rows("PRAGMA quick_check(1)")[0][0]
            with self._lock, self._translated():
                for table, columns in _COLUMNS.items():
                    for _ in self._connection.execute(f"SELECT {columns} FROM {table}"):
                        pass  # it can be read
        except StoreError as error:
            if error.hint != CORRUPT:
                raise
            return error.message
        return "" if found == "ok" else found

    def contents(self, table: str) -> list[tuple[Any, ...]]:
        """Return all rows of *table*, their columns in the order of the schema."""
        return self.rows(f"SELECT {_COLUMNS[table]} FROM {table}")

    def remove(self, table: str, values: Mapping[str, str]) -> None:
        """Remove the rows of *table* that have *values*, by column."""
        condition = " AND ".join(f"{column} = ?" for column in values)
        self.run(f"DELETE FROM {table} WHERE {condition}", tuple(values.values()))

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that *query* finds."""
        with self._lock, self._translated():
            return self._connection.execute(query, values).fetchall()

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute one change; returns how many rows it changed."""
        with self._lock, self._translated():
            return self._connection.execute(statement, values).rowcount

    def run_durably(self, statement: str, values: Sequence[Any]) -> int:
        """Execute one change, and make it and those before it durable."""
        with self._lock, self._translated():
            self._connection.execute("PRAGMA synchronous=FULL")
            try:
                return self._connection.execute(statement, values).rowcount
            finally:
                self._connection.execute("PRAGMA synchronous=NORMAL")

    def run_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one change for each of *rows*, all or none."""
        with self.write(), self._translated():
            self._connection.executemany(statement, rows)

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """Execute the statements of the block as one transaction."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended the transaction already
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _error(error, self._path) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()


def rows_of_file(data: bytes, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows that *query* finds in the bytes of a database file, none if it is corrupt.

    Opening the file itself would create others next to it.  Rows that are only in its log (-wal)
    are not found.
    """
    raw = bytearray(data)
    raw[18:20] = b"\1\1"  # no write-ahead log, as SQLite's file format has it
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.deserialize(bytes(raw))
            return connection.execute(query, values).fetchall()
        except (sqlite3.Error, AttributeError):  # a SQLite without deserialize(), which is rare
            return []


def _copy(path: str, into: sqlite3.Connection) -> None:
    """Copy a database without creating a file beside it.

    A database with a log (-wal) can only be read with the log's index (-shm).  Without a log, the
    file itself is complete.

    Source: sqlite.org/wal.html, "Read-Only Databases"; sqlite.org/uri.html, "immutable".
    """
    from urllib.parse import quote  # only a read-only store needs it

    uri = f"file:{quote(path)}"
    try:
        with contextlib.closing(sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=_BUSY)) as log:
            log.backup(into)
    except sqlite3.OperationalError:
        with contextlib.closing(sqlite3.connect(f"{uri}?immutable=1", uri=True)) as file:
            file.backup(into)


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _error(error: sqlite3.Error, where: str) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None and isinstance(error, sqlite3.OperationalError):
        code = sqlite3.SQLITE_CORRUPT  # from Python's module: a text that is not UTF-8
    code = (code or 0) & 0xFF
    # SQLite reports a full disk when it writes; when it creates or maps a file, only a failure.
    if code == sqlite3.SQLITE_FULL or (code in _FAILED and is_full(os.path.dirname(where))):
        return full_error(where)
    hint = _HINTS.get(code, "")
    return StoreError(f"the store's database failed: {error}", where=where, hint=hint)
