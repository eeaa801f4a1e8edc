"""Authentication files: docker's config.json and podman's auth.json, which have the same format.

In a file, ``credHelpers`` take precedence over ``credsStore``, that over ``auths``, and the most
specific key wins: ``host/namespace/repository`` before ``host/namespace`` before ``host``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ocitool.errors import RegistryError
from ocitool.oci.json_text import well_formed
from ocitool_registry import limits
from ocitool_registry.auth import helpers
from ocitool_registry.auth.credential import Credential

_HUB_NAMES: Final = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_HUB_KEY: Final = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class AuthFile:
    """The content of one file; its secrets are not in its ``repr``."""

    path: str
    fields: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"AuthFile({self.path!r})"

    def get(self, registry: str, repository: str) -> Credential | None:
        """Return the credential that the file itself has for a repository."""
        auths = self._object("auths")
        for key in _keys(registry, repository):
            for written, entry in auths.items():
                if _same(written, key) and (found := self._entry(entry, written)):
                    return found
        return None

    def knows(self, registry: str) -> bool:
        """Return whether the file itself, not a helper, has an entry for *registry*."""
        key = _key(registry)
        return registry in self._object("credHelpers") or any(
            _same(written, key) for written in self._object("auths")
        )

    def helper(self, registry: str) -> str:
        """Return the name of the helper configured for *registry*, or ``""``.

        An empty name means no helper: the default helper is not asked, either (docker/cli).
        """
        store = self.fields.get("credsStore")
        name = str(self._object("credHelpers").get(registry, store) or "")
        if "\0" in name or "/" in name:
            raise RegistryError(f"invalid name of a credential helper: {name!r}", where=self.path)
        return name

    def ask_helper(self, registry: str) -> Credential | None:
        """Return the credential that the helper has for *registry*.

        Raises:
            RegistryError: the helper failed.
        """
        helper = self.helper(registry)
        return helpers.get(helper, server_of(registry)) if helper else None

    def _object(self, name: str) -> Mapping[str, Any]:
        value = self.fields.get(name) or {}
        if not isinstance(value, dict):
            raise RegistryError(
                f"expected an object in {name} of the authentication file", where=self.path
            )
        return value

    def _entry(self, entry: Any, key: str) -> Credential | None:
        if entry is None:
            return None
        if not isinstance(entry, dict):
            raise RegistryError(
                "expected an object for a registry", where=f"{self.path}: auths.{key}"
            )
        username, password = self._pair(entry, key)
        found = Credential(
            username=username,
            password=password,
            identity_token=str(entry.get("identitytoken") or ""),
            registry_token=str(entry.get("registrytoken") or ""),
            origin=self.path,
        )
        # docker writes an empty entry if a helper stores the secret.
        return None if found == Credential() else found

    def _pair(self, entry: Mapping[str, Any], key: str) -> tuple[str, str]:
        text = entry.get("auth")
        if not text:
            return str(entry.get("username") or ""), str(entry.get("password") or "")
        joined = str(text).replace("\r", "").replace("\n", "")  # base64(1) breaks its lines
        try:
            pair = base64.b64decode(joined, validate=True).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError) as error:
            raise RegistryError(
                "invalid base64 encoding of credentials", where=f"{self.path}: auths.{key}.auth"
            ) from error
        username, colon, password = pair.partition(":")
        if not colon:
            raise RegistryError(
                "missing colon between user name and password",
                where=f"{self.path}: auths.{key}.auth",
            )
        return username, password.rstrip("\0")


def load(path: str) -> AuthFile:
    """Read a file; a missing or unreadable one is treated as empty.

    Raises:
        RegistryError: the file has an invalid format, is not a regular file, or is too large.
    """
    try:
        data = _read(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return AuthFile(path, {})
    except OSError as error:
        raise RegistryError(
            f"cannot read the authentication file: {error.strerror}", where=path
        ) from error
    return parse(data, path)


def _read(path: str) -> bytes:
    # Without O_NONBLOCK, opening a pipe without a writer would block forever.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        state = os.fstat(file.fileno())
        if stat.S_ISCHR(state.st_mode) and state.st_rdev == os.makedev(1, 3):
            return b""  # /dev/null
        if not stat.S_ISREG(state.st_mode):
            raise RegistryError("authentication file is not a regular file", where=path)
        data = file.read(limits.AUTHFILE + 1)
    if len(data) > limits.AUTHFILE:
        raise RegistryError(
            f"authentication file is larger than {limits.AUTHFILE} bytes", where=path
        )
    return data


def parse(data: bytes, path: str) -> AuthFile:
    """Parse the content of a file; *path* is for errors.  An empty file has no credentials."""
    try:
        fields = first_value(data) if data.strip() else {}
    except ValueError as error:
        # The text of the error may contain a part of the file, which contains secrets.
        raise RegistryError("authentication file is not valid JSON", where=path) from error
    if not isinstance(fields, dict):
        raise RegistryError("expected a JSON object in the authentication file", where=path)
    return AuthFile(path, fields)


def first_value(data: bytes) -> Any:
    """Decode the first value in *data*: docker's client reads no further.

    Scripts of CI systems write such files, with a quotation mark too many at the end.

    Raises:
        ValueError: there is no valid value, or it is nested too deeply.
    """
    text = data.decode(json.detect_encoding(data), "surrogatepass")
    try:
        value, _ = json.JSONDecoder().raw_decode(text.lstrip())
        return well_formed(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def store(path: str, registry: str, credential: Credential) -> str:
    """Store *credential* in the file or in its helper; returns the path or the helper's name."""
    file = load(path)
    key = server_of(registry)
    if helper := file.helper(registry):
        helpers.store(helper, key, credential)
        _write(path, _with_entry(file, key, {}))  # an empty entry, as docker writes it
        return f"docker-credential-{helper}"
    pair = f"{credential.username}:{credential.password}".encode("utf-8", "surrogateescape")
    entry = {"auth": base64.b64encode(pair).decode()}
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token
    _write(path, _with_entry(file, key, entry))
    return path


