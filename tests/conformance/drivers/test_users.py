"""The suite once more as an ordinary user: through a worker in a user namespace, and without."""

from __future__ import annotations

import pytest

#: Runs every test of the suite as any runner may, and prints what became of them.
RUN = """
import sys, traceback, unittest
from ocitool.drivers import choose
from ocitool.drivers.conformance import DriverConformance
from ocitool.drivers.vfs import VfsDriver

name, mode = sys.argv[1:]

class Suite(DriverConformance):
    foreign_ids = mode == "mapped"
    in_place = mode == "own"

    def make(self, home):
        if mode == "own":
            return VfsDriver(home)
        driver = choose.make(name, home)
        assert type(driver).__name__ == "Unshared"
        return driver

bad = []
for test in sorted(vars(DriverConformance)):
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


def passed(done):
    """Return how many tests passed; none was skipped."""
    done.ok()
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("passed ")] == []
    return len(lines)


@pytest.mark.parametrize("name", ["overlay", "vfs"])
def test_an_ordinary_user_has_every_driver(ordinary_user, name):
    probe = (
        "import sys, tempfile; from ocitool.drivers import choose;"
        "found = choose.probe(sys.argv[1], tempfile.mkdtemp()); print(found.ok, found.reason)"
    )
    user = ordinary_user
    support = user.run(user.python, "-c", probe, name).ok().stdout.strip()
    if not support.startswith("True"):
        pytest.skip(f"needs {name} for an ordinary user: {support}")
    assert passed(user.run(user.python, "-c", RUN, name, "mapped")) >= 20


def test_plain_directories_need_no_privilege_at_all(ordinary_user):
    user = ordinary_user
    assert passed(user.run(user.python, "-c", RUN, "vfs", "own")) >= 20
