"""Single-ID mode: the calls on IDs and owners, for which the kernel has only one ID.

The seccomp filter hands them to the shim (seccomp_unotify(2)), which answers as the kernel would if
it had all IDs.  All other calls go back to the kernel, which executes them with the program's own
rights.  This is no boundary: for the kernel all processes have the same ID.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import _thread
import errno
import os
import select

from ocitool_runtime.sandbox.notify import seccomp_notify
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id.calls import ANSWERED, names
from ocitool_runtime.sandbox.single_id.changes import Changes
from ocitool_runtime.sandbox.single_id.chown import OwnerCalls
from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable
from ocitool_runtime.sandbox.single_id.credentials import Credentials
from ocitool_runtime.sandbox.single_id.file_status import FileStatus
from ocitool_runtime.sandbox.single_id.id_calls import IdCalls
from ocitool_runtime.sandbox.single_id.lookup import Lookup
from ocitool_runtime.sandbox.single_id.moves import Moves
from ocitool_runtime.sandbox.single_id.new_files import NewFiles
from ocitool_runtime.sandbox.single_id.peers import Peers
from ocitool_runtime.sandbox.single_id.permissions import Permissions
from ocitool_runtime.sandbox.single_id.programs import Programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocitool_runtime.sandbox.protocol.messages import Listener


class SingleId:
    """Answers in a thread of its own, so that a slow caller blocks nothing else.

    The thread is started before unshare(2) of the PID namespace, after which none can be.
    """

    def __init__(self, capabilities: int, *, setuid: bool) -> None:
        """*capabilities* is the mask of those that root has in the container.

        *setuid* says whether setuid programs have the IDs of their owners.
        """
        self._proc = seccomp_notify.open_proc()
        self._setuid = setuid
        self._capabilities = capabilities
        self._listener = self._root = -1
        self._owned: Sequence[int] = ()
        self._first: Credentials | None = None
        self._handlers: dict[tuple[int, int], Callable[[Call], None]] = {}
        self._begun = _thread.allocate_lock()
        self._begun.acquire()
        _thread.start_new_thread(self._serve, ())

    def begin(self, listener: int, root: int, owned: Sequence[int], first: Listener) -> None:
        """Answer what comes from the filter's descriptor.

        *root* is the container's root, *owned* are the roots of mounts whose files have its owners,
        *first* has the IDs that the program begins with.
        """
        self._listener, self._root, self._owned = listener, root, owned
        self._first = Credentials.of_user(first.uid, first.gid, first.groups)
        self._begun.release()

    def _serve(self) -> None:
        self._begun.acquire()
        try:
            self._prepare()
            seccomp_notify.wake_at_once(self._listener)
            poll = select.poll()
            poll.register(self._listener, 0)  # POLLHUP: no caller is left
            while self._answer() or not poll.poll(0):
                continue
        finally:  # no caller is left, or after an error none may wait for an answer
            os.close(self._listener)

    def _prepare(self) -> None:
        assert self._first is not None
        table = CredentialTable(self._first)
        lookup = Lookup(self._proc, self._root, self._owned)
        permissions = Permissions(lookup)
        answers = {
            **IdCalls(table, self._capabilities).handlers(),
            **OwnerCalls(lookup, table, self._capabilities).handlers(),
            **NewFiles(lookup, permissions, table, self._capabilities).handlers(),
            **Changes(permissions, table).handlers(),
            **Peers(table, self._proc).handlers(),
            **FileStatus(lookup).handlers(),
            **Moves(lookup, permissions, table).handlers(),
            **Programs(lookup, table, setuid=self._setuid).handlers(),
        }
        self._handlers = {key: answers[name] for key, name in names(*ANSWERED).items()}

    def _answer(self) -> bool:
        """Wait for a call and answer it; False if its caller was killed, or none is left."""
        call = seccomp_notify.receive(self._listener, self._proc)
        if call is None:
            return False
        try:
            handler = self._handlers.get((call.machine, call.number))
            if handler is None:
                raise LeftToKernel  # from a filter of the program itself
            handler(call)
        except LeftToKernel:
            call.leave()
        except OSError as error:
            call.answer(error.errno or errno.EPERM)
        except Exception:  # of one call, which must not leave all others without an answer
            call.answer(errno.EIO)
        finally:
            call.close()
        return True
