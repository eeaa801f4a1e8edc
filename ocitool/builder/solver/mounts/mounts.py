"""The mounts of one RUN, made for as long as it is executed: a function for each type."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocitool.builder.mounts import (
    BindMount,
    CacheMount,
    RunMount,
    SecretMount,
    SshMount,
    TmpfsMount,
)
from ocitool.builder.solver.mounts.secrets import (
    agent_server,
    agent_socket,
    secret_file,
    secret_value,
    secret_variable,
)
from ocitool.builder.solver.mounts.sources import MountSource
from ocitool.builder.solver.step_context import StepContext
from ocitool.errors import BuildError
from ocitool_runtime.spec import Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the sandbox of a RUN has of its mounts."""

    mounts: tuple[Mount, ...] = ()  # in the order in which they are made
    #: In no cache key, and not shown.
    env: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    begun: tuple[Callable[[], None], ...] = ()  # to be called once the command runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What a mount is made with; ``stack`` removes after the RUN what was made for it."""

    context: StepContext
    source: MountSource | None  # what it takes files from
    stack: contextlib.ExitStack


@contextlib.contextmanager
def made(
    context: StepContext, mounts: Sequence[RunMount], sources: Sequence[MountSource | None]
) -> Iterator[Made]:
    """Make *mounts*, each with its source, and remove them at the end.

    Raises:
        BuildError: a mount is not supported, or cannot be had.
    """
    found: list[Mount] = []
    env: dict[str, str] = {}
    begun: list[Callable[[], None]] = []
    # As BuildKit: a mount inside another one is made after it, however they are written.
    order = sorted(zip(mounts, sources, strict=True), key=lambda each: each[0].target.split("/"))
    with contextlib.ExitStack() as stack:
        for mount, source in order:
            making = Making(context=context, source=source, stack=stack)
            one = _MAKERS[type(mount)](making, mount)
            found += one.mounts
            env |= one.env
            begun += one.begun
        yield Made(mounts=tuple(found), env=env, begun=tuple(begun))


def _tmpfs(making: Making, mount: TmpfsMount) -> Made:
    options = ["ro" if mount.readonly else "rw", "nosuid", "nodev"]
    if mount.size:
        options.append(f"size={mount.size}")
    made = Mount(type="tmpfs", target=mount.target, options=tuple(options))
    return Made(mounts=(made,))


def _secret(making: Making, mount: SecretMount) -> Made:
    value = secret_value(mount, making.context.secrets)
    # Without a value the variable is empty, as with BuildKit, and there is no file.
    env = {mount.env: secret_variable(mount, value or b"")} if mount.env else {}
    files = (secret_file(mount, value),) if mount.target and value is not None else ()
    return Made(mounts=files, env=env)


def _ssh(making: Making, mount: SshMount) -> Made:
    server = agent_server(mount, making.context.secrets)
    if server is None:
        return Made()
    making.stack.callback(server.close)
    return Made(mounts=(agent_socket(mount, server),), begun=(server.start,))


def _refused(making: Making, mount: RunMount) -> Made:
    kind = type(mount).__name__.removesuffix("Mount").lower()
    raise BuildError(
        f"RUN --mount=type={kind} is not supported",
        hint="COPY what the command needs, and remove it in the same RUN that used it",
    )


_MAKERS: Mapping[type, Callable[[Making, Any], Made]] = {
    BindMount: _refused,
    CacheMount: _refused,
    TmpfsMount: _tmpfs,
    SecretMount: _secret,
    SshMount: _ssh,
}
