"""The suite once more as an ordinary user: through a worker in a user namespace, and without."""

from __future__ import annotations

import os
import tempfile

import pytest

from tests.fixtures.programs import execute

#: Runs every test of the suite as any runner may, and prints what became of them.
RUN = """
import sys, traceback, unittest
from ocitool.drivers import select
from ocitool.drivers.conformance import DriverConformance
from ocitool.drivers.vfs import VfsDriver

name, mode = sys.argv[1:]

class Suite(DriverConformance):
    foreign_ids = mode != "own"
    in_place = mode == "own"

    def make(self, home):
        if mode == "own":
            return VfsDriver(home)
        driver = select.make(f"{name}.aside" if mode == "aside" else name, home)
        assert type(driver).__name__ == "RootlessDriver"
        return driver

bad = []
for test in dir(DriverConformance):
    if test.startswith("test_"):
        try:
            getattr(Suite(), test)()
            print("passed", test)
        except unittest.SkipTest as reason:
            print("skipped", test, reason)
        except Exception:
            print("failed", test)
            traceback.print_exc()
            bad.append(test)
sys.exit(bool(bad))
"""

#: Makes subvolumes in a container on btrfs; they become directories, or go with their tree.
NEST = """
import sys
from ocitool.drivers import select
from ocitool.drivers.conformance.harness import DriverBench
from ocitool.drivers.conformance.layers import directory

MAKE = f'''
import os, sys
sys.path[:0] = {sys.path!r}
from ocitool.drivers import btrfs_subvolumes
here = os.getcwd()
btrfs_subvolumes.create(here + "/d/inner")
open("d/inner/f", "w").close()
btrfs_subvolumes.create(here + "/d/inner/deeper")
open("d/inner/deeper/g", "w").close()
os.chown("d/inner/deeper/g", 7, 7)
btrfs_subvolumes.set_read_only(here + "/d/inner/deeper", True)
'''

class Nest(DriverBench):
    def make(self, home):
        return select.make("btrfs", home)

    def run(self):
        A, B, C = (letter * 64 for letter in "abc")
        with self.driver() as driver:
            self.layer(driver, A, (), [directory("d", (5, 5))])
            for key in ("kept", "dropped"):
                driver.begin(key, (A,))
                self.inside(driver, key, (A,), MAKE)
            driver.discard("dropped")
            driver.commit("kept", B)
            self.layer(driver, C, (A, B), [])
            seen = self.look(driver, (A, B, C))
            print(*seen, seen["d/inner/deeper/g"]["owner"])

Nest().run()
"""

PROBE = """
import sys, tempfile
from ocitool.drivers import select

with tempfile.TemporaryDirectory() as place:
    found = select.probe(sys.argv[1], place)
print(found.ok, found.reason)
"""


def passed(done):
    """Return how many tests passed; none was skipped."""
    done.ok()
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("passed ")] == []
    return len(lines)


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["overlay", "vfs"])
def test_an_ordinary_user_has_every_driver(ordinary_user, name):
    user = ordinary_user
    support = user.run(user.python, "-c", PROBE, name).ok().stdout.strip()
    if not support.startswith("True"):
        pytest.skip(f"needs {name} for an ordinary user: {support}")
    assert passed(user.run(user.python, "-c", RUN, name, "mapped")) >= 20


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["overlay", "vfs"])
def test_a_user_without_ranges_has_every_driver(rangeless_user, name):
    user = rangeless_user
    support = user.run(user.python, "-c", PROBE, f"{name}.aside").ok().stdout.strip()
    if not support.startswith("True"):
        pytest.skip(f"needs {name} for a user with a single id: {support}")
    assert "stored in extended attributes" in support
    assert passed(user.run(user.python, "-c", RUN, name, "aside")) >= 20


@pytest.mark.campaign
def test_plain_directories_need_no_privilege_at_all(ordinary_user):
    user = ordinary_user
    assert passed(user.run(user.python, "-c", RUN, "vfs", "own")) >= 20


@pytest.mark.campaign
@pytest.mark.parametrize("disk", ["btrfs", "open_btrfs"])
def test_an_ordinary_user_has_snapshots(ordinary_user, request, disk):
    top = request.getfixturevalue(disk)
    user = ordinary_user
    place = tempfile.mkdtemp(dir=top)
    os.chown(place, user.uid, user.gid)
    env = {**user.env, "TMPDIR": place}
    support = user.run(user.python, "-c", PROBE, "btrfs", env=env).ok().stdout.strip()
    if "btrfs snapshots work here" not in support:
        pytest.skip(f"needs btrfs for an ordinary user: {support}")
    assert ("file by file" in support) == (disk == "btrfs")
    assert passed(user.run(user.python, "-c", RUN, "btrfs", "mapped", env=env)) >= 20
    nested = user.run(user.python, "-c", NEST, env=env).ok().stdout
    assert nested == "d d/inner d/inner/deeper d/inner/deeper/g d/inner/f [7, 7]\n"
    assert os.listdir(place) == []
    os.rmdir(place)


@pytest.mark.campaign
def test_a_user_without_ranges_has_snapshots(rangeless_user, btrfs):
    user = rangeless_user
    place = tempfile.mkdtemp(dir=btrfs)
    os.chown(place, user.uid, user.gid)
    env = {**user.env, "TMPDIR": place}
    support = user.run(user.python, "-c", PROBE, "btrfs.aside", env=env).ok().stdout.strip()
    if "btrfs snapshots work here" not in support:
        pytest.skip(f"needs btrfs for a user with a single id: {support}")
    assert passed(user.run(user.python, "-c", RUN, "btrfs", "aside", env=env)) >= 20
    assert os.listdir(place) == []
    os.rmdir(place)


#: Runs a program as a user who may open /dev/fuse: in a mount namespace, on a node of its own.
WITH_FUSE = """
set -e
mount -t tmpfs none /dev/shm
mknod /dev/shm/fuse c 10 229
chmod 0666 /dev/shm/fuse
mount --bind /dev/shm/fuse /dev/fuse
user=$1; shift
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
"""


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("who", "mode"), [("ordinary_user", "mapped"), ("rangeless_user", "aside")]
)
def test_a_user_has_fuse_where_its_device_is_open(request, who, mode):
    user = request.getfixturevalue(who)
    start = ["unshare", "--mount", "sh", "-c", WITH_FUSE, "sh", str(user.uid)]

    def run(*args):
        return execute([*start, user.python, "-c", *args], env=user.env, cwd=user.home)

    made = execute([*start, "true"])
    if made.code != 0:
        pytest.skip(f"needs a device node of its own: {made.stderr.strip()}")

    name = "fuse-overlayfs.aside" if mode == "aside" else "fuse-overlayfs"
    support = run(PROBE, name).ok().stdout.strip()
    if not support.startswith("True"):
        pytest.skip(f"needs fuse-overlayfs for an ordinary user: {support}")
    assert passed(run(RUN, "fuse-overlayfs", mode)) >= 20


def test_a_closed_device_is_the_reason_and_has_a_hint(ordinary_user):
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")
    if os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
        pytest.skip("needs /dev/fuse closed to other users")
    user = ordinary_user
    support = user.run(user.python, "-c", PROBE, "fuse-overlayfs").ok().stdout
    assert support == "False /dev/fuse cannot be opened: Permission denied\n"
