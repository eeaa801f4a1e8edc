"""Private networks: the program that connects one, and the addresses in it.

slirp4netns and pasta make connections of an ordinary process of the host out of what a sandbox
sends.  Neither needs privileges on the host, so root uses them as well; a bridge would need rules
in the host's firewall, forwarding, and addresses that nobody else uses.
Source: slirp4netns(1); pasta(1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from ocitool.programs import find_program
from ocitool_runtime.errors import NoPrivateNetwork
from ocitool_runtime.host.capabilities import available
from ocitool_runtime.host.launch import probe as _probe
from ocitool_runtime.host.userns.idmap import Maps, single_map
from ocitool_runtime.isolation import Support
from ocitool_runtime.sandbox.network import DEVICE, TUN

#: Of the sandbox, and of what passes its questions on to the host's name server; slirp4netns' own.
ADDRESS: Final = "10.0.2.100"
NAME_SERVER: Final = "10.0.2.3"
_GATEWAY: Final = "10.0.2.2"
#: Of the shim's user namespace and network namespace; the latter is open as descriptor 1.
_USER_NAMESPACE: Final = "/proc/{pid}/ns/user"
_NAMESPACE: Final = "/proc/self/fd/1"
_HOST: Final = "use --network host"
_INSTALL: Final = f"install the package slirp4netns or passt, or {_HOST}"
_LOAD: Final = (
    "load the module tun and let this user open the device (in a container, --device /dev/net/tun),"
    f" or {_HOST}"
)


def helper(*, userns: bool) -> list[str]:
    """Return the command that connects a network namespace.

    It is run as `ocitool_runtime.sandbox.network` describes; *userns* says whether the sandbox has
    a user namespace.  Raises NoPrivateNetwork if there is no such program, or no device for it.
    """
    if not userns and "CAP_NET_ADMIN" not in available():
        raise NoPrivateNetwork("this process does not have CAP_NET_ADMIN", hint=_HOST)
    for arguments in (describe(userns) for describe in _HELPERS):
        if path := find_program(arguments[0]):
            _require_device()
            return [path, *arguments[1:]]
    raise NoPrivateNetwork("neither slirp4netns nor pasta is installed", hint=_INSTALL)


def _require_device() -> None:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise NoPrivateNetwork(f"cannot open {TUN}: {error.strerror}", hint=_LOAD) from error


def _slirp4netns(_: bool) -> tuple[str, ...]:
    return (
        "slirp4netns",
        "--configure",
        "--mtu=65520",
        "--disable-host-loopback",
        "--enable-sandbox",
        "--enable-seccomp",
        "--ready-fd=0",
        "{pid}",  # by a path it cannot enter both a user namespace and its sandbox
        DEVICE,
    )


def _pasta(userns: bool) -> tuple[str, ...]:
    # It writes its ID to the file when it is ready.  As root it would become nobody, who may not
    # enter the namespace.  Without the four "none" the ports of the host's loopback appear inside.
    inside = ("--userns", _USER_NAMESPACE) if userns and os.geteuid() != 0 else ("--netns-only",)
    return (
        *("pasta", "--foreground", "--quiet", "--ipv4-only", "--config-net", "--no-map-gw"),
        *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
        *("--ns-ifname", DEVICE, "--address", ADDRESS, "--netmask", "24", "--gateway", _GATEWAY),
        *("--dns-forward", NAME_SERVER, "--no-dhcp", "--no-ra", "--no-netns-quit"),
        *(("--runas", "0") if os.geteuid() == 0 else ()),
        *("--pid", "/proc/self/fd/0", *inside, "--netns", _NAMESPACE),
    )


#: In the order in which they are looked for: slirp4netns starts faster.
_HELPERS: Final = (_slirp4netns, _pasta)


def probe() -> Support:
    """Say whether a private network works here, for this user, by making one (30 ms)."""
    maps = Maps() if os.geteuid() == 0 else single_map()
    userns = bool(maps.uid_maps)
    try:
        command = helper(userns=userns)
    except NoPrivateNetwork as error:
        return Support(ok=False, reason=error.message, hint=error.hint)
    plan = {"network": "private", "network_helper": command, "userns": userns}
    found = _probe("network-probe", plan, maps)
    name = command[0].rpartition("/")[2]
    return Support(ok=True, reason=name) if found.ok else found


def name_servers(lines: Iterable[bytes]) -> list[bytes]:
    """Return the lines of the host's resolv.conf(5) for a private network.

    The loopback device in it is its own, and it has no IPv6: `NAME_SERVER` replaces such
    name servers.
    """
    found: list[bytes] = []
    for line in lines:
        words = line.split()
        if words[:1] == [b"nameserver"]:
            server = words[1] if len(words) > 1 else b""
            if not server or b":" in server or server.startswith(b"127."):
                server = NAME_SERVER.encode()
            line = b"nameserver " + server + b"\n"
        if line not in found or words[:1] != [b"nameserver"]:
            found.append(line)
    if not any(line.startswith(b"nameserver") for line in found):
        found.append(b"nameserver " + NAME_SERVER.encode() + b"\n")
    return found
