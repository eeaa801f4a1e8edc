"""A file that ADD fetches from a URL: its digest for the cache key, its content once it is needed.

With a checksum nothing is fetched unless the cache misses.  Otherwise the server is asked whether
the file has changed, if it has sent an entity tag, or else the file is fetched to know its digest.
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Final, Literal
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from ocitool.builder.definition import HttpFile
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.solver.keys import key_of
from ocitool.errors import BuildError, DigestMismatch, RegistryError
from ocitool.oci.timestamps import SECOND
from ocitool.progress import ProgressSink, TransferCounter
from ocitool.store.database.build_cache import Content
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.store import Store
from ocitool_registry.transport.http import Headers, Request, Response, redacted
from ocitool_registry.transport.redirect import Redirecting
from ocitool_registry.transport.requests import PlainHttpError, RequestsTransport, TlsError
from ocitool_registry.transport.retry import Retrying

_CHUNK: Final = 1 << 20  # bytes read at once
_DIGITS: Final = 18  # of a length in bytes
_NOT_MODIFIED: Final = 304
_DENIED: Final = (401, 403)
#: What secrets are called before the host, and what stands before their value in the header.  The
#: first that is there counts.
_SECRETS: Final = {"HTTP_AUTH_TOKEN_": "Bearer ", "HTTP_AUTH_HEADER_": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The content of a file, in a temporary one."""

    path: str
    size: int  # bytes
    mtime: int  # nanoseconds; 0 unless the server sends a time
    digest: str


