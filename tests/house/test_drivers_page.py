"""The page on drivers: what it quotes is what there is, and it leaves nothing out."""

from __future__ import annotations

import re
import runpy

import pytest

from ocitool.drivers.driver import Driver
from ocitool.plugins import BUILT_IN


@pytest.fixture
def quotes(checkout):
    return runpy.run_path(str(checkout / "docs" / "quotes.py"))


@pytest.fixture
def page(checkout):
    return (checkout / "docs" / "drivers.md").read_text(encoding="utf-8")


def first_column(page, heading):
    """Return the names in the first column of the table with that heading, in their order."""
    rows = page.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w[\w-]*)`", row.split("|")[1])]


def test_the_quotations_are_up_to_date(quotes, page, rewrite):
    now = quotes["renewed"](page)
    if rewrite:
        quotes["PAGE"].write_text(now, encoding="utf-8")
    else:
        assert page == now, "if it is meant: make docs"


def test_a_quotation_that_has_rotted_is_found(quotes, page):
    rotten = page.replace("class JournalDriver:", "class DiaryDriver:")
    assert rotten != page
    assert quotes["renewed"](rotten) == page


def test_the_example_is_quoted_whole(page, checkout):
    for path in (checkout / "testdata" / "driver-plugin").iterdir():
        if path.suffix in (".py", ".toml"):
            assert path.read_text(encoding="utf-8") in page


def test_every_built_in_driver_is_in_the_table_in_its_order(page):
    assert first_column(page, "driver") == list(BUILT_IN["ocitool.drivers"])


def test_every_method_is_in_the_table_in_its_order(page):
    methods = [name for name in vars(Driver) if not name.startswith("_")]
    assert sorted(first_column(page, "method")) == sorted(methods)
