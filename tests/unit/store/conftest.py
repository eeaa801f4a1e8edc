"""Stores for tests of their parts."""

from __future__ import annotations

import pytest

from ocitool import Store
from ocitool.errors import DriverUnavailable


@pytest.fixture
def unpacking(store):
    """The same; skips where layers cannot be unpacked."""
    try:
        store.driver()
    except DriverUnavailable as error:
        pytest.skip(str(error))
    return store


@pytest.fixture(params=["overlay", "erofs", "vfs"])
def with_driver(request, store_root):
    """An empty store with each driver; skips those that cannot work here."""
    with Store.open(str(store_root), driver=request.param) as opened:
        try:
            opened.driver()
        except DriverUnavailable as error:
            pytest.skip(str(error))
        yield opened
