"""What a context is: by its text, and by how its bytes begin."""

from __future__ import annotations

import os
from typing import Final, Literal, TypeAlias

from ocitool.builder.dockerfile.values import is_http
from ocitool.builder.git.reference import is_context
from ocitool.errors import LayerError
from ocitool.layer.tar.header import BLOCK, verify

ContextKind: TypeAlias = Literal["path", "stdin", "url", "git"]

STDIN: Final = "-"
#: How compressed files begin: gzip, bzip2, xz, zstd.
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
HEAD: Final = BLOCK  # bytes of a file that `is_archive` looks at


def context_kind(text: str) -> ContextKind:
    """Return the kind of the context *text*; an existing path is never a URL."""
    if text == STDIN:
        return "stdin"
    if os.path.lexists(text):
        return "path"
    if is_context(text):
        return "git"
    return "url" if is_http(text) else "path"


def is_archive(head: bytes) -> bool:
    """Say whether a file that begins with *head* is an archive, and no Dockerfile, as docker does.

    What is compressed is one, whatever is in it.
    """
    if head.startswith(_COMPRESSED) or head[257:262] == b"ustar":
        return True
    if len(head) < HEAD:
        return False
    if head == bytes(HEAD):
        return True  # without a member
    try:
        verify(head, 0)  # archives from before POSIX are known by their checksum
    except LayerError:
        return False
    return True
