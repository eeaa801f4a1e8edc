"""``RUN --mount=type=bind``: files of the build context, of a stage or of an image.

A stage or an image is mounted as the driver has it.  Files of the context are copied, for what is
ignored must not be seen, and who owns them on the host does not count; so is all that a sandbox
without mounts gets.  What is written is lost with the copy, or with the writable layer.
"""

from __future__ import annotations

from dataclasses import replace

from ocitool.builder.mounts import BindMount
from ocitool.builder.solver.copy_digests import changed_context
from ocitool.builder.solver.mounts.making import Made, Making
from ocitool.builder.solver.mounts.sources import MountSource
from ocitool.builder.solver.mounts.tree_writer import write_source
from ocitool_runtime.spec import Mount


def bind(making: Making, mount: BindMount) -> Made:
    """Mount the files."""
    source = making.source
    assert source is not None  # every bind mount has one
    made = None if source.context is not None or making.moves else _stacked(making, mount, source)
    return Made(mounts=(made or _copied(making, mount, source),))


def _stacked(making: Making, mount: BindMount, source: MountSource) -> Mount | None:
    """Return a mount as the driver describes it; None where it takes several for one tree."""
    layers, path = making.context.store.layers, source.item().path
    if mount.readonly:
        stack = layers.view(source.layers)
    else:
        stack = making.stack.enter_context(layers.prepare(source.layers)).mounts
    first, *others = stack
    if others:
        return None
    kept = tuple(option for option in first.options if option not in ("ro", "rw"))
    inside = (f"subpath={path}",) if path else ()
    access = "ro" if mount.readonly else "rw"
    return replace(first, target=mount.target, options=(*kept, access, *inside), owned=True)


def _copied(making: Making, mount: BindMount, source: MountSource) -> Mount:
    item, root = source.item(), source.root()
    trees = making.context.store.trees
    copy = trees.copy(lambda sink: write_source(source, root, sink))
    path = making.stack.enter_context(copy)
    if source.changed():
        raise changed_context()
    return Mount(
        type="bind",
        source=path if item.is_directory else f"{path}/{item.name}",
        target=mount.target,
        options=("ro" if mount.readonly else "rw",),
        owned=True,
        movable=True,
    )
