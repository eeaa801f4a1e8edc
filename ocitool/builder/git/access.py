"""How a repository is reached: its URL without credentials, and these as configuration of git.

Source: docker's documentation, "Build secrets", "Git authentication for remote contexts".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ocitool.builder.git.reference import shown_git, split_credentials
from ocitool.builder.secrets.secrets import Secrets
from ocitool.errors import BuildError

#: Secrets with the whole value of the header, and with a token.  The first that is there counts,
#: and those of a host before the others.
_HEADER: Final = "GIT_AUTH_HEADER"
_TOKEN: Final = "GIT_AUTH_TOKEN"
_TOKEN_USER: Final = "x-access-token"
#: A token for one repository there is one for all of them, as in BuildKit.
_ONE_OWNER: Final = ("https://github.com/", "https://www.github.com/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A repository's URL as git gets it, what messages call it, and configuration."""

    url: str
    shown: str
    config: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)


def access(remote: str, secrets: Secrets) -> Access:
    """Return how *remote* is reached; a secret comes before user and password in the URL.

    Raises:
        BuildError: a secret cannot be sent.
    """
    url, user = split_credentials(remote)
    config = {}
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        owner = f"{parts.scheme}://{parts.netloc}/"
        if header := _secret(parts.netloc, parts.hostname or "", secrets):
            config = _sent(header, owner if owner in _ONE_OWNER else url)
        elif user:
            config = _sent(_basic(user), owner)
    return Access(url=url, shown=shown_git(remote), config=config)


def _sent(header: str, scope: str) -> dict[str, str]:
    """Return the configuration that sends *header* only with requests for *scope*."""
    return {
        f"http.{scope}.extraHeader": f"Authorization: {header}",
        f"http.{scope}.followRedirects": "false",  # it would be sent to the other server
    }


def _secret(address: str, host: str, secrets: Secrets) -> str:
    for end in (f".{address}", f".{host}", ""):
        for kind in (_HEADER, _TOKEN):
            value = secrets.read(kind + end)
            if value is not None:
                text = value.decode("utf-8", "replace").strip()
                if not text.isascii() or not text.isprintable():
                    raise BuildError(
                        f"secret {kind}{end} cannot be sent in a header",
                        hint="its value must be one line of ASCII text",
                    )
                return text if kind == _HEADER else _basic(f"{_TOKEN_USER}:{text}")
    return ""


def _basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode('utf-8', 'surrogateescape')).decode()}"
