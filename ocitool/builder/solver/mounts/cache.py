"""``RUN --mount=type=cache``: directories of the store that stay from build to build.

They are locked by flock(2) while a RUN has them, so that a killed build leaves no lock.
"""

from __future__ import annotations

import itertools
import time
from contextlib import AbstractContextManager, ExitStack

from ocitool.builder.mounts import CacheMount
from ocitool.builder.solver.mounts.making import Made, Making
from ocitool.builder.solver.mounts.sources import MountSource
from ocitool.builder.solver.mounts.tree_writer import Sink, write_root, write_source
from ocitool.errors import BuildError
from ocitool.layer.entry import Entry, Kind
from ocitool.store.run_mounts import RunMounts, cache_name
from ocitool_runtime.spec import Mount


def cache(making: Making, mount: CacheMount) -> Made:
    """Mount a cache that `held_caches` has locked."""
    if making.moves and mount.readonly:
        raise BuildError(
            "RUN --mount=type=cache: this isolation cannot mount a cache read-only",
            hint="remove ro, or use --isolation namespaces where it works",
        )
    made = Mount(
        type="bind",
        source=making.caches[mount],
        target=mount.target,
        options=("ro" if mount.readonly else "rw",),
        owned=True,
        movable=True,
    )
    return Made(mounts=(made,))


def held_caches(
    trees: RunMounts,
    mounts: list[tuple[CacheMount, MountSource | None]],
    stack: ExitStack,
    *,
    moves: bool,
) -> dict[CacheMount, str]:
    """Lock the caches of a RUN until *stack* ends; return their directories.

    Two mounts of one cache are one directory.  Locks are taken in the order of the identities, so
    that two builds do not wait for each other.  With *moves* a cache is in one container at a time.
    """
    found: dict[CacheMount, str] = {}
    held: dict[str, str] = {}
    for identity, mount, source in sorted(
        ((_identity(mount, source), mount, source) for mount, source in mounts),
        key=lambda each: each[0],
    ):
        if identity not in held:
            held[identity] = stack.enter_context(_held(trees, identity, mount, source, moves))
        found[mount] = held[identity]
    return found


def _identity(mount: CacheMount, source: MountSource | None) -> str:
    """Return the full name of a cache: its ID and, as in BuildKit, what a new one begins with.

    So mounts of one ID with different owners, modes or sources are different caches.
    """
    owner = (mount.mode, mount.uid, mount.gid)
    if source is not None:
        return f"{mount.id}\0{list(source.content)!r}"
    if owner == (None, None, None):
        return mount.id
    return f"{mount.id}\0{_mode(mount):o} {mount.uid or 0}:{mount.gid or 0}"


def _mode(mount: CacheMount) -> int:
    return 0o755 if mount.mode is None else mount.mode


def _held(
    trees: RunMounts, identity: str, mount: CacheMount, source: MountSource | None, moves: bool
) -> AbstractContextManager[str]:
    def write(sink: Sink) -> None:
        _write(mount, source, sink)

    if mount.sharing == "private":
        names = (cache_name(identity, number) for number in itertools.count())
        return trees.private_cache(names, write)
    exclusive = moves or mount.sharing == "locked"
    return trees.cache(cache_name(identity), write, exclusive=exclusive)


def _write(mount: CacheMount, source: MountSource | None, sink: Sink) -> None:
    """Write what a new cache begins with."""
    if source is None:
        new = Entry("", Kind.DIRECTORY, _mode(mount), mtime=time.time_ns())
        write_root(new._replace(uid=mount.uid or 0, gid=mount.gid or 0), sink)
        return
    if not source.item().is_directory:
        raise BuildError(
            f'"{mount.path}" is not a directory: a cache can only be filled from a directory',
            hint="use a directory as source",
        )
    write_source(source, source.root(), sink)
