"""``images``, ``inspect``, ``history``, ``tag``, ``rmi``."""

from __future__ import annotations

import sys

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.completion import values
from ocitool.cli.errors import describe, raise_all
from ocitool.cli.options.goflags import BOOL, OptionalValue
from ocitool.cli.options.shared import (
    format_option,
    no_trunc_option,
    quiet_option,
    short_format_option,
)
from ocitool.cli.output.output import write, write_line
from ocitool.errors import ImageNotFound, OcitoolError


@click.command()
@click.argument(
    "repository", required=False, metavar="[REPOSITORY[:TAG]]",
    shell_complete=values.images,
)  # fmt: skip
@click.option("-a", "--all", "all_", is_flag=True, help="Accepted: all images are always shown")
@click.option(
    "-f", "--filter", "filters", multiple=True, metavar="FILTER",
    help="Condition: 'dangling=BOOL', 'label=KEY[=VALUE]', 'before=IMAGE', 'since=IMAGE', "
    "'until=TIME' or 'reference=PATTERN'",
)  # fmt: skip
@quiet_option
@click.option("--digests", is_flag=True, help="Show digests")
@no_trunc_option
@format_option
@pass_app
def images(
    app: App,
    repository: str | None,
    all_: bool,
    filters: tuple[str, ...],
    quiet: bool,
    digests: bool,
    no_trunc: bool,
    format_: str | None,
) -> None:
    """List images

    The image created last comes first.  REPOSITORY may be a pattern, such as 'debian*'.  There are
    no intermediate images, which docker hides without --all.

    Images of additional image stores are listed last, with the directory of their store.
    """
    from ocitool.cli.images.listing import image_row, listed_images
    from ocitool.cli.output.output import Column, emit_list, short_id

    wanted = None
    if filters:
        from ocitool.cli.images.filters import ImageFilters

        wanted = ImageFilters.parse(filters)

    columns = [
        Column("Repository", "REPOSITORY"),
        Column("Tag", "TAG"),
        Column("Digest", "DIGEST", shown=digests),
        Column("ID", "IMAGE ID", short=short_id),
        Column("CreatedSince", "CREATED"),
        Column("CreatedAt", "CREATED AT", shown=False),
        Column("Platform", "PLATFORM", shown=False),
        Column("Size", "SIZE"),
    ]
    with app.store() as store:
        found = listed_images(store, repository or "", wanted)
        rows = [image_row(image, timestamps=bool(format_)) for image in found]
        if store.shared:
            columns.append(Column("Store", "STORE"))
    if quiet:
        rows = list({row["ID"]: row for row in rows}.values())
    emit_list(rows, columns=columns, format=format_, quiet=quiet, no_trunc=no_trunc)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=values.images)
@short_format_option
@click.option(
    "--type", "kind", metavar="image", default="image", help="Type of the object to inspect"
)
@pass_app
def inspect(app: App, names: tuple[str, ...], format_: str | None, kind: str) -> None:
    """Display detailed information on images, as JSON"""
    from ocitool.cli.images.listing import inspect_document
    from ocitool.cli.output.output import emit_documents
    from ocitool.image.store_content import local_image

    if kind not in ("image", ""):
        raise click.UsageError(f"--type {kind} is not supported: only images can be inspected")
    documents, failed = [], []
    with app.store() as store:
        for name in names:
            try:
                documents.append(inspect_document(store, local_image(store, name)))
            except OcitoolError as error:
                failed.append(error)
    if documents or not format_:
        emit_documents(documents, format=format_)  # an empty list if there is no image, as docker
    raise_all(failed)


@click.command()
@click.argument("name", metavar="IMAGE", shell_complete=values.images)
@click.option(
    "-H", "--human", cls=OptionalValue, bare="true", type=BOOL, default=True, metavar="BOOL",
    help="Print sizes and times in human-readable form  [default: true]",
)  # fmt: skip
@quiet_option
@no_trunc_option
@format_option
@pass_app
def history(
    app: App, name: str, human: bool, quiet: bool, no_trunc: bool, format_: str | None
) -> None:
    """Show the history of an image"""
    from ocitool.cli.images.listing import history_rows
    from ocitool.cli.output.output import Column, ellipsis, emit_list, short_id
    from ocitool.image.store_content import local_image

    columns = [
        Column("ID", "IMAGE", short=short_id),
        Column("CreatedSince", "CREATED", shown=human),
        Column("CreatedAt", "CREATED AT", shown=not human),
        Column("CreatedBy", "CREATED BY", short=ellipsis(45)),
        Column("Size", "SIZE"),
        Column("Comment", "COMMENT"),
    ]
    with app.store() as store:
        rows = list(history_rows(local_image(store, name), human=human))
    emit_list(rows, columns=columns, format=format_, quiet=quiet, no_trunc=no_trunc)


@click.command()
@click.argument("name", metavar="IMAGE", shell_complete=values.images)
@click.argument("target", metavar="NAME[:TAG]", shell_complete=values.images)
@pass_app
def tag(app: App, name: str, target: str) -> None:
    """Add a name to an image"""
    from ocitool.errors import ImageNotFound
    from ocitool.oci.reference import Reference

    reference = Reference.parse_new(target)
    with app.store() as store:
        found = store.find(name)
        if not store.refs.alias(str(reference), found):
            if not store.pointing(found.digest):
                raise ImageNotFound(f"no such image: {name}", hint=f"try `ocitool pull {name}`")
            store.refs.set(str(reference), found)  # the image is in an additional image store


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=values.images)
@click.option("-f", "--force", is_flag=True, help="Remove an image that has several names")
@click.option(
    "--no-prune", is_flag=True, expose_value=False,
    help="Accepted: parents without a name are always kept",
)  # fmt: skip
@pass_app
def rmi(app: App, names: tuple[str, ...], force: bool) -> None:
    """Remove images

    Removes the names given.  An image is removed with its last name, or by its ID, together with
    the data that no other image uses; the build cache is kept.

    The files of unpacked layers and large blobs are removed in the background after the command
    has ended, unless OCITOOL_BACKGROUND=no is set, or background = "no" in a configuration file.

    Not supported for the store of a registry server: delete its images through the registry.
    """
    from ocitool.cli.images.listing import familiar
    from ocitool.store.maintenance.remove import remove_image

    def remove(name: str) -> None:
        done = remove_image(store, name, force=force)
        for each in done.untagged:
            write_line(f"Untagged: {familiar(each)}")
        if done.deleted is not None:
            write_line(f"Deleted: {done.deleted}")

    failed: list[OcitoolError] = []
    with app.store() as store:
        for name in names:
            try:
                remove(name)
            except ImageNotFound as error:
                error.hint = ""  # the hint is to pull it
                if force:
                    write(describe(error), sys.stderr)
                else:
                    failed.append(error)
            except OcitoolError as error:
                failed.append(error)
    raise_all(failed)
