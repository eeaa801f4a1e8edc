"""What the unit tests of several packages work with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool import Store


@pytest.fixture
def store(store_root: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.open(str(store_root)) as opened:
        yield opened
