"""A driver of an ordinary user, who works on the IDs of containers in a user namespace.

An ordinary user cannot chown to, read or remove files of the subordinate IDs.  A process in a user
namespace that maps them can: `RootlessDriver` sends the calls named in ``mapped`` to such a process
(`ocitool.drivers.rootless.worker`), which has the same driver, and makes the others itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ocitool.drivers.driver import Driver, Support, Usage
from ocitool.drivers.rootless import protocol
from ocitool.errors import DriverError, DriverUnavailable, SandboxError
from ocitool.layer.apply_changeset import Applied
from ocitool.layer.codec import CHUNK
from ocitool.layer.fileio import write_all
from ocitool.oci.content import Stream
from ocitool_runtime.host.userns import userns
from ocitool_runtime.spec import Mount

_SET_PIPE_SIZE: Final = 1031  # F_SETPIPE_SZ, linux/fcntl.h


class _Died(Exception):
    """The worker has ended."""


class RootlessDriver:
    """A `Driver` that calls the methods of *driver* in this process or in the worker.

    *name* is its name in the store.  The worker is started by the first call that needs it
    (about 80 ms) and ends with this process.  With empty *maps* it is in no user namespace: then
    owners and modes are kept in extended attributes (`ocitool.layer.ownership`).
    """

    def __init__(self, name: str, driver: Driver, home: str, maps: userns.Maps) -> None:
        self.name = name
        self.mapped = driver.mapped
        self.durable = driver.durable
        self.unprivileged = not maps.uid_maps
        self._driver = driver
        self._home = home
        self._maps = maps
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = True  # whether the last request was

    # -- calls ------------------------------------------------------------------------------

    def probe(self) -> Support:
        return Support(**self._ask("probe"))

    def begin(self, key: str, parents: Sequence[str]) -> None:
        if "begin" not in self.mapped:
            try:  # nearly always the root directory is this user's own
                self._driver.begin(key, parents)
                return
            except PermissionError:
                self._driver.discard(key)
        self._ask("begin", key, list(parents))

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        reply = self._stream("apply", _pump(tar), False, key, list(parents))
        return Applied(entries=reply[0], size=reply[1], notes=tuple(reply[2]))

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return self._driver.mounts(key, parents)

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        return self._driver.view(parents)

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        def drain(pipe: int) -> None:
            while data := os.read(pipe, CHUNK):
                sink(data)

        count: int = self._stream("diff", drain, True, key, list(parents), clamp)
        return count

    def commit(self, key: str, layer: str) -> None:
        try:
            self._driver.commit(key, layer)
        except PermissionError:
            self._ask("commit", key, layer)

    def discard(self, key: str) -> None:
        try:  # often all files are this user's own, and no worker is needed
            self._driver.discard(key)
        except PermissionError:
            self._ask("discard", key)

    def remove(self, layer: str) -> None:
        try:
            self._driver.remove(layer)
        except PermissionError:
            self._ask("remove", layer)

    def tar(self, layer: str) -> str:
        return self._driver.tar(layer)

    def has(self, layer: str) -> bool:
        return self._driver.has(layer)

    def layers(self) -> Iterator[str]:
        return self._driver.layers()

    def trees(self) -> Iterator[str]:
        return self._driver.trees()

    def usage(self, layer: str) -> Usage:
        return Usage(**self._ask("usage", layer))

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        faults: list[str] = self._stream("check", _pump(tar), False, layer, list(parents))
        yield from faults

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._drop()
        self._driver.close()

    # -- the worker -------------------------------------------------------------------------

    def _ask(self, method: str, *arguments: Any) -> Any:
        with self._conversation() as channel:
            _send(channel, [method, *arguments])
            return self._reply(channel)

    def _stream(
        self, method: str, move: Callable[[int], None], reads: bool, *arguments: Any
    ) -> Any:
        """Call *method* with one end of a pipe, and *move* bytes at the other end meanwhile."""
        with self._conversation() as channel:
            read, write = os.pipe2(os.O_CLOEXEC)
            ours, theirs = (read, write) if reads else (write, read)
            with contextlib.suppress(OSError):  # a smaller pipe is only slower
                fcntl.fcntl(ours, _SET_PIPE_SIZE, CHUNK)
            try:
                try:
                    _send(channel, [method, *arguments], theirs)
                finally:
                    os.close(theirs)
                with contextlib.suppress(
                    BrokenPipeError
                ):  # the worker has failed, and its reply says why
                    move(ours)
            finally:
                os.close(ours)
            return self._reply(channel)

    @contextlib.contextmanager
    def _conversation(self) -> Iterator[socket.socket]:
        """Lock the worker for one request and its reply.

        A worker that has not replied, because it died or because of an error here, is killed: its
        late reply would be taken for that to the next request, which starts a new worker.
        """
        with self._lock:
            channel = self._worker()
            self._answered = False
            try:
                yield channel
            except _Died as error:
                raise DriverError(
                    "the process that unpacks layers in the user namespace ended unexpectedly",
                    hint="check whether the machine is out of memory, and try again with --debug",
                ) from error
            finally:
                if not self._answered:
                    self._drop()

    def _worker(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self._drop()  # it died between requests
        if self._socket is None:
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    self._process = self._spawn(theirs.fileno())
            except BaseException:
                ours.close()
                raise
            self._socket = ours
        return self._socket

    def _spawn(self, fd: int) -> subprocess.Popen[bytes]:
        # With -P no module comes from the working directory, which may be anybody's.  A call by -m
        # would import runpy, and take longer.
        code = "from ocitool.drivers.rootless.worker import main; main()"
        command = [sys.executable, "-P", "-c", code, self._driver.name, self._home, str(fd)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        null = subprocess.DEVNULL
        if not self._maps.uid_maps:
            return subprocess.Popen(command, pass_fds=(fd,), stdin=null, stdout=null, env=env)
        try:
            return userns.spawn(
                command, maps=self._maps, pass_fds=(fd,), stdin=null, stdout=null, env=env
            )
        except SandboxError as error:
            raise DriverUnavailable(
                f"layers cannot be unpacked in a user namespace: {error}", hint=error.hint
            ) from error

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()  # the worker ends after its last request
            self._socket = None
        if self._process is not None:
            if not self._answered:
                self._process.kill()
            self._process.wait()
            self._process = None

    def _reply(self, channel: socket.socket) -> Any:
        reply = protocol.receive(channel)
        if reply is None:
            raise _Died
        self._answered = True
        if reply.body[0] == "ok":
            return reply.body[1]
        raise protocol.error_from(reply.body[1])


def _pump(tar: Stream) -> Callable[[int], None]:
    """Return a function that writes *tar* to a pipe."""

    def pump(pipe: int) -> None:
        while data := tar.read(CHUNK):
            write_all(pipe, data)

    return pump


def _send(channel: socket.socket, body: list[Any], fd: int | None = None) -> None:
    try:
        protocol.send(channel, body, fd)
    except ConnectionError as error:
        raise _Died from error
