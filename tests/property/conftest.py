"""Examples of property tests have no deadline, and more of them are a campaign."""

from __future__ import annotations

import pytest

from tests.fixtures.examples import CAMPAIGN


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``make campaigns`` find all properties."""
    if CAMPAIGN:
        item.add_marker("campaign")


@pytest.fixture(scope="module", autouse=True)
def _without_a_crash(unsynced: None) -> None:
    """Let no example wait for the disk."""
