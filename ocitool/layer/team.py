"""Work of one kind that several threads share, such as compressing blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache


class Team:
    """Several threads that do *work* on one piece each; the results come in the pieces' order."""

    def __init__(self, work: Callable[[bytes], bytes], threads: int) -> None:
        self._work = work
        self._pool = _pool(threads)
        self._most = 2 * threads  # pieces in hand
        self._results: deque[Future[bytes]] = deque()

    def put(self, piece: bytes) -> bytes:
        """Hand over one piece; returns what is done by now, and raises what went wrong."""
        self._results.append(self._pool.submit(self._work, piece))
        return self._take(self._most)

    def close(self) -> bytes:
        """Wait until all is done, and return what was not returned yet."""
        return self._take(0)

    def _take(self, most: int) -> bytes:
        """Return the results that are there, and wait until no more than *most* are not."""
        done = []
        while self._results and (len(self._results) > most or self._results[0].done()):
            done.append(self._results.popleft().result())
        return b"".join(done)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """One pool for all, since threads beyond the processors only wait for each other."""
    return ThreadPoolExecutor(threads, "ocitool-pack")
