"""The sources of ADD that are fetched, files and git repositories, and what is shown of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from ocitool.builder.definition import GitTree, HttpFile
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.values import source_kind
from ocitool.builder.git.reference import parse_git, shown_git
from ocitool.errors import FormatError
from ocitool.oci.digest import Digest

_NAMELESS: Final = "__unnamed__"  # BuildKit's name
_HOST: Final = re.compile(r"(?:[^\s*.]{1,63}\.)*[^\s*.]{1,63}\.?")  # RFC 1035, section 2.3.4
_HIDDEN: Final = "xxxxx:xxxxx"  # in place of user and password, as BuildKit


def fetched(
    add: do.Add, sources: Sequence[str], checksum: str, warn: Callable[[str], None]
) -> dict[str, HttpFile | GitTree]:
    """Return what is fetched of *sources*, all of them and *checksum* expanded.

    Raises:
        FormatError: a URL, a reference or *checksum* is invalid, or a flag is for something else.
    """
    kinds = {source: source_kind(source) for source in sources}
    if add.keep_git_dir is not None:  # with the flag URLs are repositories, as in BuildKit
        kinds = {source: "git" if kind == "url" else kind for source, kind in kinds.items()}
    if checksum:
        _require_one(kinds, len(sources))
    found: dict[str, HttpFile | GitTree] = {}
    for source, kind in kinds.items():
        if kind == "url":
            found[source] = http_file(source, checksum)
        elif kind == "git":
            reference = parse_git(source)
            tree = reference.with_flags(keep_git_dir=add.keep_git_dir, checksum=checksum)
            if tree.keep_git_dir and tree.subdir:
                warn(f"the .git directory is not kept for a subdirectory: {tree.subdir}")
            found[source] = tree
    if add.keep_git_dir and "git" not in kinds.values():
        warn("--keep-git-dir has no effect: no source is a git repository")
    return found


def _require_one(kinds: Mapping[str, str], count: int) -> None:
    if count != 1:
        raise FormatError(
            "checksum can't be specified for multiple sources", hint="write an ADD for each"
        )
    if set(kinds.values()) == {"path"}:
        raise FormatError(
            "checksum requires HTTP(S) or Git sources",
            hint="remove --checksum: the content of files in the build context is always known",
        )


def shown_source(source: str) -> str:
    """Return a source that is fetched as the history shows it: without user and password."""
    return shown_git(source) if source_kind(source) == "git" else shown_url(source)


# -- files of HTTP servers ------------------------------------------------------------------


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
        raise FormatError("invalid URL", hint="use https://host:port/path")
    return parts


def shown_url(url: str) -> str:
    """Return *url* as the history shows it: without user and password."""
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{_HIDDEN}@{host}")) if at else url
