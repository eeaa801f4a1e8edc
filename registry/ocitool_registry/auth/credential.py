"""A credential as a value that does not show itself."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user with a password, or an identity token that token servers exchange."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)  # sent as it is, exchanged by nobody
    origin: str = field(default="", compare=False)  # where it was found; nothing secret

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` field of the scheme Basic (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"
