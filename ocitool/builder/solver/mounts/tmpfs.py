"""``RUN --mount=type=tmpfs``: an empty directory in memory."""

from __future__ import annotations

import time

from ocitool.builder.mounts import TmpfsMount
from ocitool.builder.solver.mounts.making import Made, Making
from ocitool.builder.solver.mounts.tree_writer import write_root
from ocitool.errors import BuildError
from ocitool.layer.entry import Entry, Kind
from ocitool_runtime.spec import Mount


def tmpfs(making: Making, mount: TmpfsMount) -> Made:
    """Mount it; a sandbox without mounts has a directory of the disk for it."""
    access = "ro" if mount.readonly else "rw"
    if not making.moves:
        size = (f"size={mount.size}",) if mount.size else ()
        options = (access, "nosuid", "nodev", *size)
        return Made(mounts=(Mount(type="tmpfs", target=mount.target, options=options),))
    if mount.size:
        raise BuildError(
            "RUN --mount=type=tmpfs: this isolation cannot limit the size",
            hint="remove size, or use --isolation namespaces where it works",
        )
    trees = making.context.store.trees
    empty = Entry("", Kind.DIRECTORY, 0o1777, mtime=time.time_ns())  # as the kernel makes it
    path = making.stack.enter_context(trees.copy(lambda sink: write_root(empty, sink)))
    made = Mount(
        type="bind", source=path, target=mount.target, options=(access,), owned=True, movable=True
    )
    return Made(mounts=(made,))
