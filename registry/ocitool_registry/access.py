"""How registries are accessed, as a value; apart from the clients, so that it imports fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Encryption, credentials and patience of clients; the same for each registry."""

    insecure: bool = False  # plain HTTP, and certificates that are not verified
    authfile: str = ""  # the only authentication file; "": where docker and podman have theirs
    creds: str = field(default="", repr=False)  # "user:password", instead of any file
    #: A directory: certificates of CAs, ``*.crt``, and of the client, ``*.cert`` with ``*.key``.
    cert_dir: str = ""
    insecure_hosts: tuple[str, ...] = ()  # `insecure` for these alone
    certificates: Mapping[str, str] = field(default_factory=dict, hash=False)  # CA files by host
    retries: int | None = None  # of a request that failed; None: the client's choice
    retry_delay: float | None = None  # seconds before each of them; None: longer each time
