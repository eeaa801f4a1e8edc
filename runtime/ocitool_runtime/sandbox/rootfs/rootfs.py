"""The container's root file system: root, /dev, /sys, volumes, own files, /proc, the pivot.

All but /proc is mounted by the shim, which stays outside the new PID namespace.  A /proc shows the
PID namespace of the process that mounts it, so the container init does that.
Runs in: shim; /proc and the pivot: container init.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import stat

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import write_all
from ocitool_runtime.sandbox.kernel.syscalls import NODEV, NOEXEC, NOSUID, RDONLY, Refused
from ocitool_runtime.sandbox.rootfs import memory_files, mounts
from ocitool_runtime.sandbox.rootfs.mountpoints import MountPoints
from ocitool_runtime.sandbox.rootfs.working_directory import IMPOSSIBLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.cgroups.cgroups import Cgroup
    from ocitool_runtime.sandbox.protocol.plan import MountPlan, Plan

# Docker's lists (moby, oci/defaults.go); names are beneath /proc and /sys.
_MASKED_IN_PROC = (
    "asound",
    "acpi",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "scsi",
)
_MASKED_IN_SYS = ("firmware", "devices/virtual/powercap")
_READ_ONLY_IN_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")

_CAP_NET_BIND_SERVICE = 1 << 10
_CAP_SYS_CHROOT = 1 << 18
_CAP_SYS_PTRACE = 1 << 19

_MADE_INSIDE = (*memory_files.TYPES, "volume")  # mounts without a source on the host
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Rootfs:
    """A root file system under construction; ``fd`` is its root, ``null`` its /dev/null."""

    def __init__(self, plan: Plan, cgroup: Cgroup, notes: list[str]) -> None:
        self._plan = plan
        self._cgroup = cgroup
        self._notes = notes
        self.null = -1
        self.owned: list[int] = []  # roots of the mounts whose files have the container's owners
        # All sources are opened before the root is attached: a volume of "/" is the host's.
        first, *others = [(each, mounts.make(each)) for each in plan["rootfs"]]
        self._volumes = [
            (each, -1 if each["type"] in _MADE_INSIDE else mounts.make(each))
            for each in plan["mounts"]
        ]
        self.fd = first[1]
        # On top of "/": the process root is below it, so no directory of the host is needed.
        self.attach(self.fd, os.open("/", os.O_PATH | os.O_CLOEXEC))
        self.points = MountPoints(self.fd)
        for other in others:
            self._volume(*other)

    def attach(self, mounted: int, target: int) -> int:
        """Mount *mounted* on the open *target*, and close that."""
        syscalls.move_mount(mounted, target)
        os.close(target)
        return mounted

    def make_proc_point(self) -> int:
        """Return the mount point /proc, beneath which no volume may be mounted."""
        point = self.points.plain("proc")
        self.points.close_off(point)
        return point

    # -- volumes -----------------------------------------------------------------------------

    def mount_volumes(self) -> None:
        """Mount the volumes of the sandbox, in order."""
        # The root's own directories first: another volume may hide them, and be mounted above.
        own = {
            number: self._own_directory(plan)
            for number, (plan, _) in enumerate(self._volumes)
            if plan["type"] == "volume"
        }
        for number, (plan, mounted) in enumerate(self._volumes):
            if plan["type"] in memory_files.TYPES:
                self._volume(plan, self._in_memory(plan))
            else:
                self._volume(plan, own.get(number, mounted))

    def _own_directory(self, plan: MountPlan) -> int:
        """Return a bind mount of a directory of the root, which is made if it is missing."""
        point = self.points.open(plan["target"], directory=True, keep=True)
        try:
            if not stat.S_ISDIR(os.stat(point).st_mode):
                raise Refused(errno.ENOTDIR, "open_tree", plan["target"])
            return mounts.clone(point, plan["attributes"], recursive=False)
        finally:
            os.close(point)

    def _volume(self, plan: MountPlan, mounted: int) -> None:
        if plan["type"] != "bind" and plan["subpath"]:
            mounted = self._narrow(mounted, plan)
        directory = stat.S_ISDIR(os.stat(mounted).st_mode)
        target = self.points.open(plan["target"], directory=directory)
        if os.path.samestat(os.stat(target), os.stat(self.fd)):
            raise Refused(errno.EINVAL, "move_mount", f"{plan['target']} is the root directory")
        if stat.S_ISDIR(os.stat(target).st_mode) != directory:  # the kernel says EINVAL
            number = errno.ENOTDIR if directory else errno.EISDIR
            raise Refused(number, "move_mount", plan["target"])
        self.attach(mounted, target)
        if plan["owned"]:
            self.owned.append(mounted)

    def _narrow(self, mounted: int, plan: MountPlan) -> int:
        """Return a bind mount of a path within *mounted*, which has to be attached for that."""
        syscalls.move_mount(mounted, self.fd)
        part = mounts.clone(mounted, plan["attributes"], recursive=False, subpath=plan["subpath"])
        self._unstack(mounted)
        return part

    def _in_memory(self, plan: MountPlan) -> int:
        """Return a bind mount of a file or a socket in a file system of its own."""
        memory = self._attached_memory()
        name = memory_files.make(plan, memory, owned=not self._plan["owners_aside"])
        made = os.open(name, _LOOK, dir_fd=memory)
        mounted = mounts.clone(made, plan["attributes"], recursive=False)
        os.close(made)
        self._unstack(memory)
        os.close(memory)
        return mounted

    def _attached_memory(self) -> int:
        """Return a new file system in memory, which is on top of the root until `_unstack`."""
        memory = mounts.filesystem("tmpfs", NOSUID | NODEV | NOEXEC, [("mode", "0755")])
        syscalls.move_mount(memory, self.fd)
        return memory

    def _unstack(self, mounted: int) -> None:
        syscalls.detach(mounted)
        os.chdir("/")

    def mount_files(self) -> None:
        """Mount the sandbox's own files (/etc/hosts ...), which are in memory and end with it."""
        files = self._plan["files"]
        attributes = RDONLY if self._plan["readonly"] else 0
        if not files:
            return
        memory = self._attached_memory()
        binds = []
        for number, file in enumerate(files):
            made = os.open(str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=memory)
            write_all(made, file["content"])
            binds.append((file["target"], mounts.clone(made, attributes, recursive=False)))
            os.close(made)
        self._unstack(memory)
        os.close(memory)
        for target, mounted in binds:
            self.attach(mounted, self.points.open(target, directory=False))

    def make_cwd(self) -> None:
        """Make the working directory if it is missing, owned by root as Docker does it."""
        try:
            os.close(self.points.open(self._plan["cwd"], directory=True, keep=True))
        except OSError as error:
            if error.errno not in IMPOSSIBLE:
                raise

    def make_read_only(self) -> None:
        """Make the root read-only; mounts below it keep their own attributes."""
        syscalls.mount_setattr(self.fd, add=RDONLY)

    # -- /sys --------------------------------------------------------------------------------

    def mount_sys(self) -> None:
        """Mount /sys and the cgroup file system read-only; note it if the kernel refuses."""
        point = self.points.plain("sys")
        try:
            mounted = self._sysfs()
        except Refused as error:
            os.close(point)
            self._notes.append(f"/sys is empty: {error.strerror}")
            return
        self.attach(mounted, point)
        for name in _MASKED_IN_SYS:
            self._mask(mounted, name)
        self._mount_cgroup(mounted)

    def _sysfs(self) -> int:
        """Return a new sysfs, or otherwise a recursive bind mount of the host's.

        A new one can only be mounted by the owner of the network namespace.
        """
        attributes = RDONLY | NOSUID | NODEV | NOEXEC
        if self._plan["network"] != "host" or not self._plan["userns"]:
            try:
                return mounts.filesystem("sysfs", attributes, [])
            except Refused:
                pass
        return mounts.bind("/sys", attributes, recursive=True)

    def _mount_cgroup(self, sys: int) -> None:
        """Mount the cgroup of this sandbox; without one mask the host's."""
        if not self._cgroup.unified:
            self._mask(sys, "fs/cgroup")
            return
        try:
            attributes = RDONLY | NOSUID | NODEV | NOEXEC
            mounted = mounts.filesystem("cgroup2", attributes, [])
            self.attach(mounted, os.open("fs/cgroup", _LOOK, dir_fd=sys))
        except OSError as error:
            self._mask(sys, "fs/cgroup")
            self._notes.append(f"/sys/fs/cgroup is empty: {error.strerror}")

    # -- container init ---------------------------------------------------------------------------

    def mount_proc(self, point: int) -> None:
        """Mount the /proc of this PID namespace, with information on the host masked."""
        attributes = NOSUID | NODEV | NOEXEC
        try:
            mounted = mounts.filesystem("proc", attributes, [])
        except Refused as error:
            if error.errno != errno.EPERM:
                raise
            # A user namespace may not mount a /proc that shows more than the outer one, of which
            # parts are masked.  That one shows other processes, too, and gives no access to them,
            # but with CAP_SYS_PTRACE to the shim, which is in the program's user namespace.  So is
            # slirp4netns, which keeps one capability: who has that one, too, may access it
            # (ptrace(2), "Ptrace access mode checking").
            mounted = mounts.bind("/proc", attributes, recursive=True)
            self._plan["capabilities"] &= ~_CAP_SYS_PTRACE
            if self._plan["network"] == "private":
                self._plan["capabilities"] &= ~_CAP_NET_BIND_SERVICE
        self.attach(mounted, point)
        for name in _READ_ONLY_IN_PROC:
            self._freeze(mounted, name)
        for name in _MASKED_IN_PROC:
            self._mask(mounted, name)

    def _freeze(self, parent: int, name: str) -> None:
        try:
            target = os.open(name, _LOOK, dir_fd=parent)
        except FileNotFoundError:
            return
        self.attach(mounts.clone(target, RDONLY, recursive=True), target)

    def _mask(self, parent: int, name: str) -> None:
        """Cover a directory with an empty one, and a file with our own /dev/null.

        The image's own /dev/null may be a link to anything (CVE-2025-31133).
        """
        try:
            target = os.open(name, _LOOK, dir_fd=parent)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(os.stat(target).st_mode):
            options: list[tuple[str, str | None]] = [("size", "0"), ("mode", "0555")]
            cover = mounts.filesystem("tmpfs", RDONLY | NOSUID | NODEV | NOEXEC, options)
        else:
            cover = mounts.clone(self.null, 0, recursive=False)
        self.attach(cover, target)

    def pivot(self) -> None:
        """Make this the root of the process, and detach the host's.

        Docker's seccomp profile refuses that to containers with CAP_SYS_ADMIN.  There the root is
        changed without it, and the program has no CAP_SYS_CHROOT, with which it could leave it.
        """
        os.fchdir(self.fd)
        try:
            syscalls.pivot_root_here()
        except Refused as error:
            if error.errno != errno.EPERM:
                raise
            os.chroot(".")
            self._plan["capabilities"] &= ~_CAP_SYS_CHROOT

    # -- removal -----------------------------------------------------------------------------

    def clean(self) -> None:
        """Remove the mount points that were made, once the container has ended."""
        if self._plan["readonly"]:
            syscalls.mount_setattr(self.fd, add=0, clear=RDONLY)
        self.points.clean()
