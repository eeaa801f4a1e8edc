"""References to images in OCI image layouts: ``oci-layout://DIRECTORY[:TAG][@DIGEST]``.

Source: buildx, ``--build-context``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from ocitool.errors import FormatError
from ocitool.oci.digest import Digest

SCHEME: Final = "oci-layout://"


def is_layout(text: str) -> bool:
    """Say whether a reference names an image in a layout."""
    return text.startswith(SCHEME)


@dataclass(frozen=True, slots=True)
class LayoutReference:
    """An image of a layout: the one of ``digest``, otherwise of ``tag``, otherwise the only one."""

    directory: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference; a colon after the last slash begins a tag.

        Raises:
            FormatError: it names no directory.
            BadDigest: the digest is malformed.
        """
        name, at, digest = text.removeprefix(SCHEME).partition("@")
        directory, slash, last = name.rpartition("/")
        last, _, tag = last.partition(":")
        if not slash + last:
            raise FormatError(f"{text!r} names no directory", hint=f"as {SCHEME}./layout:latest")
        return cls(f"{directory}{slash}{last}", tag, Digest.parse(digest) if at else None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{SCHEME}{self.directory}{tag}{digest}"
