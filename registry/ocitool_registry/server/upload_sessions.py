"""Upload sessions, for all backends: their number is limited, and idle ones expire."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ocitool_registry import limits
from ocitool_registry.server.backend import TooManyUploads, UploadConflict, UploadNotFound


class Content(Protocol):
    """The content of an upload."""

    @property
    def size(self) -> int:
        """Bytes."""


C = TypeVar("C", bound=Content)


@dataclass(slots=True)
class _Session(Generic[C]):
    repository: str
    content: C
    used: float  # seconds of the clock, when bytes were last added
    busy: bool = False


class UploadSessions(Generic[C]):
    """The open uploads; thread-safe.

    Starting one removes those without new bytes for `limits.UPLOAD_IDLE` seconds, or
    `limits.UPLOAD_EMPTY` if they are empty.

    Args:
        drop: removes the content of an upload that has ended.
        most: how many may be open at the same time.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        drop: Callable[[C], None],
        *,
        most: int = limits.UPLOADS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drop = drop
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, _Session[C]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, repository: str, content: C) -> str:
        """Start a session for *content* and return its id; `TooManyUploads`."""
        name = secrets.token_urlsafe(24)
        with self._lock:
            stale = [each for each, session in self._open.items() if self._is_stale(session)]
            expired = [self._open.pop(each).content for each in stale]
            free = len(self._open) < self._most
            if free:
                self._open[name] = _Session(repository, content, self._clock())
        for each in expired:
            self._drop(each)
        if not free:
            raise TooManyUploads(f"too many uploads: at most {self._most} may be open")
        return name

    def size(self, repository: str, name: str) -> int:
        """Return the number of bytes of an upload; `UploadNotFound`."""
        with self._lock:
            return self._find(repository, name).content.size

    @contextmanager
    def locked(self, repository: str, name: str) -> Iterator[C]:
        """Lock an upload against other requests.

        Raises:
            UploadNotFound: there is no such upload.
            UploadConflict: another request has locked it.
        """
        with self._lock:
            found = self._find(repository, name)
            if found.busy:
                raise UploadConflict("upload is in use by another request", size=found.content.size)
            found.busy = True
        try:
            yield found.content
        finally:
            with self._lock:
                found.busy = False
                found.used = self._clock()

    def end(self, name: str) -> None:
        """Remove a session that the caller has locked, and its content."""
        with self._lock:
            session = self._open.pop(name)
        self._drop(session.content)

    def close(self) -> None:
        """Remove all sessions."""
        for name in list(self._open):
            self.end(name)

    def _find(self, repository: str, name: str) -> _Session[C]:
        found = self._open.get(name)
        if found is None or found.repository != repository:
            raise UploadNotFound(f"no such upload in {repository}: {name!r}")
        return found

    def _is_stale(self, session: _Session[C]) -> bool:
        lifetime = limits.UPLOAD_IDLE if session.content.size else limits.UPLOAD_EMPTY
        return not session.busy and self._clock() - session.used > lifetime
