"""A build as values: what a frontend makes of its source, and what the solver executes.

A definition is a graph of vertices with the image's configuration beside it.  A vertex is named by
its number, its position in `Definition.vertices`, and stands behind the vertices it names.
Nothing here touches a store, a registry or the machine.

Source: BuildKit, docs/dev/solver.md and solver/pb/ops.proto, whose model this is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ocitool.builder.mounts import RunMount
from ocitool.errors import BuildError, DockerfileError, FormatError, OcitoolError
from ocitool.oci.config import ImageConfig, RunConfig
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform
from ocitool_runtime.defaults import SHM_SIZE, Network, Resources, Rlimit

#: Directory of the container in which a heredoc that is a program is mounted.
SCRIPTS: Final = "/dev/pipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """The empty image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """An image of the store or of a registry."""

    reference: str
    platform: Platform
    digest: Digest  # of its manifest for the platform


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalContext:
    """A directory of the builder, the build context, without the files that are ignored."""

    name: str = "context"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFile:
    """A file that is fetched with HTTP."""

    url: str  # may have user and password
    name: str  # of the file
    checksum: str = ""  # the digest that the content must have


@dataclass(frozen=True, slots=True, kw_only=True)
class GitTree:
    """The files of one commit of a git repository."""

    remote: str  # a URL, or user@host:path; may have user and password
    ref: str = ""  # a branch, a tag or all digits of a commit; default: the default branch
    subdir: str = ""  # the directory of which the files are taken
    checksum: str = ""  # what the ID of the commit, or of an annotated tag, begins with
    keep_git_dir: bool = False
    submodules: bool = True
    commit_time: bool = False  # the time of the files, in place of that of the build
    by_commit: bool = False  # `checksum` says which commit, wherever ``ref`` is


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file or directory of the host, mounted for a command; what is in it is in no layer."""

    source: str  # absolute path on the host
    target: str  # absolute path in the container
    readonly: bool = False
    discard: bool = False  # whether what is written to it is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a command may do beside docker's default, and what it may not."""

    added: tuple[str, ...] = ()  # capabilities; "CAP_ALL" is each that there is
    dropped: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a command finds around it, besides a file system and an environment."""

    network: Network = Network.DEFAULT
    hostname: str = ""  # default: `solver.run.HOSTNAME`
    hosts: tuple[str, ...] = ()  # further lines of /etc/hosts
    shm_size: int = SHM_SIZE  # bytes of /dev/shm
    rlimits: tuple[Rlimit, ...] = ()
    dns: tuple[str, ...] = ()  # name servers instead of the host's
    dns_search: tuple[str, ...] = ()  # search domains instead of the host's
    dns_options: tuple[str, ...] = ()  # likewise
    image_files: tuple[str, ...] = ()  # hosts and resolv.conf that are the image's own
    volumes: tuple[Volume, ...] = ()
    rights: Rights = field(default_factory=Rights)
    resources: Resources = field(default_factory=Resources)  # no part of a cache key


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device of the host that a command is given, by its name in CDI."""

    name: str  # vendor/class=device
    required: bool = False  # otherwise it may be missing
    allowed: bool = False  # whether the caller allows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command, executed on the file system of ``base``."""

    base: int
    platform: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(hash=False)
    cwd: str
    user: str
    around: Surroundings = field(default_factory=Surroundings)
    script: str = ""  # content of the program that ``args[-1]`` names, below `SCRIPTS`
    insecure: bool = False  # with all capabilities, and without a seccomp filter
    devices: tuple[Device, ...] = ()
    mounts: tuple[RunMount, ...] = ()  # in the order in which they are written
    #: Set for the command, before what ``env`` says, without being a part of the cache key.
    secret_env: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Files of ``source``, and ``texts``, copied onto the file system of ``base``."""

    base: int
    platform: str
    source: int  # a `LocalContext`, or what has a file system
    paths: tuple[str, ...]  # of the source; may have wildcards
    dest: str  # absolute; a directory if it ends with a slash
    texts: tuple[tuple[str, bytes], ...] = ()  # names and contents of further files
    chown: str = ""  # user[:group], names or IDs of the image
    chmod: str = ""  # octal or symbolic
    remotes: tuple[tuple[str, int], ...] = ()  # which of ``paths`` are fetched, and their vertices
    unpack: bool = False  # ADD: whether archives of the context are unpacked,
    unpack_remotes: bool = False  # and those that are fetched
    link: bool = False  # copied onto nothing, whatever ``base`` has; the layer stands upon that
    parents: bool = False  # whether paths are kept beneath the destination
    exclude: tuple[str, ...] = ()  # patterns of what is not taken from directories
    source_name: str = ""  # of an image or a stage, for messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir:
    """A directory, created on the file system of ``base`` if it is missing."""

    base: int
    platform: str
    path: str
    user: str  # who owns the directories that are created


Step: TypeAlias = Run | Copy | Workdir
"""The vertices that make a layer."""

Vertex: TypeAlias = Scratch | SourceImage | LocalContext | HttpFile | GitTree | Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The lines of a file that a vertex comes from."""

    file: str
    line: int  # the first one, from 1
    excerpt: tuple[str, ...] = ()  # the lines themselves
    note: str = ""  # where the instruction stands that these lines execute, if not in them

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @contextlib.contextmanager
    def in_errors(self) -> Iterator[None]:
        """Add this location to the errors that are raised within the block."""
        try:
            with self._placed():
                yield
        except OcitoolError as error:
            error.hint = "; ".join(filter(None, (self.note, error.hint)))
            raise

    @contextlib.contextmanager
    def _placed(self) -> Iterator[None]:
        try:
            yield
        except DockerfileError:
            raise
        except FormatError as error:
            raise DockerfileError(
                error.message,
                name=self.file,
                line=self.line,
                excerpt=self.excerpt,
                hint=error.hint,
            ) from error
        except OcitoolError as error:
            if not error.where.startswith(str(self)):
                error.where = f"{self}: {error.where}" if error.where else str(self)
            if not error.excerpt:
                error.excerpt, error.line = self.excerpt, self.line
            raise
        except OSError as error:  # of the build context: the store raises errors of its own
            if error.filename is None or not error.strerror:
                raise
            unreadable = BuildError(
                f"{error.filename}: {error.strerror}",
                where=str(self),
                hint="make it readable, or add it to .dockerignore",
            )
            unreadable.excerpt, unreadable.line = self.excerpt, self.line
            raise unreadable from error


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One entry of the image's history; ``vertex`` is the one whose layer it describes."""

    created_by: str
    vertex: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDefinition:
    """What the image has beside its layers."""

    platform: Platform
    run: RunConfig
    history: tuple[HistoryEntry, ...] = ()  # since the base image
    author: str = ""
    base: ImageConfig | None = None  # None: scratch
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)  # of the manifest
    created_annotation: bool = False  # whether the manifest has the time of creation, too
    omit_history: bool = False  # no entry of this build, and none of the base


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A whole build."""

    vertices: tuple[Vertex, ...]
    result: int  # the vertex whose file system the image has
    image: ImageDefinition
    epoch: int | None  # SOURCE_DATE_EPOCH: the latest time of anything new, in seconds
    uncached: frozenset[int] = frozenset()  # vertices to be executed again
    #: What progress calls a vertex; each step has a name, other vertices without one are not shown.
    names: Mapping[int, str] = field(hash=False)
    locations: Mapping[int, Location] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """What a reference stands for on one platform."""

    digest: Digest  # of the manifest
    config: ImageConfig


Resolver: TypeAlias = Callable[[str, Platform], ResolvedImage]
"""Resolves a reference for a platform without fetching any layer; raises `OcitoolError`.

This is all that a frontend learns about images.
"""


class Graph:
    """Collects the vertices of a definition."""

    def __init__(self) -> None:
        self.vertices: list[Vertex] = []
        self.names: dict[int, str] = {}
        self.locations: dict[int, Location] = {}

    def add(self, vertex: Vertex, location: Location | None = None, name: str = "") -> int:
        """Add *vertex* and return its number; *name* is what progress calls it."""
        number = len(self.vertices)
        self.vertices.append(vertex)
        if location is not None:
            self.locations[number] = location
        if name:
            self.names[number] = name
        return number
