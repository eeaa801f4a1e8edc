"""Devices of the host stay closed to RUN and to `run`, with every storage driver and for users."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from ocitool.drivers import select
from ocitool.plugins import BUILT_IN
from tests.fixtures.programs import execute

pytestmark = pytest.mark.usefixtures("containers")

OPENED = '[ -f "$path" ] || ! (exec 3<"$path") 2>/dev/null || echo "opened $path"'
DOCKERFILE = f"""
FROM scratch
COPY tree/ /
ENV PATH=/bin
RUN mknod -m 666 /shipped b 7 0 && mknod -m 666 /control c 10 237; mkdir /dev/d; echo made > /made
RUN for path in /shipped /control; do {OPENED}; done > /opened; \\
    mknod -m 666 /dev/x b 7 0; path=/dev/x; {OPENED}; {{ {OPENED}; }} >> /opened; \\
    echo x > /dev/null
"""
RUN = f"""
cat /opened
mknod -m 666 /x c 10 237; mknod -m 666 /dev/x b 7 0; mknod -m 666 /v/x c 10 237
for path in /shipped /control /x /dev/x /v/x /v/theirs; do {OPENED}; done
echo x > /dev/null && cat /made
"""


@pytest.fixture
def volume(session_tree):
    path = Path(tempfile.mkdtemp(prefix="volume", dir=session_tree))
    path.chmod(0o777)
    if os.geteuid() == 0:
        execute(["mknod", "-m", "666", path / "theirs", "c", "10", "237"]).ok()
    return f"{path}:/v"


@pytest.fixture
def attack(tools_context, run_cli, volume):
    """Return a function that builds and runs an image that tries, on a store, as a user."""
    (tools_context / "Dockerfile.devices").write_text(DOCKERFILE)

    def attack(root, *driver, user=None):
        words = ("build", "-q", "-t", "t:1", "-f", tools_context / "Dockerfile.devices")
        run_cli(*driver, *words, tools_context, root=root, user=user).ok()
        said = []
        for who in ("root", "ann") if user is None else ("root",):
            words = ("run", "--rm", "-u", who, "-v", volume, "t:1", "sh", "-c", RUN)
            said.append(run_cli(*driver, *words, root=root, user=user).ok().stdout)
        return set(said)

    yield attack
    (tools_context / "Dockerfile.devices").unlink()


@pytest.mark.parametrize("name", BUILT_IN["ocitool.drivers"])
def test_with_each_driver(attack, session_tree, request, name):
    parent = request.getfixturevalue("btrfs") if name == "btrfs" else session_tree
    root = Path(tempfile.mkdtemp(prefix="devices", dir=parent))
    support = select.probe(name, str(root / "drivers" / name))
    if not support.ok:
        pytest.skip(f"needs {name}: {support.reason}")
    assert attack(root, "--driver", name) == {"made\n"}


def test_as_a_user_with_subordinate_ids(attack, ordinary_user, tools_context):
    tools_context.parent.chmod(0o755)
    assert attack(ordinary_user.home / "devices", user=ordinary_user) == {"made\n"}


def test_as_a_user_with_a_single_id(attack, rangeless_user, tools_context):
    """A device of a layer is an empty file, which only stat(2) shows as a device."""
    tools_context.parent.chmod(0o755)
    root = rangeless_user.home / "devices"
    kept = "opened /shipped\nopened /control\n"
    assert attack(root, user=rangeless_user) == {f"{kept}{kept}opened /x\nmade\n"}
    found = [path.stat() for path in (root / "drivers").rglob("shipped")]
    assert found and all(stat.S_ISREG(each.st_mode) and not each.st_size for each in found)


def test_a_volume_of_the_hosts_root_is_the_hosts(run_cli, tools_store, session_tree):
    """A backup of ``-v /:/host`` must not be one of the container."""
    mark = session_tree / "mark"
    mark.write_text("of the host\n")
    for source in ("/", "/.", "/tmp/..", str(tools_store.parent)):
        where = f"/host/{mark.relative_to(Path(source).resolve())}"
        words = ("run", "--rm", "-v", f"{source}:/host:ro", "tools:1", "cat", where)
        assert run_cli(*words, root=tools_store).ok().stdout == "of the host\n"
