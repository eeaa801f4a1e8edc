"""Turns the words of an address into values, or refuses them by name."""

from __future__ import annotations

from ocitool.errors import BadDigest
from ocitool.oci.digest import Digest
from ocitool_registry import protocol
from ocitool_registry.server.exchange import Refusal


def repository(text: str) -> str:
    """Return *text* if it is a repository's name."""
    if len(text) > protocol.LONGEST_NAME or not protocol.REPOSITORY.fullmatch(text):
        raise Refusal("NAME_INVALID", f"{text!r} is not the name of a repository")
    return text


def digest(text: str) -> Digest:
    """Return *text* as a digest."""
    try:
        return Digest.parse(text)
    except BadDigest as error:
        raise Refusal("DIGEST_INVALID", error.message) from error


def tag(text: str) -> str:
    """Return *text* if it is a tag."""
    if not protocol.TAG.fullmatch(text):
        raise Refusal("TAG_INVALID", f"{text!r} is not a tag")
    return text


def target(text: str) -> Digest | str:
    """Return *text* as a digest, which has a colon, or as a tag, which has none."""
    return digest(text) if ":" in text else tag(text)
