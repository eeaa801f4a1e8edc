"""Built-ins and plugins: one look-up, and no plugin in a built-in's place."""

from __future__ import annotations

import pytest

from ocitool import plugins
from ocitool.errors import PluginError

DRIVERS = "ocitool.drivers"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution with entry points, for this test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, **entries):
        metadata = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = "".join(f"{key} = {value}\n" for key, value in entries.items())
        (metadata / "entry_points.txt").write_text(f"[{DRIVERS}]\n{lines}")

    return install


@pytest.mark.parametrize(
    ("group", "name"),
    [(group, name) for group, table in plugins.BUILT_IN.items() for name in table],
)
def test_every_built_in_is_there(group, name):
    assert plugins.lookup(group, name) is not None
    assert name in plugins.names(group)


def test_an_unknown_name_tells_the_known_ones():
    with pytest.raises(PluginError, match="unknown storage driver 'nonsense'") as caught:
        plugins.lookup(DRIVERS, "nonsense")
    assert ", ".join(plugins.BUILT_IN[DRIVERS]) in caught.value.hint


def test_a_plugin_is_found_after_the_built_ins(install):
    install("a-driver", mine="collections:OrderedDict")
    assert plugins.lookup(DRIVERS, "mine").__name__ == "OrderedDict"
    assert plugins.names(DRIVERS) == (*plugins.BUILT_IN[DRIVERS], "mine")


@pytest.mark.parametrize("value", ["no_such_module:X", "collections:NoSuchName", "not a path"])
def test_a_plugin_that_cannot_be_loaded_names_its_distribution(install, value):
    install("broken-driver", mine=value)
    with pytest.raises(PluginError, match="'mine' of broken-driver") as caught:
        plugins.lookup(DRIVERS, "mine")
    assert caught.value.where == DRIVERS


def test_a_plugin_may_not_take_a_built_in_name(install):
    install("rude-driver", overlay="collections:OrderedDict")
    with pytest.raises(PluginError, match="plugin name 'overlay' of rude-driver is already in use"):
        plugins.names(DRIVERS)
    assert plugins.lookup(DRIVERS, "overlay").name == "overlay"


def test_two_plugins_may_not_share_a_name(install):
    install("one-driver", mine="collections:OrderedDict")
    install("two-driver", mine="collections:Counter")
    with pytest.raises(PluginError, match="plugin name 'mine' of"):
        plugins.lookup(DRIVERS, "mine")
