"""``RUN --mount``: what a mount says becomes a mount of the definition."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, cast

from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.mounts import MountFields, parse_mount
from ocitool.builder.frontend.evaluate import StageState
from ocitool.builder.mounts import (
    BindMount,
    CacheMount,
    RunMount,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from ocitool.errors import FormatError

#: The build argument whose value separates caches of one ID.
CACHE_NAMESPACE: Final = "BUILDKIT_CACHE_MOUNT_NS"
_SOCKETS: Final = "/run/buildkit/ssh_agent"  # behind it the number of the mount

SourceOf: TypeAlias = Callable[[str, str], tuple[int, str]]
"""Returns the vertex that ``from`` names for a target, and what messages call it."""


def run_mounts(state: StageState, instruction: do.Run, source_of: SourceOf) -> tuple[RunMount, ...]:
    """Return the mounts of a RUN, in the order in which they are written.

    Raises:
        FormatError: a mount is invalid once its variables are expanded.
    """
    return tuple(_mounts(state, instruction, source_of))


def _mounts(state: StageState, instruction: do.Run, source_of: SourceOf) -> Iterator[RunMount]:
    sockets = 0
    for flag in instruction.mounts:
        fields = parse_mount(flag, state.expand)
        if fields.type == "secret":
            yield _secret(state, fields)
        elif fields.type == "ssh":
            yield _ssh(state, fields, sockets)
            sockets += 1
        elif fields.type == "tmpfs":
            target = _target(state, fields.target)
            yield TmpfsMount(target=target, size=fields.size, readonly=fields.readonly)
        elif fields.type == "cache":
            yield _cache(state, fields, flag.from_, source_of)
        else:
            target = _target(state, fields.target)
            source, called = source_of(flag.from_, target)
            yield BindMount(
                target=target,
                source=source,
                path=_inside(fields.source),
                readonly=fields.readonly,
                source_name=called,
            )


def agent_socket(mounts: tuple[RunMount, ...]) -> dict[str, str]:
    """Return the variable that says where the first SSH agent is; nothing without any."""
    first = next((mount for mount in mounts if isinstance(mount, SshMount)), None)
    return {} if first is None else {"SSH_AUTH_SOCK": first.target}


def _cache(state: StageState, fields: MountFields, from_: str, source_of: SourceOf) -> CacheMount:
    target = _target(state, fields.target)
    name = fields.id or _clean(fields.target)
    source, called = source_of(from_, target) if from_ else (None, "")
    path, owner = _inside(fields.source), _owner(fields)
    if path != "/":
        if source is None:
            raise FormatError(
                f"RUN --mount=type=cache: source={fields.source} is not supported without from",
                hint=(
                    "remove source, or add from= to fill a new cache with files of an image or "
                    "stage"
                ),
            )
        owner = {}  # as BuildKit: it is that of the directory
    elif owner:
        source, called = None, ""  # as BuildKit: a directory of that owner is an empty one
    return CacheMount(
        target=target,
        id=f"{state.scope.given.get(CACHE_NAMESPACE, '')}/{name}",
        sharing=cast(Sharing, fields.sharing or "shared"),
        readonly=fields.readonly,
        source=source,
        path=path,
        source_name=called,
        **owner,
    )


def _secret(state: StageState, fields: MountFields) -> SecretMount:
    name = fields.source or fields.id or posixpath.basename(fields.target.rstrip("/"))
    target = fields.target
    if not target and fields.env is None:
        target = f"/run/secrets/{posixpath.basename(name)}"
    return SecretMount(
        id=name,
        target=_target(state, target) if target else "",
        env=fields.env,
        required=fields.required,
        **_owner(fields),
    )


def _ssh(state: StageState, fields: MountFields, number: int) -> SshMount:
    return SshMount(
        target=_target(state, fields.target or f"{_SOCKETS}.{number}"),
        id=fields.id,
        required=fields.required,
        **_owner(fields),
    )


def _owner(fields: MountFields) -> dict[str, Any]:
    """Return the owner and the mode, as far as they are given; of a mode only the permissions."""
    mode = None if fields.mode is None else fields.mode & 0o777
    given = {"mode": mode, "uid": fields.uid, "gid": fields.gid}
    return {key: value for key, value in given.items() if value is not None}


def _target(state: StageState, text: str) -> str:
    """Return the absolute target of a mount, which is relative to the working directory."""
    target = state.absolute(text)
    if target == "/":
        raise FormatError(
            f'invalid mount target "{target}"', hint="write target=PATH, any but the root"
        )
    return target


def _inside(source: str) -> str:
    """Return *source* as a path that does not leave its root."""
    return _clean(f"/{source}")


def _clean(path: str) -> str:
    """Return *path* without dots and without doubled slashes, also at the beginning."""
    clean = posixpath.normpath(path)
    return f"/{clean.lstrip('/')}" if clean.startswith("/") else clean
