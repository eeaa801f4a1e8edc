"""Executing steps, once the cache has missed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.builder.chown_chmod import parse_chmod
from ocitool.builder.context.context import Context, Item
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.context.parents_exclude import Selection
from ocitool.builder.copy.archive import Spooled, is_archive
from ocitool.builder.copy.entries import LayerEntry
from ocitool.builder.copy.plan import Part, Target, make_directories, plan
from ocitool.builder.copy.sources import Content, FromContext, FromText, FromUrl
from ocitool.builder.copy.users import owner_of
from ocitool.builder.definition import Copy, Run, Step, Workdir
from ocitool.builder.solver.copy_digests import CopySource, changed_context
from ocitool.builder.solver.inputs import Inputs
from ocitool.builder.solver.step_context import StepContext
from ocitool.errors import BuildError, FormatError, LayerError
from ocitool.image.image_fs import LayeredTree
from ocitool.layer.entry import Kind
from ocitool.layer.index.index import IndexWriter
from ocitool.layer.tar.writer import TarWriter
from ocitool.oci.timestamps import SECOND
from ocitool.progress import Notice
from ocitool.store.layer_content import Layer

if TYPE_CHECKING:
    from ocitool.builder.git.tree import RemoteTree
    from ocitool.builder.solver.http_file import RemoteFile


def execute(context: StepContext, step: Step, inputs: Inputs) -> Layer:
    """Execute *step* and return its layer, which is empty if it changes nothing.

    Raises:
        StepFailed: a command ended with another exit code than 0.
        OcitoolError: what the store, the build context or the sandbox raises.
    """
    if isinstance(step, Run):
        from ocitool.builder.solver.run import run

        return run(context, step, inputs)
    if isinstance(step, Workdir):
        return _workdir(context, step, inputs.parents)
    return _copy(context, step, inputs)


def _workdir(context: StepContext, step: Workdir, parents: tuple[Layer, ...]) -> Layer:
    image = LayeredTree(context.store.layers, parents)
    if not make_directories(step.path, Target(dest=step.path, tree=image.tree)):
        return write_layer(context, ())
    owner = _owner_of_workdir(context, step, image) if step.user else None
    target = Target(dest=step.path, tree=image.tree, owner=owner, now=context.now())
    return write_layer(context, make_directories(step.path, target))


def _owner_of_workdir(
    context: StepContext, step: Workdir, image: LayeredTree
) -> tuple[int, int] | None:
    """Return the IDs of USER; None if the image has no such user, which WORKDIR does not need."""
    try:
        return owner_of(step.user, image.read)
    except (BuildError, FormatError) as error:
        text = f"WORKDIR {step.path}: the directory belongs to root: {error.message}"
        context.progress.emit(Notice(text=text, level="warning"))
        return None


def _copy(context: StepContext, step: Copy, inputs: Inputs) -> Layer:
    image, source = LayeredTree(context.store.layers, inputs.parents), inputs.source
    assert source is not None  # every COPY has one
    target = Target(
        dest=step.dest,
        tree=image.tree,
        owner=_owner(step, image),
        chmod=parse_chmod(step.chmod) if step.chmod else None,
        now=context.now(),
    )
    with _parts(context, source) as parts:
        layer = write_layer(context, plan(parts, target), parts)
    # The cache key is that of the files as they were before they were read once more.
    if source.context is not None and source.contents() != inputs.contents:
        raise changed_context()
    return layer


def _owner(step: Copy, image: LayeredTree) -> tuple[int, int] | None:
    if not step.chown:
        return None
    try:
        return owner_of(step.chown, image.read)
    except BuildError as error:
        if step.link:
            error.hint = (
                "COPY --link does not read the image's users: use numeric IDs, or remove --link"
            )
        raise


@contextlib.contextmanager
def _parts(context: StepContext, source: CopySource) -> Iterator[list[Part]]:
    """Return the parts of the layer; what they have open is closed at the end."""
    files, parts = source.source(), list[Part]()
    with contextlib.ExitStack() as stack:
        for path in source.step.paths:
            if (remote := source.remotes.get(path)) is not None:
                parts.append(_remote_part(context, source.step, remote, stack))
                continue
            for item in source.items(files, path):
                archive = None
                with source.archive(item) as found:
                    if found is not None and source.context is not None:
                        path = f"{source.context.top}/{item.path}"
                        archive = Spooled(found, context.store.lease().path, path)
                        stack.callback(archive.close)
                parts.append(Part(source=files, item=item, archive=archive))
        texts = dict(source.step.texts)
        text = FromText(texts, context.now())
        parts.extend(Part(source=text, item=Item(name, name, False)) for name in texts)
        yield parts


def _remote_part(
    context: StepContext, step: Copy, remote: RemoteFile | RemoteTree, stack: contextlib.ExitStack
) -> Part:
    """Return what is fetched; *stack* closes what is open."""
    if remote.is_tree:
        return _git_part(step, remote, stack)
    file, archive = remote.file(), None
    if step.unpack_remotes and is_archive(file.path):
        try:
            archive = Spooled(file.path, context.store.lease().path)
        except LayerError as error:
            if error.where == file.path:
                error.where = remote.shown
            raise
        stack.callback(archive.close)
    files = FromUrl(remote.name, file.path, size=file.size, mtime=file.mtime)
    return Part(source=files, item=Item(remote.name, remote.name, False), archive=archive)


def _git_part(step: Copy, remote: RemoteTree, stack: contextlib.ExitStack) -> Part:
    files = stack.enter_context(
        contextlib.closing(Context(remote.directory(), IgnoreRules(), None))
    )
    item = Item("", "", True, Selection(exclude=step.exclude))
    return Part(source=FromContext(files), item=item, itself=True)


def write_layer(
    context: StepContext, entries: Iterable[LayerEntry], parts: Sequence[Part] = ()
) -> Layer:
    """Make a layer of *entries*, whose contents *parts* have; nothing is unpacked.

    The epoch of *context* is the latest time an entry gets.
    """
    index, epoch = IndexWriter(), context.epoch
    with contextlib.ExitStack() as stack:
        contents = [
            stack.enter_context(_contents(number, part, entries))
            for number, part in enumerate(parts)
        ]

        def write(sink: Callable[[bytes], object]) -> None:
            writer = TarWriter(sink)
            for entry, part, handle in entries:
                if epoch is not None and entry.mtime > epoch * SECOND:
                    entry = entry._replace(mtime=epoch * SECOND)
                # Our tars have whole seconds, and the index of a layer says what its tar says.
                entry = entry._replace(mtime=entry.mtime // SECOND * SECOND)
                writer.add(entry)
                index.add(entry, writer.offset)
                if entry.kind == Kind.FILE and entry.size:
                    for piece in contents[part](handle, entry.size):
                        writer.content(piece)
            writer.close()

        layer = context.store.layers.pack(write, context.compression)
    context.store.layers.keep_index(layer.diff_id, index.dump())
    return layer


@contextlib.contextmanager
def _contents(number: int, part: Part, entries: Iterable[LayerEntry]) -> Iterator[Content]:
    if part.archive is not None:
        yield part.archive.content
        return
    handles = []
    if not part.source.random_access:
        handles = [
            each.handle
            for each in entries
            if each.part == number and each.entry.kind == Kind.FILE and each.handle is not None
        ]
    with part.source.contents(handles) as content:
        yield content
