"""What the tests of a driver use: a driver in a directory of its own, and views from inside.

The runtime mounts a snapshot, and a program in it describes every file.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final
from unittest import SkipTest

from ocitool.drivers import trash
from ocitool.drivers.conformance.layers import Member, closed, entries_of, full, stream, tar
from ocitool.drivers.driver import Driver
from ocitool.errors import LayerError, OcitoolError
from ocitool.layer import ownership
from ocitool.layer.apply_changeset import Applied
from ocitool.layer.beneath import remove_tree
from ocitool_runtime.defaults import Network
from ocitool_runtime.host.userns import userns
from ocitool_runtime.isolation import get_isolation
from ocitool_runtime.spec import Mount, Sandbox, Stdio


class DriverBench(ABC):
    """A test class of a driver.  Every test has a driver in a directory of its own."""

    #: False if the driver has no IDs but the user's own.
    foreign_ids: ClassVar[bool] = True
    #: True if nothing can be mounted: snapshots that are plain directories are read in place.
    in_place: ClassVar[bool] = False

    @abstractmethod
    def make(self, home: str) -> Driver:
        """Return the driver in the directory *home*, which is there; may be called again."""

    @contextlib.contextmanager
    def driver(self) -> Iterator[Driver]:
        """Make a driver in an empty directory; at the end discard and remove all that it has."""
        home = tempfile.mkdtemp(prefix="driver-")
        made = self.make(home)
        try:
            yield made
            for key in list(made.trees()):
                made.discard(key)
            for layer in sorted(made.layers(), reverse=True):
                made.remove(layer)
            assert [*made.trees(), *made.layers()] == []
        finally:
            made.close()
            trash.empty(f"{home}/{trash.NAME}")
            remove_tree(home)

    @property
    def owner(self) -> tuple[int, int]:
        """The owner of the files in the layers."""
        return (1234, 60_000) if self.foreign_ids else (os.geteuid(), os.getegid())

    @property
    def everything(self) -> list[Member]:
        """A layer with every kind of entry that can be made here."""
        return full(self.owner) + (closed(self.owner) if self.foreign_ids else [])

    def layer(
        self, driver: Driver, name: str, parents: Sequence[str], members: Sequence[Member]
    ) -> Applied:
        """Unpack and commit a layer."""
        driver.begin(f"for-{name[:8]}", parents)
        done = driver.apply(f"for-{name[:8]}", parents, tar(members))
        driver.commit(f"for-{name[:8]}", name)
        return done

    def inside(self, driver: Driver, key: str, parents: Sequence[str], code: str) -> Any:
        """Run Python in the snapshot *key*."""
        return run_inside(driver.mounts(key, parents), code, in_place=self.in_place)

    def look(self, driver: Driver, parents: Sequence[str]) -> dict[str, Any]:
        """Return what a view of *parents* shows."""
        found: dict[str, Any] = run_inside(driver.view(parents), LIST, in_place=self.in_place)
        del found["."]
        return found

    def top(self, driver: Driver, parents: Sequence[str]) -> dict[str, Any]:
        """Return what a view of *parents* shows of its root directory."""
        found = run_inside(driver.view(parents), LIST, in_place=self.in_place)
        entry: dict[str, Any] = found["."]
        return entry

    def refuses(self, driver: Driver, data: bytes, parents: Sequence[str] = ()) -> None:
        """Assert that the layer *data* is refused, and discard its snapshot."""
        driver.begin("refused", parents)
        raises(LayerError, lambda: driver.apply("refused", parents, stream(data)))
        driver.discard("refused")
        assert "refused" not in driver.trees()

    def diff(self, driver: Driver, key: str, parents: Sequence[str], **options: Any) -> bytes:
        """Return the layer that `diff` writes."""
        parts: list[bytes] = []
        count = driver.diff(key, parents, parts.append, **options)
        data = b"".join(parts)
        assert count == len(entries_of(data))
        return data


class Broken:
    """A stream that fails when it is read."""

    def read(self, size: int = -1, /) -> bytes:
        raise OcitoolError("the source broke")

    def close(self) -> None:
        return None


def raises(kind: type[OcitoolError], call: Callable[[], object]) -> OcitoolError:
    """Return the error of *kind* that *call* raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out the times of directories: a layer has only those of directories that it changes."""
    return {
        path: {key: value for key, value in entry.items() if key != "time" or "content" in entry}
        for path, entry in found.items()
    }


_TIMEOUT: Final = 60.0  # seconds

_LIBRARY: Final = os.path.realpath(f"{ownership.__file__}/../../..")
#: Describes every file below the working directory, then prints it as JSON.
LIST: Final = rf"""
import hashlib, json, os, stat, sys
sys.path.append({_LIBRARY!r})
from ocitool.layer.ownership import current
found = {{}}
def look(path):
    state = current().effective(path, os.lstat(path))
    name = os.path.relpath(path, ".")
    mode = state.st_mode
    entry = {{"mode": oct(mode), "owner": [state.st_uid, state.st_gid]}}
    if stat.S_ISLNK(mode):
        entry["link"] = os.readlink(path)
    else:
        entry["time"] = state.st_mtime_ns // 10**9
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            entry["content"] = hashlib.sha256(file.read()).hexdigest()
        entry["linked"] = state.st_nlink > 1
    names = () if stat.S_ISLNK(mode) else os.listxattr(path, follow_symlinks=False)
    for key in sorted(names):
        if key.startswith("user.ocitool."):
            continue  # ownership override xattrs
        if key.startswith("user.") or key == "security.capability":
            entry.setdefault("xattrs", {{}})[key] = os.getxattr(path, key).hex()
    found[name] = entry
    if stat.S_ISDIR(mode):
        for child in sorted(os.listdir(path)):
            look(f"{{path}}/{{child}}")
