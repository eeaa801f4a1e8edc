"""Looking at a driver's tree from inside: the runtime makes its mounts, a program looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from unittest import SkipTest

from ocitool.layer import ownership
from ocitool_runtime.host import userns
from ocitool_runtime.isolation import get_isolation
from ocitool_runtime.spec import Mount, Sandbox, Stdio

_TIMEOUT: Final = 60.0  # seconds

_LIBRARY: Final = os.path.realpath(f"{ownership.__file__}/../../..")
#: Describes every file below the working directory, then prints it as JSON.
LIST: Final = rf"""
import hashlib, json, os, stat, sys
sys.path.append({_LIBRARY!r})
from ocitool.layer.ownership import here
found = {{}}
def look(path):
    state = here().seen(path, os.lstat(path))
    name = os.path.relpath(path, ".")
    mode = state.st_mode
    facts = {{"mode": oct(mode), "owner": [state.st_uid, state.st_gid]}}
    if stat.S_ISLNK(mode):
        facts["link"] = os.readlink(path)
    else:
        facts["time"] = state.st_mtime_ns // 10**9
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            facts["content"] = hashlib.sha256(file.read()).hexdigest()
        facts["linked"] = state.st_nlink > 1
    names = () if stat.S_ISLNK(mode) else os.listxattr(path, follow_symlinks=False)
    for key in sorted(names):
        if key.startswith("user.ocitool."):
            continue  # what a driver keeps aside
        if key.startswith("user.") or key == "security.capability":
            facts.setdefault("xattrs", {{}})[key] = os.getxattr(path, key).hex()
    found[name] = facts
    if stat.S_ISDIR(mode):
        for child in sorted(os.listdir(path)):
            look(f"{{path}}/{{child}}")
look(".")
print(json.dumps(found))
"""


def run_inside(mounts: Sequence[Mount], code: str, *, in_place: bool = False) -> Any:
    """Run Python *code* with the tree that *mounts* show as its directory; returns its JSON.

    With *in_place* nothing is mounted: a tree that is a single bind mount is looked at where it
    lies.

    Raises:
        SkipTest: nothing can be mounted here, or the tree is more than a bind mount.
    """
    if in_place:
        if [mount.type for mount in mounts] != ["bind"]:
            raise SkipTest("nothing may be mounted here, and the tree is no plain directory")
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
        raise AssertionError(f"inside the tree: exit status {status}\n{out}{err}")
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
            # This machine's own tree is there for its Python; the driver's lies beneath it.
            rootfs=(Mount(type="bind", source="/", options=("rbind", "ro")),),
            mounts=tuple(
                replace(mount, target=f"{place}{mount.target}".rstrip("/")) for mount in mounts
            ),
            args=tuple(_python(code)),
            cwd=place,
            network="none",
            uid_maps=maps.uid_maps,
            gid_maps=maps.gid_maps,
        )
        stdio = Stdio(stdin=nothing.fileno(), stdout=out.fileno(), stderr=err.fileno())
        done = isolation.start(sandbox, stdio).wait(_TIMEOUT)
        out.seek(0)
        err.seek(0)
        return done.code, out.read(), f"{err.read()}{done.error}"
