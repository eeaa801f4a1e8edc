"""``save``, ``load``, ``import``."""

from __future__ import annotations

import sys
from typing import Any

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.options import progress_option, quiet_option
from ocitool.errors import FormatError, NotFound


@click.command(short_help="Save images to an archive.")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
@pass_app
def save(app: App, names: tuple[str, ...], output: str | None) -> None:
    """Write images to one tar that docker, podman, skopeo and containerd load."""
    from ocitool.image.archive import save as save_images
    from ocitool.image.local import local_image
    from ocitool.oci.reference import Reference

    if output is None and sys.stdout.isatty():
        raise click.UsageError("a terminal is no place for an archive: use -o, or redirect")
    with app.store() as store:
        images = []
        for name in names:
            try:
                full = str(Reference.parse(name))
            except ValueError:
                full = ""
            images.append(
                (
                    local_image(store, name),
                    full if any(refs.get(full) for refs in store.all_refs) else "",
                )
            )
        if output is None:
            save_images(images, sys.stdout.buffer.write)
        else:
            _save_to(output, images, save_images)


def _save_to(path: str, images: Any, save_images: Any) -> None:
    import os

    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb") as out:
            save_images(images, out.write)
        os.rename(temporary, path)
    except OSError as error:
        raise NotFound(f"cannot be written: {error.strerror}", where=path) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


@click.command(short_help="Load images from an archive.")
@click.option("-i", "--input", "input_", metavar="FILE", help="Read FILE instead of stdin.")
@quiet_option
@progress_option
@pass_app
def load(app: App, input_: str | None, quiet: bool, progress: str) -> None:
    """Bring the images of an archive into the store: docker's, podman's, or an OCI layout's."""
    from ocitool.image.archive import load as load_images

    with (
        _input(input_) as stream,
        app.progress("quiet" if quiet else progress) as sink,
        app.store(sink) as store,
    ):
        names = load_images(stream, into=store, progress=sink)
    for name in names:
        click.echo(name if quiet else f"Loaded image: {name}")


@click.command(name="import", short_help="Make an image of a tar of a file system.")
@click.argument("file", metavar="FILE|-")
@click.argument("name", required=False, metavar="[NAME[:TAG]]")
@click.option(
    "-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
    help="Apply a Dockerfile instruction: CMD, ENV, ENTRYPOINT, EXPOSE, LABEL, ...",
)  # fmt: skip
@click.option("-m", "--message", default="", metavar="TEXT", help="The history's comment.")
@pass_app
def import_(app: App, file: str, name: str | None, changes: tuple[str, ...], message: str) -> None:
    """Make an image with one layer of the tar FILE."""
    from ocitool.builder.changes import changed
    from ocitool.image.importing import import_tar
    from ocitool.oci.reference import Reference

    full = str(Reference.parse(name)) if name else ""
    run = changed(changes)
    with _input(None if file == "-" else file) as stream, app.store() as store:
        descriptor = import_tar(stream, into=store, name=full, run=run, message=message)
        click.echo(str(store.image_id(descriptor)))


def _input(path: str | None) -> Any:
    if path is not None:
        try:
            return open(path, "rb")
        except OSError as error:
            raise NotFound(f"cannot be read: {error.strerror}", where=path) from error
    if sys.stdin.isatty():
        raise FormatError("nothing is given", where="stdin", hint="name a file, or use a pipe")
    return sys.stdin.buffer
