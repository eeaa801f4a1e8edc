"""The description of a sandbox, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ocitool_runtime.defaults import SHM_SIZE, Network, Resources, Rlimit

# What Docker leaves to a container (moby, oci/caps/defaults.go).
DEFAULT_CAPABILITIES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImage:
    """An EROFS image that is mounted on the host, read-only and once for all who need it."""

    source: str  # the image
    target: str  # mount point; its parent directory holds nothing but such mount points
    devices: tuple[str, ...] = ()  # files with its content


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount, described and not yet made.

    Types of a root file system and of a volume: ``overlay``, ``fuse-overlayfs`` (the program of
    that name serves it; its directories are on one file system), ``bind``, ``tmpfs``.  Of a volume
    also ``file``, a file that is kept in memory, ``socket``, a Unix socket that listens, and
    ``volume``, the root's own directory at the target, which stays writable where the root is not;
    if it is missing it is made, owned by root, mode 0755.

    Options are a closed list; an unknown one is refused when the sandbox starts:
    ``ro rw nosuid suid nodev dev noexec exec nosymfollow``, of which ``nodev`` is the default: the
    devices of a container are those of its /dev; for bind ``bind``, ``rbind`` and
    ``subpath=PATH`` (also for the overlays; resolved within the source and never beyond); for
    overlay the kernel's ``userxattr volatile index= xino= metacopy= redirect_dir= nfs_export=
    uuid=``; for tmpfs ``size= mode= uid= gid= nr_inodes=``; for files and sockets ``mode= uid=
    gid=``, of which the IDs are those inside.
    """

    type: str
    source: str = ""  # bind: absolute path on the host
    target: str = "/"  # absolute inside the container; "/" is the root itself
    options: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()  # overlays: directories, the topmost first
    upper: str = ""  # overlays: where writes go; without it the mount is read-only
    work: str = ""  # overlays: an empty directory on the file system of `upper`
    shared: tuple[SharedImage, ...] = ()  # mounted before: `source` or `lower` lie in them
    content: bytes = field(default=b"", repr=False)  # file
    #: socket: the descriptor of a new Unix socket; it listens once the program runs, and is to be
    #: accepted from by the caller.
    socket: int = -1
    owned: bool = False  # its files have the owners of the container, as those of the root
    #: bind: isolation that mounts nothing may move the source into the root and back.
    movable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule:
    """A device that the program may open; a mount has to show it, too."""

    kind: str  # "c" or "b"
    major: int
    minor: int
    access: str = "rwm"  # read, write, mknod


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMap:
    """*count* IDs, from *container* inside and from *host* outside (user_namespaces(7))."""

    container: int
    host: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """Descriptors that become the program's streams; ignored with a terminal."""

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One program and everything that it sees."""

    rootfs: tuple[Mount, ...]  # outermost first, as a storage driver returned them
    args: tuple[str, ...]  # args[0] is looked up on the container's PATH
    env: tuple[str, ...] = ()  # "K=V"; without PATH `DEFAULT_PATH`, without HOME passwd's
    cwd: str = "/"  # made if missing, mode 0755, owned by root
    own_cwd: bool = False  # owned by the user instead
    user: str = ""  # "user[:group]", names as in the container; "" is root
    groups: tuple[str, ...] = ()  # further groups of the user, by name or ID
    hostname: str = ""  # "" keeps the host's
    hostname_needed: bool = False  # an error where it cannot be set; otherwise a note
    hosts: tuple[str, ...] = ()  # further lines of /etc/hosts
    dns: tuple[str, ...] = ()  # name servers instead of the host's
    dns_search: tuple[str, ...] = ()  # search domains instead of the host's; ".": none
    dns_options: tuple[str, ...] = ()  # options of resolv.conf(5) instead of the host's
    image_files: tuple[str, ...] = ()  # of /etc/hosts, resolv.conf, hostname: the image's own
    mounts: tuple[Mount, ...] = ()  # volumes, in order
    readonly: bool = False
    network: Network = Network.HOST
    terminal: bool = False
    terminal_size: tuple[int, int] = (0, 0)  # rows, columns
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    no_new_privileges: bool = False
    seccomp: bool = True
    rlimits: tuple[Rlimit, ...] = ()
    init: bool = False  # PID 1 is a reaper instead of the program
    umask: int = 0o022
    shm_size: int = SHM_SIZE  # bytes of /dev/shm
    resources: Resources = field(default_factory=Resources)
    uid_maps: tuple[IdMap, ...] = ()  # empty: no user namespace, for root only
    gid_maps: tuple[IdMap, ...] = ()
    withheld: tuple[str, ...] = ()  # variables of the caller that no process of it inherits
    devices: tuple[DeviceRule, ...] = ()  # beside those of docker's default
    owners_aside: bool = False  # single-ID mode: owners are in ownership override xattrs


def environment(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return *variables* as `Sandbox.env` has them."""
    return tuple(f"{name}={value}" for name, value in variables.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a program ended.

    ``code`` is its own exit code, 128+n for signal n, 126 if it could not be executed, 127 if
    it was not found, 1 if it was killed because the caller got a third SIGINT or SIGTERM; ``error``
    is the text for the last three.  ``warnings`` are what a user has to know of the isolation; it
    gives them once.  ``network_error`` says why a private network ended before the program.
    """

    code: int
    signal: int = 0
    notes: tuple[str, ...] = field(default=())  # warnings: what the machine does not support
    error: str = ""
    warnings: tuple[str, ...] = ()
    network_error: str = ""