look(".")
print(json.dumps(found))
"""


def run_inside(mounts: Sequence[Mount], code: str, *, in_place: bool = False) -> Any:
    """Run Python *code* in the directory that *mounts* make; return the JSON that it prints.

    With *in_place* nothing is mounted: the code runs in the source of a single bind mount.

    Raises:
        SkipTest: nothing can be mounted here, or *mounts* are more than a bind mount.
    """
    if in_place:
        if [mount.type for mount in mounts] != ["bind"]:
            raise SkipTest("nothing may be mounted here, and the snapshot is no plain directory")
        done = subprocess.run(
            _python(code),
            cwd=mounts[0].source,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        status, out, err = _run_mounted(mounts, code)
    if status != 0:
        raise AssertionError(f"inside the snapshot: exit status {status}\n{out}{err}")
    return json.loads(out or "null")


def _python(code: str) -> list[str]:
    return [os.path.realpath(sys.executable), "-I", "-S", "-c", code]


def _run_mounted(mounts: Sequence[Mount], code: str) -> tuple[int, str, str]:
    isolation = get_isolation()
    support = isolation.probe()
    if not support.ok:
        raise SkipTest(f"nothing can be mounted here: {support.reason}")
    maps = userns.usable_maps()
    with (
        tempfile.TemporaryDirectory(prefix="look-") as place,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        open(os.devnull) as nothing,
    ):
        sandbox = Sandbox(
            # The root is this machine's, for its Python; the snapshot is mounted beneath it.
            rootfs=(Mount(type="bind", source="/", options=("rbind", "ro")),),
            mounts=tuple(
                replace(mount, target=f"{place}{mount.target}".rstrip("/")) for mount in mounts
            ),
            args=tuple(_python(code)),
            cwd=place,
            network=Network.NONE,
            uid_maps=maps.uid_maps,
            gid_maps=maps.gid_maps,
        )
        stdio = Stdio(stdin=nothing.fileno(), stdout=out.fileno(), stderr=err.fileno())
        done = isolation.start(sandbox, stdio).wait(_TIMEOUT)
        out.seek(0)
        err.seek(0)
        return done.code, out.read(), f"{err.read()}{done.error}"