def erase(path: str, registry: str) -> bool:
    """Remove *registry* from the file and its helper; returns whether there was a credential."""
    file = load(path)
    helper = file.helper(registry)
    removed = helpers.erase(helper, server_of(registry)) if helper else False
    auths = dict(file._object("auths"))
    stale = [written for written in auths if _same(written, _key(registry))]
    for written in stale:
        del auths[written]
    if stale:
        _write(path, {**file.fields, "auths": auths})
    return removed or bool(stale)


def server_of(registry: str) -> str:
    """Return the key of *registry* in files and helpers."""
    return _HUB_KEY if registry in _HUB_NAMES else registry


def _with_entry(file: AuthFile, key: str, entry: Mapping[str, str]) -> dict[str, Any]:
    auths = {
        written: kept
        for written, kept in file._object("auths").items()
        if not _same(written, _key(key))
    }
    return {**file.fields, "auths": {**auths, key: dict(entry)}}


def _write(path: str, fields: Mapping[str, Any]) -> None:
    path = os.path.realpath(path)  # a symlink, as into a dotfiles repository, is kept
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=".config-")  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(fields, file, indent="\t")
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise RegistryError(
            f"cannot write the authentication file: {error.strerror}", where=path
        ) from error


def _keys(registry: str, repository: str) -> Iterator[str]:
    key = _key(registry)
    parts = repository.split("/") if repository else []
    for count in range(len(parts), -1, -1):
        yield "/".join([key, *parts[:count]])


def _key(name: str) -> str:
    """Return a key without scheme and version, which old files have."""
    for scheme in ("https://", "http://"):
        name = name.removeprefix(scheme)
    name = name.removesuffix("/").removesuffix("/v1").removesuffix("/v2")
    host, slash, path = name.partition("/")
    return f"docker.io{slash}{path}" if host in _HUB_NAMES else name


def _same(written: str, key: str) -> bool:
    return _key(written) == key
