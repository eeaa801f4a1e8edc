"""/etc/hosts, /etc/resolv.conf and /etc/hostname of a container.

The container gets copies: writing to its /etc/resolv.conf must not change the host's.
"""

from __future__ import annotations

import posixpath
from typing import Final

from ocitool_runtime.defaults import Network
from ocitool_runtime.host.private_network import ADDRESS, name_servers
from ocitool_runtime.sandbox.plan import FilePlan
from ocitool_runtime.spec import Sandbox

_LARGEST: Final = 1 << 20  # bytes
_KEPT: Final = ([b"search"], [b"domain"], [b"options"])  # lines of resolv.conf(5)
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
    taken = {posixpath.normpath(mount.target) for mount in sandbox.mounts}
    return [
        FilePlan(target=path, content=content)
        for path, content in found.items()
        if path not in taken
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
    text = _read("/etc/resolv.conf")
    lines = text.splitlines(keepends=True)
    if sandbox.dns:
        # As docker does: the host's search domains and options stay.
        kept = b"".join(line for line in lines if line.split()[:1] in _KEPT)
        return kept + "".join(f"nameserver {server}\n" for server in sandbox.dns).encode()
    if sandbox.network == Network.PRIVATE:
        return b"".join(name_servers(lines))
    return text  # also without a network, as docker does


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""
