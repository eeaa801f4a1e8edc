"""Two stores, between which images are copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool import Store


@pytest.fixture
def store(store_root: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.open(str(store_root / "store")) as opened:
        yield opened


@pytest.fixture
def other(store_root: Path) -> Iterator[Store]:
    """Another one."""
    with Store.open(str(store_root / "other")) as opened:
        yield opened
