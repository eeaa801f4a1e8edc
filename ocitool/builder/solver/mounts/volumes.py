"""``--volume``: files of the host, mounted for each RUN.

What is written to one with the option O is lost: an overlay is mounted, whose upper directory is in
an empty snapshot of the driver, which also removes it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ocitool.builder.definition import Volume
from ocitool.builder.solver.step_context import StepContext
from ocitool.errors import BuildError
from ocitool_runtime.host.userns.idmap import usable_maps
from ocitool_runtime.spec import Mount


@contextlib.contextmanager
def mounted(context: StepContext, volumes: Sequence[Volume]) -> Iterator[tuple[Mount, ...]]:
    """Make the mounts of *volumes*, and remove at the end what was written to some.

    Raises:
        BuildError: writes to one cannot be discarded here.
    """
    with contextlib.ExitStack() as stack:
        yield tuple(
            _discarding(context, volume, stack) if volume.discard else _bind(volume)
            for volume in volumes
        )


def _bind(volume: Volume) -> Mount:
    access = "ro" if volume.readonly else "rw"
    return Mount(type="bind", source=volume.source, target=volume.target, options=("rbind", access))


def _discarding(context: StepContext, volume: Volume, stack: contextlib.ExitStack) -> Mount:
    snapshot = stack.enter_context(context.store.layers.prepare(()))
    first, *others = snapshot.mounts
    status = os.stat(volume.source)
    if others or not (first.upper or first.type == "bind"):
        raise BuildError(
            f"-v {volume.source}:{volume.target}:O is not supported with this storage driver",
            hint="use ro, or another --driver",
        )
    if first.upper:
        mount = replace(first, target=volume.target, lower=(volume.source,))
    else:
        mount = _overlay(volume, first.source)
    os.chmod(mount.upper, stat.S_IMODE(status.st_mode))  # as the volume's own directory
    if os.geteuid() == 0:
        os.chown(mount.upper, status.st_uid, status.st_gid)
    return mount


def _overlay(volume: Volume, directory: str) -> Mount:
    """Return an overlay that writes to an empty directory of the driver."""
    upper, work = (os.path.join(directory, name) for name in ("upper", "work"))
    for path in (upper, work):
        os.mkdir(path)
    return Mount(
        type="overlay",
        target=volume.target,
        lower=(volume.source,),
        upper=upper,
        work=work,
        options=("userxattr",) if usable_maps().uid_maps else (),
    )
