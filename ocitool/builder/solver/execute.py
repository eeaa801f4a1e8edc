"""Carrying steps out, once the cache has said that they must be.

Imported only then: a build that is cached whole needs none of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from ocitool.builder.context.context import Item
from ocitool.builder.copy.archive import Spooled
from ocitool.builder.copy.entries import Planned
from ocitool.builder.copy.plan import Part, Target, make_directories, plan
from ocitool.builder.copy.sources import Content, FromContext, FromImage, FromText, Source
from ocitool.builder.copy.users import owner_of
from ocitool.builder.dockerfile.values import parse_chmod
from ocitool.builder.solver.ops import CopyOp, RunOp, WorkdirOp
from ocitool.builder.solver.run import run
from ocitool.builder.solver.selection import Selection
from ocitool.builder.solver.step_context import Workshop
from ocitool.errors import BuildError
from ocitool.layer.entry import Kind
from ocitool.layer.index.index import IndexWriter
from ocitool.layer.tar.writer import TarWriter
from ocitool.store.image_fs import LayeredTree
from ocitool.store.layer_content import Layer
from ocitool_runtime.host import userns


def run_command(shop: Workshop, op: RunOp, step: int) -> Layer:
    """RUN: `StepFailed` if the command fails."""
    return run(shop, op, step, userns.usable_maps())


def make_workdir(shop: Workshop, op: WorkdirOp) -> Layer | None:
    """WORKDIR: None if the directory is there."""
    image = LayeredTree(shop.store.layers, op.below)
    if not make_directories(op.path, Target(dest=op.path, tree=image.tree)):
        return None
    owner = owner_of(op.user, image.read) if op.user else None
    target = Target(dest=op.path, tree=image.tree, owner=owner, now=shop.now())
    return write_layer(shop, make_directories(op.path, target))


def copy_files(shop: Workshop, op: CopyOp, selection: Selection) -> Layer:
    """COPY and ADD."""
    image = LayeredTree(shop.store.layers, op.below)
    target = Target(
        dest=op.dest,
        tree=image.tree,
        owner=owner_of(op.chown, image.read) if op.chown else None,
        chmod=parse_chmod(op.chmod) if op.chmod else None,
        now=shop.now(),
    )
    with _parts(shop, selection) as parts:
        layer = write_layer(shop, plan(parts, target), parts)
    # The step is kept under what the files were before they were read once more.
    if selection.image is None and selection.contents(shop) != op.contents:
        raise BuildError(
            "the context changed while it was copied",
            hint="build again, or keep what changes out of it by an ignore file",
        )
    return layer


def image_source(shop: Workshop, image: tuple[str, tuple[Layer, ...]]) -> FromImage:
    """Return an image or a stage as a source of files."""
    name, layers = image
    tree = LayeredTree(shop.store.layers, layers)
    return FromImage(tree, name, lambda: shop.store.lease().path)


@contextlib.contextmanager
def _parts(shop: Workshop, selection: Selection) -> Iterator[list[Part]]:
    """Return the parts of the layer; what they have open is closed at the end."""
    source: Source = FromContext(shop.context)
    if selection.image is not None:
        source = image_source(shop, selection.image)
    parts: list[Part] = []
    with contextlib.ExitStack() as stack:
        for name in selection.sources:
            for item in source.find(name):
                archive = None
                if selection.image is None and selection.unpacks(shop.context, item):
                    place = f"{shop.context.top}/{item.path}"
                    archive = Spooled(place, shop.store.lease().path)
                    stack.callback(archive.close)
                parts.append(Part(source=source, item=item, archive=archive))
        text = FromText(dict(selection.texts), shop.now())
        parts.extend(Part(source=text, item=Item(name, name, False)) for name in selection.texts)
        yield parts


_SECOND = 1_000_000_000


def write_layer(shop: Workshop, planned: Iterable[Planned], parts: Sequence[Part] = ()) -> Layer:
    """Make a layer of *planned*, whose contents *parts* have; nothing is unpacked.

    The shop's epoch is the latest time an entry gets.
    """
    index, epoch = IndexWriter(), shop.epoch
    with contextlib.ExitStack() as stack:
        contents = [stack.enter_context(_contents(number, part, planned))
                    for number, part in enumerate(parts)]  # fmt: skip

        def write(sink: Callable[[bytes], object]) -> None:
            writer = TarWriter(sink)
            for entry, part, handle in planned:
                if epoch is not None and entry.mtime > epoch * _SECOND:
                    entry = entry._replace(mtime=epoch * _SECOND)
                # A tar of ours has whole seconds; its index must say what it says.
                entry = entry._replace(mtime=entry.mtime // _SECOND * _SECOND)
                writer.add(entry)
                index.add(entry, writer.offset)
                if entry.kind == Kind.FILE and entry.size:
                    for piece in contents[part](handle, entry.size):
                        writer.content(piece)
            writer.close()

        layer = shop.store.layers.pack(write, shop.compression)
    shop.store.layers.keep_index(layer.diff_id, index.dump())
    return layer


@contextlib.contextmanager
def _contents(number: int, part: Part, planned: Iterable[Planned]) -> Iterator[Content]:
    if part.archive is not None:
        yield part.archive.content
        return
    handles = []
    if not part.source.random_access:
        handles = [
            item.handle
            for item in planned
            if item.part == number and item.entry.kind == Kind.FILE and item.handle is not None
        ]
    with part.source.contents(handles) as content:
        yield content
