"""The public API, and what starting the library costs, counted in modules and not in time."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys

import pytest

PACKAGES = ("ocitool", "ocitool_registry", "ocitool_runtime")

#: Not one of these is needed to print a version, to find that nothing has changed, or to begin a
#: container.
HEAVY = frozenset(
    (
        "aiohttp",
        "asyncio",
        "cheroot",
        "concurrent",
        "cryptography",
        "email",
        "http",
        "isal",
        "multiprocessing",
        "pdb",
        "requests",
        "rich",
        "ssl",
        "tarfile",
        "unittest",
        "urllib3",
        "yaml",
        "zstandard",
    )
)

LIST_NEW = """
import json, sys
before = set(sys.modules)
try:
    {action}
except SystemExit as end:
    if end.code:
        raise
finally:
    with open(sys.argv[-1], "w") as stream:
        json.dump(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}), stream)
"""


def modules_after(checkout, action, tmp_path):
    """Run *action* in a new Python; return the top-level modules it brought in."""
    roots = (checkout, checkout / "registry", checkout / "runtime")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    listing = tmp_path / "modules.json"
    script = LIST_NEW.format(action=action)
    done = subprocess.run(
        [sys.executable, "-c", script, listing], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(listing.read_text()))


def modules_of_command(checkout, tmp_path, *words):
    action = (
        "import runpy; listing = sys.argv.pop(); "
        f"sys.argv[1:] = {list(words)!r}\n"
        "    try:\n"
        "        runpy.run_module('ocitool', run_name='__main__', alter_sys=True)\n"
        "    finally:\n"
        "        sys.argv.append(listing)"
    )
    return modules_after(checkout, action, tmp_path)


def need_command_line():
    if importlib.util.find_spec("ocitool.__main__") is None:
        pytest.skip("there is no command line yet")


def foreign(modules):
    return {name for name in modules if name not in sys.stdlib_module_names} - set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_no_third_party_module(checkout, tmp_path, package):
    assert foreign(modules_after(checkout, f"import {package}", tmp_path)) == set()


def test_the_version_costs_click_and_no_more(checkout, tmp_path):
    need_command_line()
    modules = modules_of_command(checkout, tmp_path, "--version")
    assert foreign(modules) <= {"click"}
    assert modules & HEAVY == set()
    assert not modules & {"sqlite3", "ocitool_registry", "ocitool_runtime"}


def test_a_cached_build_loads_nothing_heavy(checkout, tmp_path):
    need_command_line()
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    (context / "file").write_text("content\n")
    words = ("--root", str(tmp_path / "store"), "build", "-q", "-t", "cached:1", str(context))
    modules_of_command(checkout, tmp_path, *words)
    modules = modules_of_command(checkout, tmp_path, *words)
    assert modules & HEAVY == set()
    assert foreign(modules) <= {"click"}


def test_a_container_loads_nothing_heavy(checkout, tmp_path, tools_store, containers):
    words = ("--root", str(tools_store), "run", "--rm", "tools:1", "true")
    modules_of_command(checkout, tmp_path, *words)  # the first one unpacks
    modules = modules_of_command(checkout, tmp_path, *words)
    assert modules & HEAVY == set()
    assert foreign(modules) <= {"click"}


def test_public_names_are_the_golden_list(checkout, rewrite):
    golden = checkout / "tests" / "house" / "public_names.txt"
    names = []
    for package in PACKAGES:
        listed = getattr(importlib.import_module(package), "__all__", None)
        if listed is None:
            pytest.skip(f"{package} has no __all__ yet")
        assert list(listed) == sorted(listed, key=str), f"{package}.__all__ is not in order"
        names += [f"{package}.{name}" for name in listed]
    if rewrite:
        golden.write_text("\n".join(names) + "\n")
    assert names == golden.read_text().split()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name).__doc__ or name.startswith("__"), f"{package}.{name}"