class RemoteFile:
    """One file; what is fetched of it is kept until `close`."""

    is_tree: Literal[False] = False

    def __init__(
        self, vertex: HttpFile, store: Store, secrets: Secrets, progress: ProgressSink
    ) -> None:
        self.name = vertex.name
        self.shown = redacted(vertex.url)  # for messages
        self._vertex = vertex
        self._store = store
        self._secrets = secrets
        self._progress = progress
        # The server itself checks the credentials of each build, and no key may have a password.
        self._key = key_of("http", _without_credentials(vertex.url)[0])
        self._digest = vertex.checksum
        self._mtime = ""  # as text; unknown with a checksum, for which no server is asked
        self._fetched: Fetched | None = None

    def content(self, *, unpacked: bool) -> Content:
        """Return what a cache key has of the file; `BuildError` as `digest`.

        The time that the server says is part of it: it is the file's.
        """
        if unpacked:
            return Content(self.name, "unpacked remote", self.digest())
        return Content(self.name, "remote", f"{self.digest()} {self._mtime}".rstrip())

    def digest(self) -> str:
        """Return the digest of the content.

        Raises:
            BuildError: it cannot be fetched.
        """
        if not self._digest:
            self._digest = self._unchanged() or self.file().digest
        return self._digest

    def file(self) -> Fetched:
        """Return the content.

        Raises:
            BuildError: it cannot be fetched.
            DigestMismatch: it is not what the checksum, or the server just before, said.
        """
        if self._fetched is None:
            with self._response({}) as response:
                self._keep(response)
        assert self._fetched is not None
        return self._fetched

    def close(self) -> None:
        """Remove the content."""
        if self._fetched is not None:
            os.unlink(self._fetched.path)
            self._fetched = None

    def _unchanged(self) -> str:
        """Return the digest of the last build if the content is the same, otherwise fetch it."""
        known = self._store.build_cache.contents(self._key)
        if not known or len(known) != 2:
            return ""
        file, time = known
        with self._response({"If-None-Match": file.name}) as response:
            if response.status == _NOT_MODIFIED:
                self._store.build_cache.touch(self._key)
                self._mtime = time.name
                return file.digest
            self._keep(response)
        return ""

    @contextlib.contextmanager
    def _response(self, headers: Mapping[str, str]) -> Iterator[Response]:
        """Send a request, and translate the errors of it and of reading the response."""
        url, credentials = _without_credentials(self._vertex.url)
        credentials |= self._authorization(url)
        request = Request(
            method="GET", url=url, headers=Headers({**credentials, **headers}.items())
        )
        transport = RequestsTransport()
        try:
            with (
                contextlib.closing(transport),
                Retrying(Redirecting(transport)).send(request) as response,
            ):
                if not response.ok and not (headers and response.status == _NOT_MODIFIED):
                    raise self._refused(response.status)
                yield response
        except RegistryError as error:
            # The transport calls every server a registry.
            message, hint = (text.replace("registry", "server") for text in _texts(error))
            raise BuildError(f"failed to fetch {self.shown}: {message}", hint=hint) from error

    def _authorization(self, url: str) -> dict[str, str]:
        """Return the header of the secrets for the host of *url*, named as BuildKit's."""
        host = urlsplit(url).hostname or ""
        for prefix, scheme in _SECRETS.items():
            if (value := self._secrets.read(f"{prefix}{host}")) is not None:
                text = value.decode("utf-8", "replace").strip()
                if not text.isascii() or not text.isprintable():
                    raise BuildError(
                        f"secret {prefix}{host} cannot be sent in a header",
                        hint="its value must be one line of ASCII text",
                    )
                return {"Authorization": f"{scheme}{text}"}
        return {}

    def _refused(self, status: int) -> BuildError:
        hint = "check the URL, or try again later"
        if status in _DENIED:
            host = urlsplit(self._vertex.url).hostname
            hint = f"give credentials as a secret: --secret id=HTTP_AUTH_TOKEN_{host},src=FILE"
        return BuildError(
            f"failed to fetch {self.shown}: invalid response status {status}", hint=hint
        )

    def _length(self, response: Response) -> int:
        """Return how many bytes are announced, 0 if it is unknown.

        With a malformed length a connection that is lost would look like the end.
        """
        text = response.headers.get("Content-Length", "0")
        if not text.isdecimal() or len(text) > _DIGITS:  # thousands of them Python refuses to read
            raise BuildError(
                f"failed to fetch {self.shown}: invalid Content-Length in the response",
                hint="try again later",
            )
        return int(text)

    def _keep(self, response: Response) -> None:
        """Store the body of *response*, and verify it."""
        total = self._length(response)
        with full_disk(self._store.layout.root):
            fd, path = tempfile.mkstemp(dir=self._store.lease().path)
        hasher, size = sha256(), 0
        counter = TransferCounter(self._progress, "fetch", key=self.shown, total=total)
        counter.begin()
        try:
            with open(fd, "wb", buffering=0) as file:
                while data := response.stream.read(_CHUNK):
                    hasher.update(data)
                    size += len(data)
                    counter.count(data)
                    with full_disk(self._store.layout.root):
                        file.write(data)
            digest = f"sha256:{hasher.hexdigest()}"
            if self._digest and digest != self._digest:
                error = DigestMismatch(self._digest, digest, size=size, where=self.shown)
                if self._vertex.checksum:
                    error.hint = f"if this is the intended file, write --checksum={digest}"
                raise error
        except BaseException:
            os.unlink(path)
            counter.end("failed")
            raise
        counter.end("done")
        mtime = _time(response.headers.get("Last-Modified", ""))
        if not self._vertex.checksum:
            self._mtime = str(mtime)
        self._fetched = Fetched(path=path, size=size, mtime=mtime, digest=digest)
        tag = response.headers.get("ETag", "")
        if tag.startswith('"'):  # RFC 9110, section 8.8.1: a weak one does not mean equal bytes
            known = [Content(tag, "http", digest), Content(str(mtime), "time", "")]
            self._store.build_cache.put_contents(self._key, known)


def _without_credentials(url: str) -> tuple[str, dict[str, str]]:
    """Return *url* as it is requested, and the header for the user and password in it."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    plain = urlunsplit((parts.scheme.lower(), host, parts.path, parts.query, ""))
    if not at:
        return plain, {}
    name, _, password = user.partition(":")
    secret = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return plain, {"Authorization": f"Basic {base64.b64encode(secret).decode()}"}


def _texts(error: RegistryError) -> tuple[str, str]:
    if isinstance(error, PlainHttpError):
        return error.message, "write http:// if the server has no HTTPS"
    if isinstance(error, TlsError):
        return error.message, "set SSL_CERT_FILE to the CA certificates"
    return error.message, error.hint or "try again later"


def _time(text: str) -> int:
    """Return the time in a ``Last-Modified`` header in nanoseconds; 0 without a valid one."""
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp())) * SECOND
    except (ValueError, OverflowError):
        return 0
