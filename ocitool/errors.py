"""Every error ocitool raises, as one tree.

    OcitoolError
    ├─ FormatError (ValueError)      BadReference  BadDigest  BadManifest  DockerfileError
    ├─ NotFound (LookupError)        BlobNotFound  ImageNotFound  LayerNotFound
    ├─ DigestMismatch
    ├─ LayerError                    UnsafePath  UnsupportedEntry  TooLarge
    ├─ StoreError                    StoreLocked  StoreReadOnly  StoreVersion
    ├─ DriverError                   DriverUnavailable
    ├─ RegistryError                 TransportError (ConnectError Timeout)  AuthError  ResponseError
    ├─ BuildError                    StageCycle  UnknownStage  StepFailed
    ├─ ContainerError
    ├─ SandboxError                  SandboxUnavailable  SetupFailed  ResourceLimit
    └─ PluginError

A border translates: no ``OSError``, socket, TLS or JSON error leaves a seam untranslated
(``raise X from error``).  Each error says what happened, ``where`` says at which place of the
input, and ``hint`` says what to do about it.  Nothing here prints or exits; the command line
turns ``exit_code`` into the exit status in one place.
"""

from __future__ import annotations


class OcitoolError(Exception):
    """Root of the tree.  ``str(error)`` is one line without the hint."""

    exit_code: int = 1  # a command may give an error another one, as `run` does with 125

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


# -- input that does not follow its grammar ------------------------------------------------


class FormatError(OcitoolError, ValueError):
    """A document or string does not follow its format; ``where`` is the field or file:line."""


class BadReference(FormatError):
    """An image reference does not follow the grammar."""


class BadDigest(FormatError):
    """A digest does not follow the grammar, or names an algorithm that is not supported."""


class BadManifest(FormatError):
    """A manifest, index or config is not what its media type promises."""


class DockerfileError(FormatError):
    """A Dockerfile is wrong at one place.

    ``line`` counts from 1; ``excerpt`` holds the physical lines that are to blame, for display.
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


# -- things that are not there -------------------------------------------------------------


class NotFound(OcitoolError, LookupError):
    """Something that was asked for by name is not there."""


class BlobNotFound(NotFound):
    """No blob of this digest."""


class ImageNotFound(NotFound):
    """No image of this name."""


class LayerNotFound(NotFound):
    """No unpacked layer of this chain id."""


# -- content -------------------------------------------------------------------------------


class DigestMismatch(OcitoolError):
    """Content is not what its descriptor says.  ``size`` is the number of bytes read."""

    def __init__(self, wanted: str, got: str, *, size: int, where: str = "") -> None:
        super().__init__(
            f"digest mismatch: expected {wanted}, got {got} after {size} bytes",
            where=where,
            hint="run `ocitool system check --repair`"
            if where == "store"
            else "the content is corrupt at its source, or was changed on the way: fetch it again",
        )
        self.wanted = wanted
        self.got = got
        self.size = size


class LayerError(OcitoolError):
    """A layer cannot be read or unpacked."""


class UnsafePath(LayerError):
    """A layer entry would leave the tree it belongs to."""


class UnsupportedEntry(LayerError):
    """A layer entry of a type or form that cannot be represented."""


class TooLarge(LayerError):
    """A layer exceeds one of the limits that keep a hostile one from filling the machine."""


class StoreError(OcitoolError):
    """The store cannot do what was asked."""


class StoreLocked(StoreError):
    """Another process holds what is needed, and did not let go in time."""


class StoreReadOnly(StoreError):
    """The store cannot be changed: by this user, or by anybody."""


class StoreVersion(StoreError):
    """The store on disk has a format this program does not know."""


class DriverError(OcitoolError):
    """A storage driver failed."""


class DriverUnavailable(DriverError):
    """A storage driver cannot work here; the message is the reason."""


# -- registries ----------------------------------------------------------------------------


class RegistryError(OcitoolError):
    """A registry, or the way to it, failed."""


class TransportError(RegistryError):
    """No answer came."""


class ConnectError(TransportError):
    """No connection could be made."""


class Timeout(TransportError):
    """An answer did not come in time."""


class AuthError(RegistryError):
    """The registry wants other credentials."""


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
    """A build cannot go on."""


class StageCycle(BuildError):
    """Build stages depend on each other in a circle."""


class UnknownStage(BuildError):
    """A stage is named that the Dockerfile does not have."""


class StepFailed(BuildError):
    """A RUN command ended with an exit code other than 0.

    ``status`` is that code, ``log`` the last lines it printed, ``excerpt`` the Dockerfile lines.
    The command line passes ``status`` on as its own exit status.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        where: str = "",
        log: tuple[str, ...] = (),
        excerpt: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.log = log
        self.excerpt = excerpt


# -- containers and sandboxes --------------------------------------------------------------


class ContainerError(OcitoolError):
    """A container cannot be made or used as asked."""

    exit_code = 125


class SandboxError(OcitoolError):
    """The sandbox itself failed, not the program in it."""

    exit_code = 125


class SandboxUnavailable(SandboxError):
    """No isolation works here; the message is the probe's reason."""


class SetupFailed(SandboxError):
    """One step of setting the sandbox up failed."""


class ResourceLimit(SandboxError):
    """A limit could not be set, or was exceeded."""


class PluginError(OcitoolError):
    """A plugin is absent, broken, or takes a name that is not its own."""
