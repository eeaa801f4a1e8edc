"""The mounts of one RUN, made for as long as it is executed: a module for each type."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ocitool.builder.mounts import (
    BindMount,
    CacheMount,
    RunMount,
    SecretMount,
    SshMount,
    TmpfsMount,
)
from ocitool.builder.solver.mounts.bind import bind
from ocitool.builder.solver.mounts.cache import cache, held_caches
from ocitool.builder.solver.mounts.making import Made, Making, moves
from ocitool.builder.solver.mounts.secrets import (
    agent_server,
    agent_socket,
    secret_file,
    secret_value,
    secret_variable,
)
from ocitool.builder.solver.mounts.sources import MountSource
from ocitool.builder.solver.mounts.tmpfs import tmpfs
from ocitool.builder.solver.step_context import StepContext
from ocitool_runtime.spec import Mount


@contextlib.contextmanager
def made(
    context: StepContext, mounts: Sequence[RunMount], sources: Sequence[MountSource | None]
) -> Iterator[Made]:
    """Make *mounts*, each with its source, and remove them at the end.

    Raises:
        BuildError: a mount cannot be had.
    """
    if not mounts:
        yield Made()
        return
    found: list[Mount] = []
    env: dict[str, str] = {}
    begun: list[Callable[[], None]] = []
    # As BuildKit: a mount inside another one is made after it, however they are written.
    order = sorted(zip(mounts, sources, strict=True), key=lambda each: each[0].target.split("/"))
    with contextlib.ExitStack() as stack:
        cached = [(mount, source) for mount, source in order if isinstance(mount, CacheMount)]
        caches = (
            held_caches(context.store.trees, cached, stack, moves=moves(context)) if cached else {}
        )
        for mount, source in order:
            making = Making(context=context, source=source, stack=stack, caches=caches)
            one = _MAKERS[type(mount)](making, mount)
            found += one.mounts
            env |= one.env
            begun += one.begun
        yield Made(mounts=tuple(found), env=env, begun=tuple(begun))


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


_MAKERS: Mapping[type, Callable[[Making, Any], Made]] = {
    BindMount: bind,
    CacheMount: cache,
    TmpfsMount: tmpfs,
    SecretMount: _secret,
    SshMount: _ssh,
}
