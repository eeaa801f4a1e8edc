"""ADD of URLs: which file a URL means, and what is shown of it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from ocitool.builder.definition import HttpFile
from ocitool.errors import FormatError
from ocitool.oci.digest import Digest

_NAMELESS: Final = "__unnamed__"  # BuildKit's name
_HOST: Final = re.compile(r"(?:[^\s*.]{1,63}\.)*[^\s*.]{1,63}\.?")  # RFC 1035, section 2.3.4
_HIDDEN: Final = "xxxxx:xxxxx"  # in place of user and password, as BuildKit


def http_file(url: str, checksum: str) -> HttpFile:
    """Return the file that *url* means; it must have the digest *checksum*, if there is one.

    Raises:
        FormatError: one of them is invalid.
    """
    return HttpFile(url=url, name=_file_name(url), checksum=_digest(checksum) if checksum else "")


def _digest(text: str) -> str:
    digest = Digest.parse(text)
    if digest.algorithm != "sha256":
        raise FormatError(
            f"--checksum with {digest.algorithm} is not supported", hint="use sha256:..."
        )
    return str(digest)


def _file_name(url: str) -> str:
    """Return the last part of the path, decoded; neither query nor response headers count."""
    name = unquote(_split(url).path, errors="surrogateescape").rstrip("/").rpartition("/")[2]
    if name in (".", "..") or "\0" in name:
        raise FormatError(f"the URL does not name a file: {shown_url(url)}")
    return name or _NAMELESS


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        named = _HOST.fullmatch(parts.hostname or "") is not None
        valid = named and parts.port != 0 and url.isprintable()
    except ValueError:  # the port is not a number, or the IPv6 address is not closed
        valid = False
    if not valid:
        raise FormatError("invalid URL", hint="as in https://host:port/path")
    return parts


def shown_url(url: str) -> str:
    """Return *url* as the history shows it: without user and password."""
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{_HIDDEN}@{host}")) if at else url
