"""/etc/hosts, /etc/resolv.conf and /etc/hostname of a container.

The container gets copies: writing to its /etc/resolv.conf must not change the host's.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from ocitool_runtime.defaults import Network
from ocitool_runtime.host.private_network import ADDRESS, name_servers
from ocitool_runtime.spec import Sandbox

if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import FilePlan

_LARGEST: Final = 1 << 20  # bytes
#: Words that begin lines of resolv.conf(5).
_SEARCH: Final = (b"search", b"domain")
_OPTIONS: Final = b"options"
_SERVER: Final = b"nameserver"
_LOOPBACK: Final = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def host_files(sandbox: Sandbox) -> list[FilePlan]:
    """Return the files for *sandbox*; a volume on one of the paths replaces it."""
    found = {"/etc/hosts": _hosts(sandbox), "/etc/resolv.conf": _resolv(sandbox)}
    if sandbox.hostname:
        found["/etc/hostname"] = f"{sandbox.hostname}\n".encode()
    taken = set(sandbox.image_files)
    taken |= {posixpath.normpath(mount.target) for mount in sandbox.mounts}
    return [
        {"target": path, "content": content} for path, content in found.items() if path not in taken
    ]


def _hosts(sandbox: Sandbox) -> bytes:
    own = sandbox.network in (Network.NONE, Network.PRIVATE)
    text = b"" if own else _read("/etc/hosts")
    text = text or _LOOPBACK.encode()
    if not text.endswith(b"\n"):
        text += b"\n"
    lines = list(sandbox.hosts)
    if sandbox.hostname:
        address = ADDRESS if sandbox.network == Network.PRIVATE else "127.0.0.1"
        lines.append(f"{address}\t{sandbox.hostname}")
    return text + "".join(f"{line}\n" for line in lines).encode()


def _resolv(sandbox: Sandbox) -> bytes:
    """Return resolv.conf(5): each kind of line is the sandbox's, or else the host's."""
    lines = _read("/etc/resolv.conf").splitlines(keepends=True)
    if not (sandbox.dns or sandbox.dns_search or sandbox.dns_options):
        # Also without a network, as docker does.
        private = sandbox.network == Network.PRIVATE
        return b"".join(name_servers(lines) if private else lines)
    kept: list[bytes] = []
    own = []
    if not sandbox.dns_search:
        kept += _SEARCH
    elif sandbox.dns_search != (".",):
        own.append(f"search {' '.join(sandbox.dns_search)}\n".encode())
    if not sandbox.dns_options:
        kept.append(_OPTIONS)
    else:
        own.append(f"options {' '.join(sandbox.dns_options)}\n".encode())
    servers = [f"nameserver {server}\n".encode() for server in sandbox.dns]
    if not servers:
        found = name_servers(lines) if sandbox.network == Network.PRIVATE else lines
        servers = [line for line in found if _word(line) == _SERVER]
    return b"".join([*(line for line in lines if _word(line) in kept), *own, *servers])


def _word(line: bytes) -> bytes:
    """Return the first word of a line."""
    return (line.split(maxsplit=1) or [b""])[0]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""
