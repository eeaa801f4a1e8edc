"""Writing the outputs of a build, one after the other: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from ocitool.builder.commit.commit import Committed
from ocitool.builder.options import BuildResult, OutputsFailed
from ocitool.builder.outputs.annotations import select
from ocitool.builder.outputs.exported import Exported
from ocitool.errors import BuildError, OcitoolError, during
from ocitool.image.form import converted
from ocitool.image.image import Image
from ocitool.image.store_content import StoreSource
from ocitool.layer.entry import Entry, Kind
from ocitool.oci.reference import Reference
from ocitool.oci.timestamps import SECOND
from ocitool.progress import Notice, ProgressSink

if TYPE_CHECKING:
    from ocitool.builder.options import BuildOptions
    from ocitool.builder.outputs.engine import Engine
    from ocitool.builder.outputs.output import Output
    from ocitool.image.archive.save import NamedImage
    from ocitool.store.store import Store

Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What outputs are made of."""

    image: Committed
    epoch: int | None  # the time of all files, seconds since 1970; None: each file's own
    options: BuildOptions
    store: Store
    progress: ProgressSink
    stdout: Sink | None  # what gets an output of `STDOUT`

    def source(self) -> Image:
        """Return the image of the steps, in the store."""
        descriptor = self.image.manifest
        return Image(StoreSource(self.store, descriptor), descriptor)


def export(
    outputs: Sequence[Output], job: Job
) -> tuple[tuple[Exported, ...], tuple[OcitoolError, ...]]:
    """Write all *outputs*; returns what was done, and the errors of those that failed."""
    done: list[Exported] = []
    errors: list[OcitoolError] = []
    for output in outputs:
        try:
            for each in _EXPORTERS[output.type](job, output):
                done.append(each)  # what is done before an error counts
        except OcitoolError as error:
            errors.append(error)
    return tuple(done), tuple(errors)


def finished(
    result: BuildResult, exports: Sequence[Exported], errors: Sequence[OcitoolError]
) -> BuildResult:
    """Return *result* with what became of it; raise *errors* if there are any.

    The digests are those of the first image that was written, where one was.
    """
    images = [each for each in exports if each.image is not None]
    if images and (first := images[0]).image is not None and first.id is not None:
        result = replace(result, descriptor=first.image, image_id=first.id)
    tags = [name for each in exports if each.action == "stored" for name in each.names]
    result = replace(result, tags=tuple(tags), exports=tuple(exports))
    if len(errors) == 1 and not exports:
        raise errors[0]
    if errors:
        raise OutputsFailed(errors, result)
    return result


# -- images ---------------------------------------------------------------------------------


def _formed(job: Job, output: Output) -> tuple[Image, Mapping[str, str]]:
    """Return the image of *output*, and the annotations of the entry that names it."""
    platform = job.image.platform
    own = select(output.annotations, platform)
    entry = {**select(job.options.annotations, platform).descriptor, **own.descriptor}
    image = converted(
        job.store,
        job.source(),
        output.form,
        base=job.image.base,
        annotations=own.manifest,
        progress=job.progress,
    )
    return image, entry


def _image(job: Job, output: Output) -> Iterator[Exported]:
    image, _ = _formed(job, output)
    names = tuple(str(Reference.parse(name)) for name in output.names)
    if output.unpack:
        job.store.layers.ensure(image.layers, job.progress)
    if output.store:
        tags = () if output.push_by_digest else names
        for name in tags or ("",):
            job.store.refs.set(name, image.descriptor)
        yield Exported(action="stored", names=tags, image=image.descriptor, id=image.id)
    if output.push:
        from ocitool.image.transfer import push_image

        access = job.options.access
        for name in names:
            with during(f"pushing {name}"):
                push_image(
                    image,
                    Reference.parse(name),
                    source=job.store,
                    by_digest=output.push_by_digest,
                    access=replace(access, insecure=output.insecure or access.insecure),
                    progress=job.progress,
                )
            at = Reference.parse(name)
            pushed = (
                str(replace(at, tag="", digest=image.digest)) if output.push_by_digest else name
            )
            yield Exported(action="pushed", names=(pushed,), image=image.descriptor, id=image.id)


def _layout(job: Job, output: Output) -> Iterator[Exported]:
    from ocitool.image.archive.save import NamedImage, save, save_directory

    image, entry = _formed(job, output)
    names = tuple(str(Reference.parse(name)) for name in output.names)
    images = [NamedImage(image, name, entry) for name in names or ("",)]
    docker = output.type == "docker"
    done = Exported(
        action="wrote", names=names, where=output.dest, image=image.descriptor, id=image.id
    )
    if docker and not output.dest:
        engine = _load(job, output, images)
        if engine is None:
            return
        done = replace(done, action="loaded", where=engine.name)
    elif output.tar:
        with _archive(job, output) as sink:
            save(images, sink, docker=docker)
    else:
        save_directory(images, output.dest, docker=docker)
    yield done


def _load(job: Job, output: Output, images: Sequence[NamedImage]) -> Engine | None:
    from ocitool.builder.outputs.engine import EngineUnavailable, find_engine
    from ocitool.image.archive.save import save

    try:
        engine = find_engine()
        engine.load(partial(save, images))
    except EngineUnavailable as error:
        if output.optional:
            text = f"the image is in ocitool's store only: {error}"
            job.progress.emit(Notice(text=text, level="warning" if error.chosen else "info"))
            return None
        raise
    return engine


# -- files ----------------------------------------------------------------------------------


def _tar(job: Job, output: Output) -> Iterator[Exported]:
    from ocitool.image.rootfs_tar import export_tar

    with _archive(job, output) as sink:
        export_tar(job.source(), job.store, sink, change=_change(job, output))
    yield Exported(action="wrote", where=output.dest)


def _local(job: Job, output: Output) -> Iterator[Exported]:
    from ocitool.builder.outputs.local import export_directory
    from ocitool.image.rootfs_tar import export_tar

    ours = _change(job, output)

    def write(sink: Sink, change: Callable[[Entry], Entry]) -> None:
        export_tar(job.source(), job.store, sink, change=lambda entry: change(ours(entry)))

    for note in export_directory(write, output.dest, delete=output.delete):
        job.progress.emit(Notice(text=f"{output.dest}: {note}", level="warning"))
    yield Exported(action="wrote", where=output.dest)


def _change(job: Job, output: Output) -> Callable[[Entry], Entry]:
    """Return the change of each entry: its time is the epoch, its path is that of the platform."""
    platform = job.image.platform.in_full.replace("/", "_")

    def change(entry: Entry) -> Entry:
        if job.epoch is not None:
            entry = entry._replace(mtime=job.epoch * SECOND)
        if output.platform_split:
            link = f"{platform}/{entry.link}" if entry.kind == Kind.HARDLINK else entry.link
            entry = entry._replace(path=f"{platform}/{entry.path}", link=link)
        return entry

    return change


def _archive(job: Job, output: Output) -> AbstractContextManager[Sink]:
    if not output.to_stdout:
        from ocitool.image.archive.outfile import archive_file

        return archive_file(output.dest)
    if job.stdout is None:
        raise BuildError(
            "there is no standard output to write to", where=output.shown, hint="use dest=FILE"
        )
    return nullcontext(job.stdout)


def _none(job: Job, output: Output) -> Iterator[Exported]:
    yield from ()


_EXPORTERS: Final[Mapping[str, Callable[[Job, Output], Iterator[Exported]]]] = {
    "image": _image,
    "oci": _layout,
    "docker": _layout,
    "tar": _tar,
    "local": _local,
    "cacheonly": _none,
}
