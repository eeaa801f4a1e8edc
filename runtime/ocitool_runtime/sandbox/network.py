"""The network namespace of a sandbox: its loopback device, and the helper that connects it.

A private network is made by a program in the host's network (slirp4netns or pasta), which moves
packets between a TAP device in the namespace and sockets of its own.  It is forked while this
process is still in the caller's namespaces and cgroup, and is executed once the namespace is there.
The kernel kills it with this process, and this process waits for its end.

Runs in: shim; `Network.wait` in the container init.  Imports only the standard library.
Source: netdevice(7); the kernel's Documentation/networking/tuntap.rst; slirp4netns(1); pasta(1);
prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select
import struct

from ocitool_runtime.sandbox.kernel import signals, syscalls
from ocitool_runtime.sandbox.protocol import channel
from ocitool_runtime.sandbox.protocol.channel import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ocitool_runtime.sandbox.protocol.plan import Plan

TUN = "/dev/net/tun"
DEVICE = "eth0"  # in the namespace
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP_NO_PI = 0x1002
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_SIGKILL = 9
_SAID = 4096  # bytes
_PATIENCE = 30_000  # milliseconds until the helper is ready
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONNECT = "connect the private network"  # the step
#: What docker sets in a namespace of the container's own (moby, daemon/oci_linux.go, WithSysctls).
_SETTINGS = (("ip_unprivileged_port_start", b"0"), ("ping_group_range", b"0 2147483647"))


class Network:
    """The network of one sandbox, as its plan says."""

    def __init__(self, plan: Plan) -> None:
        self._own = plan["network"] != "host"
        self._helper: _Helper | None = None
        if plan["network"] == "private":
            with step("start the network helper"):
                self._helper = _Helper(plan["network_helper"])

    def enter(self) -> None:
        """Make the namespace, and let the helper begin to connect it."""
        if not self._own:
            return
        with step("make namespaces"):
            syscalls.unshare(syscalls.CLONE_NEWNET)
        with step("set the loopback device up" if self._helper is None else CONNECT):
            _raise_loopback()
            for name, value in _SETTINGS:
                _set(name, value)
            if self._helper is not None:
                _make_device()
                self._helper.begin()

    def wait(self) -> None:
        """Wait until the network can be used."""
        if self._helper is not None:
            with step(CONNECT):
                self._helper.wait()

    def end(self) -> str:
        """End the helper; return why it had ended before, "" if it was running."""
        return "" if self._helper is None else self._helper.end()


class _Helper:
    """A process that becomes the helper when the namespace is there."""

    def __init__(self, command: list[str]) -> None:
        self._name = command[0].rpartition("/")[2]
        self._ready, ready = os.pipe()
        begin, self._begin = os.pipe()
        # What it prints must never stop it: beyond the size of a pipe it is dropped.
        self._said, said = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        shim = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._begin)
            _become(command, shim, begin, ready, said)
        for fd in (begin, ready, said):
            os.close(fd)

    def begin(self) -> None:
        """Let it connect the namespace that this process is in now."""
        os.write(self._begin, b"1")
        os.close(self._begin)

    def wait(self) -> None:
        """Wait until it is ready; OSError says why it is not."""
        poll = select.poll()
        poll.register(self._ready, select.POLLIN)
        if not poll.poll(_PATIENCE):
            raise OSError(errno.ETIMEDOUT, f"{self._name} is not ready after 30 seconds")
        if not os.read(self._ready, 1):
            raise OSError(0, f"{self._name}: {self._last_words() or 'it ended'}")

    def end(self) -> str:
        """Kill it; it keeps nothing that would have to be written.

        Return what ended it sooner, or "".
        """
        ended, status = os.waitpid(self._pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                return f"{self._name} was killed by signal {-code}"
            return f"{self._name} ended with exit code {code}: {self._last_words()}"
        try:
            os.kill(self._pid, _SIGKILL)
        except PermissionError:  # it is root's, and this process another's: it ends with this one
            return ""
        os.waitpid(self._pid, 0)
        return ""

    def _last_words(self) -> str:
        try:
            text = os.read(self._said, _SAID).decode("utf-8", "replace")
        except BlockingIOError:
            text = ""
        lines = [line.strip() for line in text.splitlines() if not line.endswith("to syslog")]
        return "; ".join(filter(None, lines))


def _become(command: list[str], shim: int, begin: int, ready: int, said: int) -> NoReturn:
    """Wait for the namespace of *shim*, and execute the helper.

    It gets three descriptors: 0 is written to when it is ready, 1 is the network namespace, 2 is
    for messages.  pasta closes all others.
    """
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
        if not os.read(begin, 1):
            os._exit(0)  # the shim has ended
        _leave_mounts()
        namespace = os.open(f"/proc/{shim}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        for stream, fd in enumerate((ready, namespace, said)):
            os.dup2(fd, stream)
        signals.reset_signals()
        arguments = [word.replace("{pid}", str(shim)) for word in command]
        os.execve(arguments[0], arguments, {"PATH": _PATH})
    except BaseException as error:  # nothing may unwind into the shim's code
        os.write(said, str(error).encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _leave_mounts() -> None:
    """Enter a mount namespace from which nothing is propagated to the host.

    slirp4netns makes the root private, and no mount below it, before it detaches the tree that it
    leaves; so it would unmount on the host what stands in shared mounts.  Who may not make such a
    namespace has the helper do so in a user namespace, whose mounts are slaves.
    """
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    except syscalls.Refused:
        return
    syscalls.make_slave()


def _raise_loopback() -> None:
    """Bring ``lo`` up; a new namespace has it down (netdevice(7))."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    request = fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
    flags = struct.unpack_from("h", request, 16)[0]
    fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    sock.close()


def _make_device() -> None:
    """Make the device that the helper finds by its name.

    It persists until the namespace ends, and then the kernel removes it.  Otherwise the helper
    would remove it at its end, and that takes 20 ms.
    """
    fd = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TAP_NO_PI))
    fcntl.ioctl(fd, _TUNSETPERSIST, 1)
    os.close(fd)


def _set(name: str, value: bytes) -> None:
    """Write a setting of the namespace, where an outer container lets it be written."""
    try:
        fd = os.open(f"/proc/sys/net/ipv4/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, value)
    except OSError:  # groups that a user namespace does not map
        return
    finally:
        os.close(fd)


def probe(control: _socket.socket, plan: Plan) -> None:
    """Try whether the helper of *plan* connects a namespace."""
    from ocitool_runtime.sandbox.protocol.messages import ProbeDone
    from ocitool_runtime.sandbox.userns import user_namespace

    network = Network(plan)
    try:
        if plan["userns"]:
            user_namespace(control)
        network.enter()
        network.wait()
    finally:
        network.end()
    channel.send(control, ProbeDone())
