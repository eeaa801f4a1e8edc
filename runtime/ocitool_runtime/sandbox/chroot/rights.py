"""Answering with the rights of the caller: its IDs, groups and capabilities.

With those of the shim a program would be given what the kernel refuses it.  File system IDs are not
enough: a file of /proc/sys asks for the effective user ID, and one of another process for
capabilities (proc(5); ptrace(2), "Ptrace access mode checking").

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import os

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import status
from ocitool_runtime.sandbox.notify.seccomp_notify import LeftToKernel


class Caller:
    """Who makes a call: a thread, as the ``status`` in its open directory of /proc says."""

    __slots__ = ("capabilities", "gid", "groups", "process", "thread", "uid")

    def __init__(self, directory: int) -> None:
        fields = status(directory)
        self.process, self.thread = fields[b"Tgid"][0], fields[b"Pid"][0]
        _, uid, _, file_uid = map(int, fields[b"Uid"])
        _, gid, _, file_gid = map(int, fields[b"Gid"])
        if (uid, gid) != (file_uid, file_gid):  # as in a file server: for the kernel to judge
            raise LeftToKernel
        self.uid, self.gid = uid, gid
        self.groups = [int(group) for group in fields[b"Groups"]]
        self.capabilities = int(fields[b"CapEff"][0], 16)


class Rights:
    """The shim's own rights, and those that it has taken."""

    def __init__(self, proc: int) -> None:
        """*proc* is an open /proc."""
        me = os.open("self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
        try:
            fields = status(me)
        finally:
            os.close(me)
        self._capabilities = int(fields[b"CapPrm"][0], 16)
        self._groups = sorted(os.getgroups())

    def take(self, caller: Caller) -> None:
        """Have the rights of *caller*, and no others."""
        if sorted(caller.groups) != self._groups:
            os.setgroups(caller.groups)
        os.setresgid(-1, caller.gid, -1)
        os.setresuid(-1, caller.uid, -1)
        self._limit(caller.capabilities)

    def give_back(self) -> None:
        """Have the shim's own rights again; repeating it does no harm."""
        os.setresuid(-1, 0, -1)
        self._limit(self._capabilities)
        os.setresgid(-1, 0, -1)
        if sorted(os.getgroups()) != self._groups:
            os.setgroups(self._groups)

    def _limit(self, capabilities: int) -> None:
        syscalls.capset(
            effective=capabilities & self._capabilities,
            permitted=self._capabilities,
            inheritable=0,
        )
