"""The mounts of a RUN, as values of a definition.

Paths are absolute and without dots.  What a mount shows is in no layer.

Source: BuildKit, solver/pb/ops.proto, Mount.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """Files of ``source``, a `LocalContext` or what has a file system; what is written is lost."""

    target: str
    source: int  # a vertex
    path: str = "/"  # of a file or directory of the source
    readonly: bool = True
    source_name: str = ""  # of an image or a stage, for messages


Sharing: TypeAlias = Literal["shared", "private", "locked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMount:
    """A directory of the store that stays from build to build.

    A new one is the directory ``path`` of ``source``, or else an empty one with the owner and mode
    given here, by default root's and 0755.  With another beginning it is another cache.
    """

    target: str
    id: str  # which cache, among all builds
    sharing: Sharing = "shared"  # "private": used by one RUN at a time, others get further ones
    readonly: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    source: int | None = None  # a vertex
    path: str = "/"
    source_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsMount:
    """An empty directory in memory."""

    target: str
    size: int = 0  # bytes; 0: no limit
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMount:
    """A secret that the caller has given, as a file, as a variable, or both."""

    id: str
    target: str = ""  # the file; "": none
    env: str | None = None  # the variable
    required: bool = False  # otherwise the file may be missing, and the variable empty
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SshMount:
    """The socket of an SSH agent that the caller has given."""

    target: str
    id: str = ""  # "": the one called "default"
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


RunMount: TypeAlias = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount
