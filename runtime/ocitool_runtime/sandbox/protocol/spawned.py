"""The beginning and the end of a process that `ocitool_runtime.host.launch.spawn` has spawned.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import marshal
import os
import sys

from ocitool_runtime.sandbox.protocol import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn

    from ocitool_runtime.sandbox.protocol.plan import Plan


def run(serve: Callable[[str, _socket.socket, Plan], None]) -> NoReturn:
    """Serve one spawn by *serve*: argv is [-c, library directory, mode, control socket, plan]."""
    mode, control_fd, plan_fd = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    for fd in (control_fd, plan_fd):
        os.set_inheritable(fd, False)
    control = channel.adopt(control_fd)
    try:
        serve(mode, control, _read_plan(plan_fd))
    except BaseException as error:  # the host process must learn of every failure
        channel.tell(control, channel.failure(error))
        os._exit(125)
    os._exit(0)


def _read_plan(fd: int) -> Plan:
    size = os.fstat(fd).st_size
    plan: Plan = marshal.loads(os.pread(fd, size, 0))
    os.close(fd)
    return plan
