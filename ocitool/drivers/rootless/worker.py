"""The worker of a `RootlessDriver`: the process with a driver, in a user namespace if possible.

Its arguments are the driver's name, the directory of its layers and the descriptor of a socket; it
ends when the other end of the socket is closed.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Any

from ocitool import plugins
from ocitool.drivers.driver import Driver
from ocitool.drivers.rootless import protocol
from ocitool.layer import ownership
from ocitool.layer.codec import CHUNK
from ocitool.layer.fileio import write_all


def serve(driver: Driver, channel: socket.socket) -> None:
    """Execute one call after the other until the other end is closed."""
    while (message := protocol.receive(channel)) is not None:
        try:
            result = _call(driver, message)
        except Exception as error:  # sent to the caller, whatever it is
            reply = ["error", protocol.error_to(error)]
        else:
            reply = ["ok", result]
        finally:
            if message.fd >= 0:
                os.close(message.fd)
        try:
            protocol.send(channel, reply)
        except ConnectionError:  # the caller was killed
            return


def _call(driver: Driver, message: protocol.Message) -> Any:
    method, *arguments = message.body
    if method == "apply":
        key, parents = arguments
        done = driver.apply(key, parents, _Pipe(message.fd))
        return [done.entries, done.size, list(done.notes)]
    if method == "diff":
        key, parents, clamp = arguments
        return driver.diff(key, parents, partial(write_all, message.fd), clamp=clamp)
    if method == "check":
        layer, parents = arguments
        return list(driver.check(layer, parents, _Pipe(message.fd)))
    if method in {"probe", "usage"}:
        return asdict(getattr(driver, method)(*arguments))
    getattr(driver, method)(*arguments)
    return None


class _Pipe:
    """The reading end of a pipe as a stream."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        return os.read(self._fd, size)

    def close(self) -> None:
        return None  # closed by `serve`


def main() -> None:
    """Serve the driver that the command line names."""
    name, home, fd = sys.argv[1:]
    if os.geteuid() != 0:  # there is no user namespace around it
        ownership.choose(ownership.UnprivilegedOwnership())
    driver: Driver = plugins.lookup("ocitool.drivers", name)(home)
    with closing(driver), socket.socket(fileno=int(fd)) as channel:
        serve(driver, channel)
