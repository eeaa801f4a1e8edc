"""Which driver is used, and what is said of one that cannot work."""

from __future__ import annotations

import os

import pytest

from ocitool import Store, plugins
from ocitool.drivers import probes, select
from ocitool.drivers.overlay import OverlayDriver
from ocitool.drivers.vfs import VfsDriver
from ocitool.errors import DriverError, DriverUnavailable, PluginError


@pytest.fixture
def drivers(tmp_path):
    """A directory for drivers; skips where this user can have none."""
    support = select.probe("vfs", str(tmp_path / "probe"))
    if not support.ok:
        pytest.skip(support.reason)
    return str(tmp_path / "drivers")


@pytest.mark.slow
def test_the_wanted_driver_is_used(drivers):
    assert select.choose(drivers, "vfs") == select.Choice(
        name="vfs", reason="plain directories work everywhere"
    )


def test_the_driver_that_was_probed_is_the_one_in_use(drivers, tmp_path, monkeypatch):
    """For an ordinary user its worker is started then, which takes as long as a small build."""
    made, make = [], select.make
    monkeypatch.setattr(select, "make", lambda *words: made.append(make(*words)) or made[-1])
    with Store.open(str(tmp_path / "store"), driver="vfs") as store:
        assert store.choose_driver().new
        (driver,) = made
        assert store.driver() is driver
        assert not store.choose_driver().new
    assert made == [driver]


def test_an_unknown_driver_is_refused(drivers):
    with pytest.raises(PluginError, match="'nonsense'"):
        select.choose(drivers, "nonsense")


@pytest.mark.slow
def test_what_cannot_work_is_passed_over_with_its_reason(drivers, monkeypatch):
    """Its options cannot name such a path, so plain directories are used instead."""
    monkeypatch.setattr(plugins, "names", lambda group: ("fuse-overlayfs", "vfs"))
    place = f"{drivers},with:marks"
    choice = select.choose(place)
    assert choice.name == "vfs"
    (passed,) = choice.passed_over
    assert (passed.name, passed.support.ok) == ("fuse-overlayfs", False)
    assert "does not support a colon" in passed.support.reason
    assert passed.support.hint
    with pytest.raises(DriverUnavailable, match="does not support a colon") as caught:
        select.choose(place, "fuse-overlayfs")  # what is wanted is never replaced
    assert caught.value.hint


@pytest.mark.slow
def test_a_choice_is_new_until_it_is_remembered_also_by_an_earlier_boot(drivers, monkeypatch):
    """What is passed over is warned of once a store, and again when it changes."""
    monkeypatch.setattr(plugins, "names", lambda group: ("fuse-overlayfs", "vfs"))
    place = f"{drivers},with:marks"
    os.mkdir(place)

    def write(path, data):
        with open(path, "wb") as file:
            file.write(data)

    def choice(boot, wanted=""):
        return select.choose_once(place, wanted, boot=boot, before_probe=lambda: None, write=write)

    assert choice("first").new
    assert not choice("first").new
    again = choice("second")
    assert (again.name, again.new) == ("vfs", False)
    monkeypatch.setattr(plugins, "names", lambda group: ("vfs",))
    assert choice("third").new  # nothing is passed over any more


def test_a_probe_that_fails_tells_the_kernels_reason(root_only, tmp_path):
    support = probes.try_overlay(str(tmp_path), ("no_such_option=1",))
    assert not support.ok
    assert "overlayfs does not work here" in support.reason
    assert os.listdir(tmp_path) == []


def test_more_layers_than_overlay_stacks_are_refused(tmp_path):
    driver = OverlayDriver(str(tmp_path))
    with pytest.raises(DriverError, match="500") as caught:
        driver.begin("t", [f"{at:064x}" for at in range(500)])
    assert "vfs" in caught.value.hint
    assert list(driver.trees()) == []


class Old(VfsDriver):
    """A driver that was written before there was ``close``."""

    close = property()  # has no getter: as if there were no such name


def test_a_driver_that_lacks_a_method_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "lookup", lambda group, name: Old)
    with pytest.raises(PluginError, match="driver 'old' lacks close of") as caught:
        select.make("old", str(tmp_path))
    assert caught.value.hint


@pytest.mark.slow
def test_without_mounts_the_driver_is_one_that_mounts_nothing(drivers, monkeypatch):
    monkeypatch.setattr(plugins, "names", lambda group: ("overlay", "vfs"))
    choice = select.choose(drivers, mounts=False)
    assert choice.name == "vfs"
    (passed,) = choice.passed_over
    assert (passed.name, passed.support.quiet) == ("overlay", True)
    assert "does not support" in passed.support.reason
    with pytest.raises(DriverUnavailable):  # what is wanted is never replaced
        select.choose(f"{drivers},with:marks", "fuse-overlayfs", mounts=False)
