"""What a layer of COPY and ADD is planned of: entries that replace others."""

from __future__ import annotations

import random

import pytest

from ocitool.builder.copy.descendants import Descendants
from ocitool.builder.copy.entries import Entries
from ocitool.layer.entry import Entry, Kind


class Unlisted(dict):
    """Entries that nobody may go through while they are planned."""

    def __iter__(self):
        raise AssertionError("all entries are looked at")

    keys = values = items = __iter__


@pytest.fixture
def entries():
    return Entries()


def put(entries, *given):
    for path, kind, link in given:
        entries.put(Entry(path, kind, 0o755, link=link), 0, path)


def test_a_directory_that_a_file_replaces_loses_what_is_in_it(entries):
    names = ("d", "d/e", "d/e/f", "dd", "d.x")
    put(entries, *((name, Kind.DIRECTORY, "") for name in names), ("d", Kind.FILE, ""))
    assert [each.entry.path for each in entries.sorted()] == ["d", "d.x", "dd"]
    put(entries, ("d", Kind.DIRECTORY, ""), ("d/e", Kind.FILE, ""), ("d", Kind.FILE, ""))
    assert [each.entry.path for each in entries.sorted()] == ["d", "d.x", "dd"]


def test_what_is_replaced_costs_no_look_at_all_entries(entries):
    entries._entries = Unlisted()
    put(entries, ("d", Kind.DIRECTORY, ""), ("d/f", Kind.FILE, ""), ("d", Kind.FILE, ""))
    put(entries, ("h", Kind.HARDLINK, "d"), ("d", Kind.FILE, ""))
    assert entries.get("d/f") is None and entries.get("h").kind == Kind.FILE


def test_descendants_are_those_of_a_search():
    dice, names = random.Random(3), "abc"
    for _ in range(200):
        below, paths = Descendants(), set()
        for _ in range(30):
            path = "/".join(dice.choices(names, k=dice.randrange(1, 4)))
            if dice.random() < 0.2:
                gone = {each for each in paths if each.startswith(f"{path}/")}
                assert set(below.drop(path)) >= gone
                paths -= gone
                assert not {*below.drop(path)} & paths
            else:
                paths.add(path)
                below.note(path)
