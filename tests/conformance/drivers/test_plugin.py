"""A third party's driver: installed, found by its name, tested by the suite, used by the program.

Everything happens in a virtual environment of its own, which sees this checkout and what the
tests' own Python has, and nothing of which is seen by anybody else.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from tests.fixtures.plugins import Environment
from tests.fixtures.programs import CHECKOUT
from tests.fixtures.trees import remove_tree

PLUGIN = CHECKOUT / "testdata" / "driver-plugin"


@pytest.fixture(scope="module")
def environment(session_tree):
    place = Path(tempfile.mkdtemp(prefix="v", dir=session_tree))
    yield Environment(place)
    remove_tree(place)


@pytest.fixture(scope="module")
def installed(environment):
    """Install the plugin."""
    environment.install(PLUGIN)
    return environment


@pytest.mark.campaign
def test_the_driver_passes_the_suite_from_outside(installed):
    if installed.run("-c", "import pytest").code != 0:
        pytest.skip("needs pytest in the tests' own Python")
    probe = (
        "import tempfile; from ocitool.drivers import select; "
        "print(select.probe('journal', tempfile.mkdtemp()).reason)"
    )
    said = installed.run("-c", probe).ok().stdout
    if "cannot be unpacked" in said:
        pytest.skip(said.strip())
    done = installed.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PLUGIN),
        *("--import-mode=importlib", PLUGIN / "test_journal.py"),
        cwd=PLUGIN,
    ).ok()
    assert " passed" in done.stdout, done
    assert "failed" not in done.stdout, done


def test_the_program_uses_it(installed, store_root, tmp_path):
    layer = tmp_path / "layer.tar"
    made = (
        "import sys; from ocitool.drivers.conformance.layers import file, tar; "
        "open(sys.argv[1], 'wb').write(tar([file('f', b'content')]).getvalue())"
    )
    installed.run("-c", made, layer).ok()

    def ocitool(*args):
        return installed.run("-m", "ocitool", "--root", store_root, *args)

    store = ("--driver", "journal")
    ocitool(*store, "import", layer, "plugged:1").ok()
    info = ocitool(*store, "info", "--format", "{{.Driver}}")
    if info.stdout.strip() == "none":
        pytest.skip(f"needs a driver: {info}")
    assert info.ok().stdout.strip() == "journal"
    unpack = (
        "import sys; from ocitool import Store\n"
        "from ocitool.image.store_content import local_image\n"
        "with Store.open(sys.argv[1], driver='journal') as store:\n"
        "    print(store.layers.ensure(local_image(store, 'plugged:1').layers)[0])"
    )
    chain = installed.run("-c", unpack, store_root).ok().stdout.strip()
    home = store_root / "drivers" / "journal"
    journal = home / "journal"
    assert journal.read_text().splitlines()[-1] == f"commit {chain}"
    assert ocitool("system", "check").ok().stdout == "No problems found\n"
    # The layers of a driver that is not the chosen one go, too.
    ocitool("rmi", "plugged:1").ok()
    assert os.listdir(home / "layers") == []
    assert journal.read_text().splitlines()[-1] == f"remove {chain}"


def test_a_driver_that_is_gone_stops_nobody(installed, store_root, run_cli):
    installed.run("-m", "ocitool", "--root", store_root, "--driver", "journal", "info").ok()
    tree = store_root / "drivers" / "journal" / "trees" / "0123456789abcdef-left"
    tree.mkdir(parents=True)
    run_cli("system", "prune", "-f", root=store_root).ok()
    assert tree.exists()  # nobody here can drop it
    done = run_cli("--driver", "journal", "system", "df", root=store_root)
    assert done.code == 0, done  # nothing is unpacked: no driver is asked
    installed.run("-m", "ocitool", "--root", store_root, "system", "prune", "-f").ok()
    assert not tree.exists()


def test_a_taken_name_is_refused_with_its_distribution(environment, tmp_path):
    distribution = tmp_path / "rude_driver-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rude-driver\nVersion: 1.0\n"
    )
    (distribution / "entry_points.txt").write_text("[ocitool.drivers]\noverlay = os:PathLike\n")
    ask = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from ocitool import plugins\n"
        "from ocitool.errors import PluginError\n"
        "try:\n    plugins.names('ocitool.drivers')\n"
        "except PluginError as error:\n    print(error, error.hint)\n"
        "print(plugins.lookup('ocitool.drivers', 'vfs').name)"
    )
    done = environment.run("-c", ask, tmp_path).ok()
    refusal, builtin = done.stdout.splitlines()
    assert "plugin name 'overlay' of rude-driver is already in use" in refusal
    assert "uninstall it" in refusal
    assert builtin == "vfs"  # what is built in can be had all the same


def test_the_tests_leave_their_own_python_alone(installed):
    names = os.listdir(sysconfig.get_path("purelib"))
    assert not [name for name in names if "journal" in name]
    assert Path(installed.python).parent != Path(sys.executable).parent
