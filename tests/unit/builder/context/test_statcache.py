"""Content digests by what stat says: right under every way to change a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ocitool.builder.context import statcache
from ocitool.builder.context.context import Context
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.store.database.build_cache import BuildCache
from ocitool.store.database.database import Database

OLD = 3.0  # seconds; older than any file system's clock is coarse


@pytest.fixture
def records(store_root) -> BuildCache:
    return BuildCache(Database(str(store_root / "db.sqlite")))


@pytest.fixture
def top(tmp_path) -> Path:
    path = tmp_path / "context"
    (path / "d").mkdir(parents=True)
    for name, text in {"a": "aaa", "b": "bbb"}.items():
        (path / "d" / name).write_text(text)
    return path


@pytest.fixture
def digest(records, top, monkeypatch):
    """Return a function that digests the context's ``d`` as a new build would."""

    def compute(source: str = "d") -> str:
        context = Context(str(top), IgnoreRules(), records)
        (item,) = context.find(source)
        found = context.digest(item)
        context.close()
        return found

    return compute


@pytest.fixture
def settled(monkeypatch):
    """Let every file count as long unchanged: the clock is read as if it were later."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + int(OLD * 1e9))


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files whose content was read."""
    seen: list[str] = []
    real = statcache._hash

    def remember(fd: int) -> str:
        seen.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        return real(fd)

    monkeypatch.setattr(statcache, "_hash", remember)
    return seen


def test_unchanged_files_are_not_read_again(digest, settled, reads):
    first = digest()
    assert sorted(reads) == ["a", "b"]
    assert digest() == first and len(reads) == 2


def test_one_changed_file_is_read_alone(digest, settled, reads, top):
    first = digest()
    (top / "d/a").write_text("xxx")
    assert digest() != first
    assert reads[2:] == ["a"]


def test_young_files_are_not_trusted(digest, reads):
    digest()
    digest()
    assert sorted(reads) == ["a", "a", "b", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_a_change_within_the_clocks_tick_is_seen(digest, top, whole):
    """Rewritten at once with the same size, many times over: the digest always follows."""
    seen = set()
    for at in range(300):
        if whole:
            (top / "d/a").write_text(f"{at:03}")
        else:
            with open(top / "d/a", "r+") as file:
                file.write(f"{at:03}")
        seen.add(digest())
        assert digest() in seen
        assert len(seen) == at + 1


def test_ways_to_change_a_file_that_keep_size_and_mtime(digest, settled, top):
    place = top / "d/a"
    times = (1_000_000_000, 1_000_000_000)
    os.utime(place, times)
    known = [digest()]

    def changed() -> bool:
        os.utime(place, times)
        known.append(digest())
        return known[-1] not in known[:-1]

    place.write_text("xyz")
    assert changed()
    (top / "new").write_text("abc")
    os.replace(top / "new", place)
    assert changed()
    place.chmod(0o600)
    assert changed()
    os.setxattr(place, "user.note", b"1")
    assert not changed()  # no layer gets it
    os.removexattr(place, "user.note")
    place.chmod(0o644)
    place.write_text("aaa")
    os.utime(place, times)
    assert digest() == known[0]


def test_names_that_are_swapped(digest, settled, top):
    first = digest()
    (top / "d/a").rename(top / "d/t")
    (top / "d/b").rename(top / "d/a")
    (top / "d/t").rename(top / "d/b")
    assert digest() != first


def test_directories_that_are_swapped(digest, settled, top):
    (top / "e").mkdir()
    (top / "e/a").write_text("eee")
    d, e = digest("d"), digest("e")
    (top / "d").rename(top / "t")
    (top / "e").rename(top / "d")
    (top / "t").rename(top / "e")
    assert (digest("d"), digest("e")) == (e, d)


def test_hard_links_differ_from_copies(digest, settled, top):
    (top / "d/b").write_text("aaa")
    copies = digest()
    (top / "d/b").unlink()
    os.link(top / "d/a", top / "d/b")
    assert digest() != copies
    with open(top / "d/b", "w") as file:  # changes what the other name shows
        file.write("new")
    after = digest()
    (top / "d/b").unlink()
    (top / "d/b").write_text("new")
    assert digest() not in (copies, after)


def test_a_file_becomes_another_type(digest, settled, top):
    known = [digest()]
    for make in (os.mkdir, os.mkfifo, lambda path: os.symlink("b", path)):
        place = top / "d/a"
        place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()
        make(place)
        known.append(digest())
    assert len(set(known)) == 4


def test_a_clock_that_goes_backwards(digest, monkeypatch, reads, top):
    """Files from the future are never trusted, however often they are looked at."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)  # in 2001
    seen = set()
    for text in ("111", "222", "333"):
        (top / "d/a").write_text(text)
        seen.add(digest())
        assert digest() in seen
    assert len(seen) == 3 and reads.count("a") == 6


def test_a_single_file_has_a_record_of_its_own(digest, settled, top, reads):
    alone = digest("d/a")
    assert digest("d") != alone
    assert digest("d/a") == alone and reads.count("a") == 2
    (top / "d/a").write_text("xxx")
    assert digest("d/a") != alone


def test_times_alone_change_no_digest(digest, settled, top):
    first = digest()
    os.utime(top / "d/a", (5, 5))
    os.utime(top / "d", (5, 5))
    assert digest() == first
