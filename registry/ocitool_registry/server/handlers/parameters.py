"""Parses the parameters in a path; `ApiError` if one is invalid."""

from __future__ import annotations

from ocitool.errors import BadDigest
from ocitool.oci.digest import Digest
from ocitool_registry import protocol
from ocitool_registry.server.messages import ApiError


def repository(text: str) -> str:
    """Return *text* if it is a valid repository name."""
    if len(text) > protocol.LONGEST_NAME or not protocol.REPOSITORY.fullmatch(text):
        raise ApiError("NAME_INVALID", f"invalid repository name {text!r}")
    return text


def digest(text: str) -> Digest:
    """Return *text* as a digest."""
    try:
        return Digest.parse(text)
    except BadDigest as error:
        raise ApiError("DIGEST_INVALID", error.message) from error


def tag(text: str) -> str:
    """Return *text* if it is a valid tag."""
    if not protocol.TAG.fullmatch(text):
        raise ApiError("TAG_INVALID", f"invalid tag {text!r}")
    return text


def target(text: str) -> Digest | str:
    """Return *text* as a digest if it has a colon, otherwise as a tag."""
    return digest(text) if ":" in text else tag(text)
