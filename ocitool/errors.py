"""Every error ocitool raises, as one tree.

    OcitoolError
    ├─ FormatError (ValueError)      BadReference  BadDigest  BadManifest (NotAnImage)
    │                                DockerfileError (InvalidInstruction)
    ├─ NotFound (LookupError)        BlobNotFound  ImageNotFound  LayerNotFound
    ├─ DigestMismatch
    ├─ LayerError                    UnsafePath  UnsupportedEntry  TooLarge
    ├─ StoreError                    StoreLocked  StoreReadOnly  StoreVersion
    ├─ DriverError                   DriverUnavailable
    ├─ RegistryError                 TransportError (ConnectError Timeout)  AuthError  ResponseError
    ├─ BuildError                    StageCycle  UnknownStage  StepFailed  OutputsFailed
    ├─ ContainerError
    ├─ SandboxError                  SandboxUnavailable  SetupFailed
    └─ PluginError

No ``OSError``, socket, TLS or JSON error leaves the library: they are translated (``raise X from
error``).  The message is a whole sentence, in lower case and without a full stop.  ``where`` adds
the path, URL or field that it is about, and ``hint`` says what to do.  The library never prints or
exits; the command line uses ``exit_code`` as its exit status.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class OcitoolError(Exception):
    """Base class of all errors.  ``str(error)`` is one line, without the hint."""

    exit_code: int = 1  # `run` uses 125 for some

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        # Of a build: the lines of the Dockerfile at fault, and the number of the first, from 1.
        self.excerpt: tuple[str, ...] = ()
        self.line = 0

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@contextmanager
def during(action: str) -> Iterator[None]:
    """Put *action* in front of errors, such as ``pulling docker.io/library/debian:12``."""
    try:
        yield
    except OcitoolError as error:
        more = error.where and not action.endswith(f" {error.where}")
        error.where = f"{action}: {error.where}" if more else action
        raise


# -- input that does not follow its grammar ------------------------------------------------


class FormatError(OcitoolError, ValueError):
    """A document or string does not follow its format; ``where`` is the field or file:line."""


class BadReference(FormatError):
    """An image reference does not follow the grammar."""


class BadDigest(FormatError):
    """A digest does not follow the grammar, or names an algorithm that is not supported."""


class BadManifest(FormatError):
    """A manifest, index or config does not follow the format of its media type."""


class NotAnImage(BadManifest):
    """A manifest is that of an artifact, which cannot be run."""


class DockerfileError(FormatError):
    """A Dockerfile has an error.

    ``line`` counts from 1; ``excerpt`` has the lines of the file that cause it, for display.
    """

    def __init__(
        self,
        message: str,
        *,
        name: str = "Dockerfile",
        line: int = 0,
        excerpt: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, where=f"{name}:{line}" if line else name, hint=hint)
        self.name = name
        self.line = line
        self.excerpt = excerpt


class InvalidInstruction(DockerfileError):
    """An unknown instruction of a Dockerfile, or one that is invalid for any value of variables."""


# -- missing things ------------------------------------------------------------------------


class NotFound(OcitoolError, LookupError):
    """Something that was asked for by its name does not exist."""


class BlobNotFound(NotFound):
    """There is no blob with this digest."""


class ImageNotFound(NotFound):
    """There is no image with this name."""


class LayerNotFound(NotFound):
    """There is no unpacked layer with this chain ID."""


# -- content -------------------------------------------------------------------------------


class DigestMismatch(OcitoolError):
    """Content does not match its digest.  ``size`` is the number of bytes read.

    *kind* is what the digest is called: ``digest``, or ``diff ID`` for that of a layer's tar.
    """

    def __init__(
        self, wanted: str, got: str, *, size: int, where: str = "", kind: str = "digest"
    ) -> None:
        super().__init__(
            f"{kind} mismatch: expected {wanted}, got {got} after {size} bytes",
            where=where,
            hint=_mismatch_hint(where, kind),
        )
        self.wanted = wanted
        self.got = got
        self.size = size


def _mismatch_hint(where: str, kind: str) -> str:
    if where == "store":
        return "run `ocitool system check --repair`"
    if kind == "diff ID":
        return "the config of the image does not fit this layer: make the image again"
    return "the content is corrupt at its source, or was changed in transit: fetch it again"


class LayerError(OcitoolError):
    """A layer cannot be read or unpacked."""


class UnsafePath(LayerError):
    """A layer entry points outside of the root directory."""


class UnsupportedEntry(LayerError):
    """A layer entry has a type or form that is not supported."""


class TooLarge(LayerError):
    """A layer exceeds one of the limits that protect from hostile layers."""


class StoreError(OcitoolError):
    """An operation of the store failed."""


class StoreLocked(StoreError):
    """Another process holds a lock, and did not release it in time."""


class StoreReadOnly(StoreError):
    """The store cannot be changed: by this user, or by anybody."""


class StoreVersion(StoreError):
    """The store on disk has an unsupported format."""


class DriverError(OcitoolError):
    """A storage driver failed."""


class DriverUnavailable(DriverError):
    """A storage driver does not work on this system; the message is the reason."""


# -- registries ----------------------------------------------------------------------------


class RegistryError(OcitoolError):
    """A registry, or the connection to it, failed."""


class TransportError(RegistryError):
    """There was no response."""


class ConnectError(TransportError):
    """No connection could be made."""


class Timeout(TransportError):
    """There was no response in time."""


class AuthError(RegistryError):
    """The registry refused the credentials, or needs some."""


class ResponseError(RegistryError):
    """The registry answered with an error.

    ``status`` is the HTTP status, ``code`` the registry's own code (``MANIFEST_UNKNOWN``) or
    ``""``, ``detail`` its message, ``url`` the address without anything secret, ``retryable``
    whether the same request may succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        detail: str = "",
        url: str = "",
        retryable: bool = False,
        where: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.code = code
        self.detail = detail
        self.url = url
        self.retryable = retryable


# -- builds --------------------------------------------------------------------------------


class BuildError(OcitoolError):
    """A build failed."""


class StageCycle(BuildError):
    """Build stages depend on each other in a circle."""


class UnknownStage(BuildError):
    """The Dockerfile has no stage with this name."""


class StepFailed(BuildError):
    """A RUN command ended with an exit code other than 0.

    ``status`` is that code, ``log`` the last lines of its output, ``excerpt`` the Dockerfile lines.
    The command line exits with ``status``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        where: str = "",
        log: tuple[str, ...] = (),
        line: int = 0,
        excerpt: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.log = log
        self.line = line
        self.excerpt = excerpt


# -- containers and sandboxes --------------------------------------------------------------


class ContainerError(OcitoolError):
    """A container cannot be created or used as requested."""

    exit_code = 125


class SandboxError(OcitoolError):
    """The sandbox failed, not the program in it."""

    exit_code = 125


class SandboxUnavailable(SandboxError):
    """No isolation mode works on this system; the message is the reason."""


class SetupFailed(SandboxError):
    """One step of the sandbox setup failed."""


class PluginError(OcitoolError):
    """A plugin is missing, cannot be loaded, or uses a name that is already taken."""
