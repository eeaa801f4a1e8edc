"""The download of a blob, resumed if the connection fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ocitool.errors import RegistryError, TransportError
from ocitool_registry import protocol

if TYPE_CHECKING:
    from ocitool.oci.manifest import Descriptor
    from ocitool_registry.client.client import RegistryClient
    from ocitool_registry.transport.http import Response

#: After this many bytes without a failure, the count of failures starts again.
_PROGRESS: Final = 1024 * 1024  # bytes
_SKIP: Final = 256 * 1024  # bytes read at once of content that is already downloaded


class ResumingStream:
    """Reads a blob, and resumes the download if the connection fails.

    After as many failures in a row as the client's retry policy has attempts, the last one is
    raised.  The content is not verified here: `ocitool.oci.streams.VerifiedReader` does that.
    """

    def __init__(self, client: RegistryClient, repository: str, descriptor: Descriptor) -> None:
        self._client = client
        self._repository = repository
        self._descriptor = descriptor
        self._at = 0  # bytes returned
        self._since = 0  # bytes returned since the last failure
        self._failures = 0
        # The first request is sent here, so that a missing blob is an error at once.
        self._response: Response | None = client.get_blob(repository, descriptor.digest)

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; `RegistryError` after too many failures."""
        while True:
            try:
                data = self._next(size)
            except TransportError as error:
                self._drop()
                if self._at == self._descriptor.size:
                    return b""  # the blob is complete
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
            raise TransportError(
                f"unexpected end of the response after {self._at} bytes", where=self._where()
            )
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
        """Skip *count* bytes: a registry that does not support ranges sends the whole blob."""
        if count < 0:
            raise RegistryError("unexpected range in registry response", where=self._where())
        while count:
            data = response.stream.read(min(count, _SKIP))
            if not data:
                raise TransportError("unexpected end of the response", where=self._where())
            count -= len(data)

    def _count(self, error: TransportError) -> None:
        self._failures = 1 if self._since >= _PROGRESS else self._failures + 1
        self._since = 0
        if self._failures >= self._client.retry.attempts:
            raise error
        self._client.retry.wait(self._failures)

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
        return protocol.parse_content_range(response.headers.get("Content-Range", "")).start
    except protocol.BadRange as error:
        raise TransportError("missing or invalid Content-Range in registry response") from error
