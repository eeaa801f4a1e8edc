"""Upload sessions, as every backend keeps them: bounded in number, and given up when abandoned."""

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
    """What an upload holds so far."""

    @property
    def size(self) -> int:
        """Bytes."""


C = TypeVar("C", bound=Content)


@dataclass(slots=True)
class _Session(Generic[C]):
    repository: str
    content: C
    used: float  # when a byte was last added, by the clock
    busy: bool = False


class UploadSessions(Generic[C]):
    """The uploads that are under way; safe for threads.

    Whoever begins one removes those that nobody has gone on with for `limits.UPLOAD_IDLE` seconds,
    or `limits.UPLOAD_EMPTY` if they hold nothing.

    Args:
        drop: removes what an upload holds when it ends.
        most: how many may be open at once.
        clock: tells the time in seconds.
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
        """Open a session for *content* and return its id; `TooManyUploads`."""
        name = secrets.token_urlsafe(24)
        with self._lock:
            stale = [each for each, session in self._open.items() if self._is_stale(session)]
            gone = [self._open.pop(each).content for each in stale]
            free = len(self._open) < self._most
            if free:
                self._open[name] = _Session(repository, content, self._clock())
        for each in gone:
            self._drop(each)
        if not free:
            raise TooManyUploads(f"{self._most} uploads are under way; try again later")
        return name

    def size(self, repository: str, name: str) -> int:
        """Return how many bytes an upload holds; `UploadNotFound`."""
        with self._lock:
            return self._find(repository, name).content.size

    @contextmanager
    def alone(self, repository: str, name: str) -> Iterator[C]:
        """Keep all others from an upload.

        Raises:
            UploadNotFound: there is no such upload.
            UploadConflict: another call is at it.
        """
        with self._lock:
            found = self._find(repository, name)
            if found.busy:
                raise UploadConflict("the upload is being written", size=found.content.size)
            found.busy = True
        try:
            yield found.content
        finally:
            with self._lock:
                found.busy = False
                found.used = self._clock()

    def end(self, name: str) -> None:
        """Close a session that the caller has alone, and drop what it holds."""
        with self._lock:
            session = self._open.pop(name)
        self._drop(session.content)

    def close(self) -> None:
        """End them all."""
        for name in list(self._open):
            self.end(name)

    def _find(self, repository: str, name: str) -> _Session[C]:
        found = self._open.get(name)
        if found is None or found.repository != repository:
            raise UploadNotFound(f"{repository} has no upload {name!r}")
        return found

    def _is_stale(self, session: _Session[C]) -> bool:
        lasts = limits.UPLOAD_IDLE if session.content.size else limits.UPLOAD_EMPTY
        return not session.busy and self._clock() - session.used > lasts
