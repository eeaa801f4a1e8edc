"""The messages between the host process, the shim and the container init.

Each travels as a tuple of its name and its fields, which marshal can carry.
Runs in: host process, shim, container init.  Imports only the standard library.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Message:
    """A message; its fields are named in ``__slots__``, in the order of its arguments."""

    __slots__: tuple[str, ...] = ()

    def packed(self) -> tuple[Any, ...]:
        """Return the name and the fields."""
        return (type(self).__name__, *(getattr(self, name) for name in self.__slots__))


class MapsWanted(Message):
    """From the shim: its user namespace is made and needs ID maps."""

    __slots__ = ()


class MapsWritten(Message):
    """The answer to `MapsWanted`."""

    __slots__ = ()


class ProbeDone(Message):
    """From the shim: all that a probe tries works."""

    __slots__ = ()


class StepFailed(Message):
    """One step of the setup failed; *syscall* and *path* may be "", *number* (errno) 0."""

    __slots__ = ("number", "path", "step", "syscall", "text")

    def __init__(self, number: int, path: str, step: str, syscall: str, text: str) -> None:
        self.number = number
        self.path = path
        self.step = step
        self.syscall = syscall
        self.text = text


class Started(Message):
    """From the shim: the program runs.

    With it come a pidfd of the container init, and the master of a terminal if there is one.
    """

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid


class Ended(Message):
    """From the shim, the last message: how the program ended.

    *code* is its exit code, -n for signal n.  *text* says why it could not be run, *unconnected*
    why its network ended sooner.
    """

    __slots__ = ("code", "notes", "text", "unconnected")

    def __init__(self, code: int, notes: tuple[str, ...], text: str, unconnected: str = "") -> None:
        self.code = code
        self.notes = notes
        self.text = text
        self.unconnected = unconnected


class ProgramRefused(Message):
    """From the container init: the program cannot be run; *code* is 126 or 127."""

    __slots__ = ("code", "text")

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text


class Note(Message):
    """From the container init: something that the machine refused, without which it goes on."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Listener(Message):
    """From the container init: the descriptor of its seccomp filter comes with this.

    The IDs are those that the program begins with.
    """

    __slots__ = ("gid", "groups", "uid")

    def __init__(self, gid: int, groups: tuple[int, ...], uid: int) -> None:
        self.gid = gid
        self.groups = groups
        self.uid = uid


_KINDS = {kind.__name__: kind for kind in Message.__subclasses__()}


def unpacked(fields: tuple[Any, ...]) -> Message:
    """Return the message that `Message.packed` gave *fields* of."""
    name, *values = fields
    return _KINDS[name](*values)
