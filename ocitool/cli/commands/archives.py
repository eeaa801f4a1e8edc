"""``save``, ``load``, ``import``, ``export``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.completion.values import files, images
from ocitool.cli.options.shared import epoch_of_environment, progress_option
from ocitool.cli.output.outfile import archive_to
from ocitool.cli.output.output import write_line
from ocitool.errors import FormatError, NotFound

if TYPE_CHECKING:
    from ocitool.store.store import Store

output_option = click.option(
    "-o", "--output", metavar="FILE", shell_complete=files, help="Write to FILE instead of stdout"
)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=images)
@output_option
@pass_app
def save(app: App, names: tuple[str, ...], output: str | None) -> None:
    """Save images to a tar archive

    docker, podman, skopeo and containerd can load the archive.  A name without a tag saves all tags
    of the repository.  An image saved by its ID or its digest has no name in it.  FILE can be read
    by its owner alone.
    """
    from ocitool.image.archive.save import NamedImage
    from ocitool.image.archive.save import save as save_images
    from ocitool.image.store_content import local_image

    with app.store() as store:
        full = [each for name in names for each in _all_tags(store, name)]
        images = [NamedImage(local_image(store, n), _kept_name(store, n)) for n in full]
        with archive_to(output) as sink:
            save_images(images, sink)


def _all_tags(store: Store, name: str) -> list[str]:
    """Return all tags of the repository *name*, as docker saves it, or else *name*."""
    from ocitool.oci.reference import is_image_id, is_repository

    if is_image_id(name) or not is_repository(name):
        return [name]
    return store.tags_of(name) or [name]


def _kept_name(store: Store, name: str) -> str:
    """Return the full form of *name* if it is the tag of an image, and "" for an ID or a digest."""
    from ocitool.oci.reference import Reference, is_image_id

    if is_image_id(name):
        return ""
    reference = Reference.parse(name)
    named = any(refs.get(str(reference)) for refs in store.all_refs)
    return str(reference) if named and reference.digest is None else ""


@click.command()
@click.argument("image", metavar="IMAGE", shell_complete=images)
@output_option
@pass_app
def export(app: App, image: str, output: str | None) -> None:
    """Export the root file system of an image as a tar archive

    The layers are merged while the archive is written; none of them is unpacked to disk.  FILE can
    be read by its owner alone.
    """
    from ocitool.image.rootfs_tar import export_tar
    from ocitool.image.store_content import local_image

    with app.store() as store, archive_to(output) as sink:
        export_tar(local_image(store, image), store, sink)


@click.command()
@click.option(
    "-i", "--input", "input_", metavar="FILE", shell_complete=files,
    help="Read from FILE instead of stdin",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Do not show progress")
@progress_option
@pass_app
def load(app: App, input_: str | None, quiet: bool, progress: str) -> None:
    """Load images from a tar archive or stdin

    Reads archives of `docker save` and `podman save`, and OCI image layouts in a tar archive.  The
    layers are unpacked, so that the images are ready to run.
    """
    from ocitool.cli.images.listing import familiar
    from ocitool.image.archive.archive import load as load_images

    with (
        app.progress("quiet" if quiet else progress) as sink,
        _input(input_) as stream,
        app.store(sink) as store,
    ):
        images = load_images(stream, into=store, progress=sink)
    for image in images:
        shown = familiar(image.name) if image.name else str(image.id)
        write_line(f"Loaded image{'' if image.name else ' ID'}: {shown}")


@click.command(name="import")
@click.argument("file", metavar="FILE|-", shell_complete=files)
@click.argument("name", required=False, metavar="[NAME[:TAG]]")
@click.option(
    "-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
    help="Dockerfile instruction to apply: CMD, ENV, ENTRYPOINT, EXPOSE, LABEL, WORKDIR, ...",
)  # fmt: skip
@click.option("-m", "--message", default="", metavar="TEXT", help="Comment for the image's history")
@pass_app
def import_(app: App, file: str, name: str | None, changes: tuple[str, ...], message: str) -> None:
    """Import a tar archive to create an image

    The archive becomes the only layer of the image, and is unpacked.  SOURCE_DATE_EPOCH in the
    environment, in seconds since 1970, sets the time of creation.
    """
    from ocitool.builder.frontend.evaluate import changed
    from ocitool.image.rootfs_tar import import_tar
    from ocitool.oci.reference import Reference

    full = str(Reference.parse_new(name)) if name else ""
    epoch = epoch_of_environment()
    run = changed(changes, lambda text: write_line(f"warning: {text}", sys.stderr))
    with _input(None if file == "-" else file) as stream, app.store() as store:
        descriptor = import_tar(
            stream, into=store, name=full, run=run, message=message, epoch=epoch
        )
        write_line(str(store.image_id(descriptor)))


def _input(path: str | None) -> Any:
    if path is not None:
        try:
            return open(path, "rb")
        except OSError as error:
            raise NotFound(f"cannot read the archive: {error.strerror}", where=path) from error
    if sys.stdin.isatty():
        raise FormatError(
            "cannot read an archive from a terminal", hint="name a file, or use a pipe"
        )
    return sys.stdin.buffer
