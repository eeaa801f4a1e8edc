"""Work that goes on beside the caller: hashing, compressing and reading ahead.

hashlib, isal, zstandard and file I/O all release the interpreter's lock, so a thread for each
keeps both cores busy as long as the pieces are large.  Every queue is short: memory stays at a
few chunks whatever the size of the stream.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

from ocitool.layer.codec import CHUNK
from ocitool.oci.content import Stream

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_DEPTH: Final = 4  # chunks


class Lane:
    """A thread that calls *work* for each piece put in, in order.

    A fault of *work* is raised in the caller, at the next `put` or at `close`.
    """

    def __init__(self, work: Callable[[bytes], object]) -> None:
        self._work = work
        self._queue: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, piece: bytes) -> None:
        """Hand over one piece; waits while the lane is full."""
        if self._fault is not None:
            raise self._fault
        self._queue.put(piece)

    def close(self) -> None:
        """Wait until all is done; raises what went wrong."""
        self._queue.put(None)
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._fault is None:
                try:
                    self._work(piece)
                except BaseException as fault:  # handed to the caller, whatever it is
                    self._fault = fault


class ReadAhead:
    """A stream that is read by a thread, a few chunks ahead.

    Closing stops the thread and closes *stream*.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_DEPTH)
        self._stop = threading.Event()
        self._left = b""
        self._ended = False
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if self._fault is not None:
            raise self._fault
        if size and not self._left and not self._ended:
            piece = self._queue.get()
            if isinstance(piece, BaseException):
                self._fault = piece  # for every read after this one, too
                raise piece
            self._left = piece
            self._ended = not piece
        if size >= len(self._left):
            data, self._left = self._left, b""
        else:
            data, self._left = self._left[:size], self._left[size:]
        return data

    def close(self) -> None:
        self._fault = self._fault or ValueError("read of a closed stream")
        self._stop.set()
        while self._thread.is_alive():
            try:  # it may wait for room
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()
        self._stream.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                data = self._stream.read(CHUNK)
                self._queue.put(data)
                if not data:
                    return
        except BaseException as fault:  # handed to the reader, whatever it is
            self._queue.put(fault)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


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
    from concurrent.futures import ThreadPoolExecutor  # few commands compress

    return ThreadPoolExecutor(threads, "ocitool-pack")
