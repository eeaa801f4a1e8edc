"""A blob as a stream that outlives its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ocitool.errors import RegistryError, TransportError
from ocitool_registry import protocol

if TYPE_CHECKING:
    from ocitool.oci.manifest import Descriptor
    from ocitool_registry.client.client import RegistryClient
    from ocitool_registry.transport.http import Response

#: A connection that brought this much before it broke was worth having: the count of faults
#: begins anew.
_PROGRESS: Final = 1024 * 1024  # bytes
_SKIP: Final = 256 * 1024  # bytes read at once where a registry sends again what we have


class ResumingStream:
    """Reads a blob, and goes on where it was when the connection breaks.

    After as many faults in a row as the client's retry policy has attempts, the last one is
    raised.  Nothing is proved here: `ocitool.oci.digest.VerifiedReader` does that.
    """

    def __init__(self, client: RegistryClient, repository: str, descriptor: Descriptor) -> None:
        self._client = client
        self._repository = repository
        self._descriptor = descriptor
        self._at = 0  # bytes handed out
        self._since = 0  # bytes handed out since the last fault
        self._faults = 0
        # The first request is made here, so that a blob that is not there fails at once.
        self._response: Response | None = client.get_blob(repository, descriptor.digest)

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; `RegistryError` once resuming is of no use."""
        while True:
            try:
                data = self._next(size)
            except TransportError as error:
                self._drop()
                if self._at == self._descriptor.size:
                    return b""  # what broke was only the end of what we have whole
                self._count(error)
                continue
            self._at += len(data)
            self._since += len(data)
            return data

    def close(self) -> None:
        self._drop()

    def _next(self, size: int) -> bytes:
        if self._response is None:
            self._response = self._reopen()
        data = self._response.stream.read(size)
        if not data and size and self._at < self._descriptor.size:
            raise TransportError(f"the body ends after {self._at} bytes", where=self._where())
        return data

    def _reopen(self) -> Response:
        response = self._client.get_blob(self._repository, self._descriptor.digest, offset=self._at)
        try:
            self._skip(response, self._at - _start(response))
        except BaseException:
            response.close()
            raise
        return response

    def _skip(self, response: Response, count: int) -> None:
        """Read *count* bytes that we have: a registry without ranges sends all of them again."""
        if count < 0:
            raise RegistryError("the registry sent another range", where=self._where())
        while count:
            data = response.stream.read(min(count, _SKIP))
            if not data:
                raise TransportError("the body ends before the place to go on", where=self._where())
            count -= len(data)

    def _count(self, error: TransportError) -> None:
        self._faults = 1 if self._since >= _PROGRESS else self._faults + 1
        self._since = 0
        if self._faults >= self._client.retry.attempts:
            raise error
        self._client.retry.wait(self._faults)

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def _where(self) -> str:
        return f"{self._client.host}/{self._repository}@{self._descriptor.digest}"


def _start(response: Response) -> int:
    if response.status != 206:
        return 0
    try:
        return protocol.parse_content_range(response.headers.get("Content-Range", ""))[0]
    except protocol.BadRange as error:
        raise TransportError("the registry does not say which range it sent") from error
