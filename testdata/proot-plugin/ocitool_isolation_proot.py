"""An example of a third party's isolation: PRoot, for users who may neither make namespaces nor
chroot.

PRoot rewrites the paths in the system calls of the programs that it traces (ptrace(2)).  **It
isolates nothing**: a program has all that the user of ocitool has.  An isolation of your own has
the methods of `ocitool_runtime.isolation.Isolation`, whose docstring is the contract.
"""

from __future__ import annotations

import os
import tempfile
from typing import Final

from ocitool_isolation_proot_machine import MACHINES, make_filter, make_init

from ocitool.errors import SandboxError
from ocitool.programs import find_program
from ocitool_runtime.defaults import SHM_SIZE, Network, Resources
from ocitool_runtime.host.plan import make_plan
from ocitool_runtime.host.process import ShimProcess, start
from ocitool_runtime.host.userns.idmap import Maps
from ocitool_runtime.host.userns.userns import supported
from ocitool_runtime.isolation import Support
from ocitool_runtime.spec import DEFAULT_CAPABILITIES, Mount, Sandbox, Stdio

#: What the shim executes: its module is beside this one.
_SHIM: Final = (
    f"sys.path.append({os.path.dirname(__file__)!r}); "
    "from ocitool_isolation_proot_shim import main; main()"
)
_DEV: Final = "/dev/"
_TIMEOUT: Final = 60.0  # seconds for a probe, which takes a tenth of one
_NETWORKS: Final = (Network.HOST, Network.DEFAULT)  # the default is the host's where no other works
_LARGEST: Final = 4096  # bytes of what it prints
_INSTEAD: Final = "use --isolation namespaces or chroot where they work, see `ocitool info`"
_KINDS: Final = {
    "file": "files in memory, as of RUN --mount=type=secret",
    "socket": "sockets, as of RUN --mount=type=ssh",
}
_WARNING: Final = (
    "programs run under PRoot, which does not isolate them from this process, its network and its "
    "files; all files that they make belong to root in the image"
)


class Proot:
    """Programs in a root directory of their own, as PRoot shows it to them."""

    moves = True  # what is for one RUN is a directory that it may write to

    def __init__(self, *, fallback: bool = False) -> None:
        self._warnings: tuple[str, ...] = (_WARNING,) if fallback else ()

    def fallback(self) -> Proot:
        """Return this for a user who has not asked for it: the first program's `Exit` warns."""
        return Proot(fallback=True)

    def probe(self) -> Support:
        """Say whether this works here, for this user, by trying; leaves nothing."""
        if os.geteuid() == 0:
            return Support(ok=False, reason="PRoot is for users other than root")
        if os.uname().machine not in MACHINES:
            return Support(ok=False, reason=f"the machine {os.uname().machine} is not supported")
        proot = _program()
        if not proot:
            return Support(
                ok=False,
                reason="the program proot is not installed",
                hint="install the package proot",
            )
        try:
            with tempfile.TemporaryDirectory(prefix="ocitool-proot-") as place:
                failures = _try(proot, place)
        except OSError as error:
            failures = str(error)
        if failures:
            return Support(
                ok=False,
                reason=f"{proot} does not work here: {failures}",
                hint="install another version of PRoot, see https://proot-me.github.io",
            )
        return Support(ok=True)

    def start(self, sandbox: Sandbox, stdio: Stdio) -> ShimProcess:
        """Start the program and return once it is running; see `Isolation.start`."""
        _check(sandbox)
        proot = _program()
        if not proot:
            raise SandboxError(
                "the program proot is not installed", hint="install the package proot"
            )
        plan = make_plan(sandbox) | _own(proot)
        warnings, self._warnings = self._warnings, ()
        return start("run", plan, stdio, Maps(), warnings, code=_SHIM)


def _program() -> str:
    return find_program("proot") or ""


def _own(proot: str) -> dict[str, object]:
    """Return what the plan of this isolation has beside that of any."""
    machine = os.uname().machine
    return {"proot": proot, "filter": make_filter(machine), "elf": make_init(machine)}


