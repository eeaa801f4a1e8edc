"""A credential; its secrets are not in its ``repr``."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user name with a password, an identity token (OAuth2 refresh token), or a bearer token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)  # a bearer token, sent unchanged
    origin: str = field(default="", compare=False)  # the file or helper it is from; not secret

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header with the scheme Basic (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode("utf-8", "surrogateescape")
        return f"Basic {base64.b64encode(pair).decode()}"
