"""The built-in drivers pass the suite that every driver passes, for whoever runs the tests."""

from __future__ import annotations

import pytest

from ocitool.drivers import select
from ocitool.drivers.conformance.suite import DriverConformance
from ocitool.errors import DriverUnavailable


def make(name, home):
    """Make a driver as the store does; skip where it cannot work."""
    try:
        driver = select.make(name, home)
    except DriverUnavailable as error:
        pytest.skip(str(error))
    return driver


@pytest.fixture(autouse=True, scope="module")
def overlay_works(tmp_path_factory):
    """Say once whether overlay works here; a class asks for it."""
    return select.probe("overlay", str(tmp_path_factory.mktemp("probe") / "overlay"))


@pytest.fixture(autouse=True, scope="module")
def erofs_works(tmp_path_factory):
    """Say once whether images in files can be mounted here."""
    return select.probe("erofs", str(tmp_path_factory.mktemp("probe") / "erofs"))


class TestOverlay(DriverConformance):
    @pytest.fixture(autouse=True)
    def needs_overlay(self, overlay_works):
        if not overlay_works.ok:
            pytest.skip(overlay_works.reason)

    def make(self, home):
        return make("overlay", home)


@pytest.mark.campaign
class TestVfs(DriverConformance):
    def make(self, home):
        return make("vfs", home)


class TestErofs(DriverConformance):
    @pytest.fixture(autouse=True)
    def needs_erofs(self, erofs_works):
        if not erofs_works.ok:
            pytest.skip(erofs_works.reason)

    def make(self, home):
        return make("erofs", home)
