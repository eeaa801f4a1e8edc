"""Records of unpacked layers and of blobs in the database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from ocitool.oci.digest import Digest
from ocitool.store.database.database import Database, rows_of_file

_COLUMNS: Final = "chain, diff, parent, boot, used"
_ONE: Final = "driver = ? AND chain = ?"
_UNSYNCED: Final = "boot = ? AND made < ?"


class LayerRecord(NamedTuple):
    """The record of an unpacked layer.  Values are as in the row; only `check` verifies them."""

    chain_id: str  # digits
    diff_id: str
    parent: str  # digits of the chain ID below, "" for the lowest layer
    boot: str  # the machine's boot it was unpacked in, "" once it is durable
    used: float  # when a process last claimed it, in seconds since the epoch


class LayerRecords:
    """The table of unpacked layers; every method may raise `StoreError`, as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, driver: str, chain_id: str, diff_id: Digest, parent: str, boot: str) -> None:
        """Record a layer that *driver* has just unpacked."""
        now = time.time()
        self._database.run(
            "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (chain_id, driver, str(diff_id), parent, boot, now, now),
        )

    def get(self, driver: str, chain_id: str) -> LayerRecord | None:
        """Return the record of one layer."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM layers WHERE {_ONE}", (driver, chain_id)
        )
        return LayerRecord._make(rows[0]) if rows else None

    def of_driver(self, driver: str) -> list[LayerRecord]:
        """Return the records of the layers of one driver."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM layers WHERE driver = ?", (driver,))
        return list(map(LayerRecord._make, rows))

    def all(self) -> list[LayerRecord]:
        """Return the records of the layers of all drivers."""
        return list(map(LayerRecord._make, self._database.rows(f"SELECT {_COLUMNS} FROM layers")))

    def drivers(self) -> list[str]:
        """Return the names of the drivers that have layers."""
        rows = self._database.rows("SELECT DISTINCT driver FROM layers ORDER BY driver")
        return [row[0] for row in rows]

    def claim(self, driver: str, chain_ids: Sequence[str], since: float) -> list[LayerRecord]:
        """Return the records of *chain_ids*, and set their time of use to now.

        If all of them were claimed after *since* (seconds since the epoch), nothing is changed.
        """
        which = f"driver = ? AND chain IN ({','.join('?' * len(chain_ids))})"
        values = (driver, *chain_ids)
        query = f"SELECT {_COLUMNS} FROM layers WHERE {which}"
        rows = list(map(LayerRecord._make, self._database.rows(query, values)))
        if any(row.used < since for row in rows):
            with self._database.write():
                self._database.run(
                    f"UPDATE layers SET used = ? WHERE {which}", (time.time(), *values)
                )
                # A garbage collection may have been faster.
                rows = list(map(LayerRecord._make, self._database.rows(query, values)))
        return rows

    def remove(self, driver: str, chain_id: str, before: float) -> bool:
        """Remove the record of a layer if it was last claimed before *before*; True if it is gone.

        This is durable: a power cut must not bring back the row of a directory that is removed.
        """
        self._database.run_durably(
            f"DELETE FROM layers WHERE {_ONE} AND used < ?", (driver, chain_id, before)
        )
        return self.get(driver, chain_id) is None

    def are_unsynced(self, boot: str, before: float) -> bool:
        """Say whether a layer was unpacked in *boot*, *before* that time, and not synced since."""
        query = f"SELECT 1 FROM layers WHERE {_UNSYNCED} LIMIT 1"
        return bool(self._database.rows(query, (boot, before)))

    def mark_synced(self, boot: str, before: float) -> None:
        """Record that these layers are durable."""
        self._database.run(f"UPDATE layers SET boot = '' WHERE {_UNSYNCED}", (boot, before))


def layers_of_file(database: bytes, driver: str) -> list[LayerRecord]:
    """Return the records of *driver* in the bytes of another store's database file."""
    query = f"SELECT {_COLUMNS} FROM layers WHERE driver = ?"
    return list(map(LayerRecord._make, rows_of_file(database, query, (driver,))))


class BlobRecords:
    """Records of blobs: which layer a blob holds, and which repositories have it.

    Every method may raise `StoreError`, as `Database` does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_compressed(self, digest: Digest, diff_id: Digest, codec: str) -> None:
        """Record that the blob *digest* holds the layer *diff_id*; *codec* is as ``gzip:9``."""
        self._database.run(
            "INSERT OR REPLACE INTO packed VALUES (?, ?, ?)", (str(digest), str(diff_id), codec)
        )

    def compressed(self, diff_id: Digest, codec: str) -> list[Digest]:
        """Return the blobs of a layer with this *codec*; they may have been removed meanwhile."""
        query = "SELECT digest FROM packed WHERE diff = ? AND codec = ?"
        return [Digest.parse(row[0]) for row in self._database.rows(query, (str(diff_id), codec))]

    def put_origin(self, digest: Digest, repository: str) -> None:
        """Record that *repository* (with its domain) has a blob."""
        self._database.run("INSERT OR IGNORE INTO origins VALUES (?, ?)", (str(digest), repository))

    def origins(self, digest: Digest) -> tuple[str, ...]:
        """Return the repositories that are known to have a blob."""
        rows = self._database.rows(
            "SELECT repository FROM origins WHERE digest = ? ORDER BY repository", (str(digest),)
        )
        return tuple(row[0] for row in rows)

    def remove_origin(self, digest: Digest, repository: str) -> None:
        """Remove the record that *repository* has a blob."""
        self._database.run(
            "DELETE FROM origins WHERE digest = ? AND repository = ?", (str(digest), repository)
        )

    def put_repository(self, repository: str) -> None:
        """Record a repository of a registry server; it stays when its content is deleted."""
        self._database.run("INSERT OR IGNORE INTO origins VALUES ('', ?)", (repository,))

    def repositories(self) -> list[str]:
        """Return every recorded repository."""
        return [row[0] for row in self._database.rows("SELECT DISTINCT repository FROM origins")]

    def has_served(self) -> bool:
        """Say whether a registry server has recorded a repository (`put_repository`)."""
        return bool(self._database.rows("SELECT 1 FROM origins WHERE digest = '' LIMIT 1"))

    def remove(self, digest: Digest) -> None:
        """Remove the records of a blob that was removed, and its image summary."""
        for table in ("packed", "origins", "images"):
            self._database.run(f"DELETE FROM {table} WHERE digest = ?", (str(digest),))
