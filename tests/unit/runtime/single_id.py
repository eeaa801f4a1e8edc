"""A container in single-ID mode: Python on a root of its own, beside a volume."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from ocitool_runtime import get_isolation
from tests.fixtures.users import OrdinaryUser

#: Runs Python on a root of its own with a volume, and tells what is recorded in both.
RUN = r"""
import os, sys, tempfile
from ocitool_runtime.host.userns import userns
from ocitool_runtime import Mount, Sandbox, Stdio, get_isolation

code, user = sys.argv[1:]
maps = userns.single_map()
with tempfile.TemporaryDirectory() as place, open(os.devnull) as nothing:
    root, volume = f"{place}/root", f"{place}/volume"
    host = [f"/{name}" for name in ("usr", "bin", "lib", "lib64") if os.path.exists(f"/{name}")]
    for path in (volume, f"{root}/volume", f"{root}/d", *(root + name for name in host)):
        os.makedirs(path)
    for path in (f"{root}/f", f"{root}/d/f", f"{volume}/f"):
        open(path, "w").close()
    binds = [Mount(type="bind", source=path, target=path, options=("ro",)) for path in host]
    sandbox = Sandbox(
        rootfs=(Mount(type="bind", source=root),),
        mounts=(*binds, Mount(type="bind", source=volume, target="/volume")),
        args=(os.path.realpath(sys.executable), "-I", "-S", "-c", code),
        user=user, network="none", uid_maps=maps.uid_maps, gid_maps=maps.gid_maps,
        owners_aside=True,
    )
    done = get_isolation().start(sandbox, Stdio(stdin=nothing.fileno())).wait(60)
    found = {}
    for top in (root, volume):
        for folder, directories, files in os.walk(top):
            if folder in [root + name for name in host]:
                directories.clear()
                continue
            for name in [".", *files]:
                path = os.path.normpath(f"{folder}/{name}")
                for key in os.listxattr(path, follow_symlinks=False):
                    found[path.removeprefix(place), key] = os.getxattr(path, key)
    print(repr((done.code, done.notes, found)))
"""
#: What the programs in the container begin with.
HEAD = """
import ctypes, errno, os, stat, threading
libc = ctypes.CDLL(None, use_errno=True)
def fails(number, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except OSError as error:
        assert error.errno == number, error
    else:
        raise AssertionError("it did not fail")
"""
OWNER = "user.ocitool.owner"
#: Has seccomp(2) fail from now on, as before Linux 5.0; only prctl(2) installs filters then.
OLD_KERNEL = """
import os, struct
from ocitool_runtime.sandbox.kernel import syscalls
number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50026), (6, 0, 0, 0x7FFF0000)]
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.seccomp(b"".join(struct.pack("<HBBI", *row) for row in rows))
"""


def recorded(user: OrdinaryUser, code: str) -> dict[tuple[str, str], bytes]:
    """Run *code* as root of a container of *user*; what is recorded in root and volume."""
    if not get_isolation().probe().ok:
        pytest.skip("needs namespaces")
    code_, notes, found = outcome(user, RUN, HEAD + code)
    assert code_ == 0
    if any("refused" in note for note in notes):
        pytest.skip(f"needs seccomp notifications: {notes}")
    return found


def outcome(user: OrdinaryUser, run: str, code: str) -> Any:
    """Return exit code, notes and records."""
    done = user.run(user.python, "-c", run, code, "").ok()
    found = ast.literal_eval(done.stdout.splitlines()[-1])
    assert found[0] == 0, str(done)
    return found