def _check(sandbox: Sandbox) -> None:
    """Refuse by name what PRoot cannot do."""
    if os.geteuid() == 0:
        raise _refusal("root", "user")
    first, *others = sandbox.rootfs
    if others or first.type != "bind" or "ro" in first.options:
        raise SandboxError(
            "isolation by PRoot needs a root directory that is writable and not mounted",
            where="rootfs",
            hint="use --driver vfs",
        )
    if sandbox.uid_maps and not sandbox.owners_aside and supported().ok:
        # A store made in a user namespace has files of users that this one cannot become.
        raise _refusal("users with subordinate IDs", "uid_maps")
    for mount in sandbox.mounts:
        _check_volume(mount)
    added = sorted({*sandbox.capabilities} - {*DEFAULT_CAPABILITIES})
    for refused, what, where in (
        (sandbox.terminal, "a terminal", "terminal"),
        (sandbox.readonly, "a read-only root", "readonly"),
        (sandbox.network not in _NETWORKS, f"network '{sandbox.network}'", "network"),
        (sandbox.shm_size != SHM_SIZE, "--shm-size", "shm_size"),
        (sandbox.resources != Resources(), "limits of resources", "resources"),
        (bool(sandbox.devices), "devices", "devices"),
        (bool(added), f"capabilities ({', '.join(added)})", "capabilities"),
        (bool(sandbox.groups), "further groups", "groups"),
    ):
        if refused:
            raise _refusal(what, where)


def _check_volume(mount: Mount) -> None:
    where = f"mount {mount.target}"
    if mount.target.startswith(_DEV) and mount.type == "bind" and "ro" in mount.options:
        return  # scripts of heredocs, which are copied
    if mount.type == "volume":
        return  # a directory of the tree
    if mount.type != "bind":
        raise _refusal(_KINDS.get(mount.type, f"mounts of type {mount.type}"), where)
    accepted = ("bind", "rbind", "rw", "nodev", "nosuid", *(("ro",) if mount.movable else ()))
    for option in mount.options:
        if option not in accepted:
            raise _refusal(f"the option {option} of volumes", where)
    if ":" in f"{mount.source}{mount.target}":
        raise _refusal("volumes with a colon in their paths", where)


def _refusal(what: str, where: str) -> SandboxError:
    return SandboxError(f"isolation by PRoot does not support {what}", where=where, hint=_INSTEAD)


# -- the probe ------------------------------------------------------------------------------------


def _try(proot: str, place: str) -> str:
    """Run a program that PRoot shows one directory in place of another; return what fails.

    Both are made in *place*, and the rest of the file system is as it is: the program is this
    Python.
    """
    inside, outside = f"{place}/inside", f"{place}/outside"
    for directory, name in ((inside, "only-inside"), (outside, "only-outside")):
        os.mkdir(directory)
        with open(f"{directory}/{name}", "w", encoding="ascii") as file:
            file.write("content")
    plan = {
        **make_plan(_probe_sandbox(outside)),
        **_own(proot),
        "bound": (inside, outside),
        "place": place,
    }
    with tempfile.TemporaryFile() as output, open(os.devnull, "rb") as null:
        stdio = Stdio(stdin=null.fileno(), stdout=output.fileno(), stderr=output.fileno())
        try:
            process = start("probe", plan, stdio, Maps(), code=_SHIM)
            try:
                ended = process.wait(_TIMEOUT)
                failed = ended.error or (f"a program ends with {ended.code}" if ended.code else "")
            finally:
                process.close()
        except SandboxError as error:
            failed = str(error)
        output.seek(0)
        said = output.read(_LARGEST).decode("utf-8", "replace").split("\n")
    return "; ".join(filter(None, (*said, failed)))


def _probe_sandbox(directory: str) -> Sandbox:
    import sys

    script = f"{os.path.dirname(__file__)}/ocitool_isolation_proot_probe.py"
    return Sandbox(
        rootfs=(Mount(type="bind", source="/"),),
        args=(sys.executable, "-I", "-S", script, directory),
    )
