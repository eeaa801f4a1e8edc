"""Failures inside the sandbox, named by what was being done, in a form that can be sent.

The standard library alone: this runs inside the sandbox.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Failed(Exception):
    """A step did not succeed; the fields are what the parent makes its error of."""

    def __init__(self, step: str, syscall: str, number: int, path: str, text: str) -> None:
        super().__init__(f"{step}: {text}")
        self.message = ("failed", step, syscall, number, path, text)


class doing:
    """Name what is being done: an error in the block becomes `Failed`."""

    def __init__(self, step: str) -> None:
        self._step = step

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, (Failed, SystemExit)):
            return
        raise _failed(self._step, error) from error


def _failed(step: str, error: BaseException) -> Failed:
    if isinstance(error, OSError):
        syscall = getattr(error, "syscall", "")
        path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        return Failed(step, syscall, error.errno or 0, path, error.strerror or str(error))
    return Failed(step, "", 0, "", f"{error}" if str(error) else type(error).__name__)


def failure(error: BaseException) -> tuple[str, str, str, int, str, str]:
    """Return the message for *error*, whatever it is."""
    if isinstance(error, Failed):
        return error.message
    return _failed("set up the sandbox", error).message
