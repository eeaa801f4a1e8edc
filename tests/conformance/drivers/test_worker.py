"""What becomes of a driver when the process that works for it in a user namespace dies."""

from __future__ import annotations

import os
import select
import tempfile

import pytest

from ocitool.drivers.conformance.layers import file, tar
from ocitool.drivers.rootless.proxy import RootlessDriver
from ocitool.drivers.vfs import VfsDriver
from ocitool_runtime.host.userns import userns
from ocitool_runtime.host.userns.userns import Maps

#: Run as an ordinary user: kills the worker at several points; prints "fine" at the end.
KILL = """
import os, signal, sys, tempfile, warnings
from ocitool.drivers import select, trash
from ocitool.drivers.conformance.harness import raises
from ocitool.drivers.conformance.suite import A, B
from ocitool.drivers.conformance.layers import file, full, tar
from ocitool.errors import DriverError
from ocitool.layer.beneath import (remove_tree)

warnings.simplefilter("error")
home = tempfile.mkdtemp()
driver = select.make(sys.argv[1], home)
members = [*full((1234, 60000)), file("large", bytes(9 << 20))]

def kill():
    os.kill(driver._process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, driver._process.pid, os.WEXITED | os.WNOWAIT)

class Deadly:
    # Kills the worker after the first part of a layer.
    def __init__(self):
        self.parts = iter((tar(members).getvalue()[:70_000], None))

    def read(self, size=-1, /):
        part = next(self.parts, b"x" * 65536)
        if part is None:
            kill()
            return b"x" * 65536
        return part

driver.begin("t", ())
driver.apply("t", (), tar(members))
kill()                                          # between two calls
driver.commit("t", A)
assert driver.usage(A).size > 9 << 20

driver.begin("t", (A,))
error = raises(DriverError, lambda: driver.apply("t", (A,), Deadly()))  # in the middle of one
assert "ended unexpectedly" in error.message and error.hint, error
driver.discard("t")                             # and it goes on with a new worker
assert list(driver.trees()) == []

driver.begin("t", (A,))
driver.apply("t", (A,), tar([file("other", bytes(9 << 20))]))
def broken_sink(data):
    raise KeyboardInterrupt
try:                                            # the owner breaks off a conversation
    driver.diff("t", (A,), broken_sink)
except KeyboardInterrupt:
    pass
parts = []
assert driver.diff("t", (A,), parts.append) == 1  # no answer to an older question
driver.commit("t", B)
assert driver.usage(B).size >= 9 << 20
driver.remove(B)
driver.remove(A)
assert list(driver.layers()) == []
driver.close()
trash.empty(f"{home}/trash")
remove_tree(home)
assert not os.path.exists(home)
print("fine")
"""


@pytest.mark.parametrize("name", ["overlay", "vfs"])
def test_a_dead_worker_is_an_error_and_replaced(ordinary_user, name):
    user = ordinary_user
    done = user.run(user.python, "-c", KILL, name)
    if "DriverUnavailable" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.ok().stdout == "fine\n"


#: Starts an unpacking that never ends, says the worker's id, and waits to be killed.
HANG = """
import os, sys
from ocitool.drivers import select
from ocitool.drivers.conformance.layers import file, tar

driver = select.make("overlay", sys.argv[1])
class Slow:
    def read(self, size=-1, /):
        if data:
            return data.pop()
        print(driver._process.pid, flush=True)
        os.read(0, 1)

    def close(self):
        pass

data = [tar([file("f", bytes(1 << 20))]).getvalue()[:100_000]]
driver.begin("t", ())
driver.apply("t", (), Slow())
"""


def test_a_worker_ends_with_its_owner(ordinary_user, session_tree):
    user = ordinary_user
    home = tempfile.mkdtemp(prefix="w", dir=session_tree)
    os.chown(home, user.uid, user.gid)
    owner = user.begin(HANG, home)
    with owner:
        line = owner.stdout.readline()
        if not line:
            pytest.skip(f"needs a user namespace: {owner.stderr.read().splitlines()[-1]}")
        worker = os.pidfd_open(int(line))
        owner.kill()
    try:
        assert select.select([worker], [], [], 60)[0], "the worker outlives its owner"
    finally:
        os.close(worker)


@pytest.mark.parametrize("maps", [Maps(), userns.single_map()], ids=["without", "namespace"])
def test_no_module_comes_from_the_working_directory(
    hostile_directory, session_tree, monkeypatch, maps
):
    home = tempfile.mkdtemp(prefix="w", dir=session_tree)
    monkeypatch.chdir(hostile_directory)
    driver = RootlessDriver("vfs", VfsDriver(home), home, maps)
    driver.begin("t", ())
    driver.apply("t", (), tar([file("f", b"content")]))
    driver.discard("t")
    driver.close()
    assert not (hostile_directory / "imported").exists()
