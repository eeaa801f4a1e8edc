"""The database: versions, corruption, transactions."""

from __future__ import annotations

import os
import sqlite3

import pytest

from ocitool.errors import StoreError, StoreVersion
from ocitool.store.database.database import VERSION, Database

ROW = ("k", "{}", 0.0)
INSERT = "INSERT INTO cache VALUES (?, ?, ?)"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "db.sqlite")


@pytest.fixture
def database(path):
    opened = Database(path)
    yield opened
    opened.close()


def test_a_newer_version_is_refused_and_left(path):
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    with pytest.raises(StoreVersion) as caught:
        Database(path)
    assert "newer ocitool" in caught.value.hint
    assert caught.value.where == path


def test_an_older_version_is_brought_forward(path):
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE layers DROP COLUMN made")
        connection.execute("DROP TABLE images")
        connection.execute("INSERT INTO layers VALUES ('c', 'vfs', 'd', '', '', 1)")
        connection.execute("PRAGMA user_version=1")
    connection.close()
    database = Database(path)
    assert database.rows("SELECT chain, used, made FROM layers") == [("c", 1.0, 0.0)]
    assert database.rows("SELECT * FROM images") == []
    assert database.rows("PRAGMA user_version") == [(VERSION,)]
    database.close()


@pytest.mark.parametrize(
    "corruption", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 4080]
)
def test_a_corrupt_file_is_reported_with_a_remedy(path, corruption):
    with open(path, "wb") as file:
        file.write(corruption)
    with pytest.raises(StoreError) as caught:
        Database(path)
    assert caught.value.where == path
    assert "remove it" in caught.value.hint
    os.unlink(path)
    Database(path).close()


def test_corruption_that_shows_later_is_reported_with_a_remedy(path):
    database = Database(path)
    database.run_many(INSERT, [(f"k{at}", "x" * 500, 0.0) for at in range(200)])
    database.close()  # the last to close it writes everything to the one file
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    database = Database(path)
    with pytest.raises(StoreError) as caught:
        database.rows("SELECT * FROM cache")
    assert "remove it" in caught.value.hint
    database.close()


def test_a_transaction_is_all_or_nothing(database):
    with pytest.raises(RuntimeError), database.write():
        database.run(INSERT, ROW)
        raise RuntimeError
    assert database.rows("SELECT * FROM cache") == []
    with pytest.raises(StoreError):
        database.run_many(INSERT, [ROW, ROW])
    assert database.rows("SELECT * FROM cache") == []
    assert database.run(INSERT, ROW) == 1
    assert database.rows("SELECT * FROM cache") == [ROW]
    assert database.run("DELETE FROM cache WHERE key = 'other'") == 0


def test_a_full_database_is_a_full_disk(database):
    database.run("PRAGMA max_page_count=12")
    with pytest.raises(StoreError, match="the disk is full"):
        database.run_many(INSERT, [(str(at), "x" * 4000, 0.0) for at in range(50)])
    database.run("PRAGMA max_page_count=1000")
    assert database.rows("SELECT * FROM cache") == []
    database.run(INSERT, ROW)  # the transaction has ended


def test_two_connections_see_each_other(database, path):
    other = Database(path)
    with database.write():
        database.run(INSERT, ROW)
        assert other.rows("SELECT * FROM cache") == []
    assert other.rows("SELECT * FROM cache") == [ROW]
    other.close()
