"""``system prune``, ``image prune``, ``builder prune``, ``system reset``."""

from __future__ import annotations

import os
import sys

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.options.shared import parse_filters, parse_size
from ocitool.cli.output.output import write, write_line
from ocitool.cli.output.units import human_size

force_option = click.option("-f", "--force", is_flag=True, help="Do not prompt for confirmation")

filter_option = click.option(
    "--filter", "filters", multiple=True, metavar="FILTER",
    help="Condition: 'until=24h', 'until=TIME', 'label=KEY[=VALUE]' or 'label!=KEY[=VALUE]'",
)  # fmt: skip

space_option = click.option(
    "--max-used-space", "--keep-storage", "space", metavar="SIZE",
    help="Size of the build cache to keep; least recently used records are removed first",
)  # fmt: skip


@click.command()
@click.option(
    "-a", "--all", "all_images", is_flag=True, help="Remove all images, not only dangling ones"
)
@force_option
@filter_option
@space_option
@pass_app
def everything(
    app: App, all_images: bool, force: bool, filters: tuple[str, ...], space: str | None
) -> int:
    """Remove unused data

    Removes dangling images (images without a name), the build cache with the directories of
    RUN --mount=type=cache, and all data that nothing else uses.

    The filter 'until' selects images created, and cache records last used, before that time.
    Cache records have no labels: with a label filter the build cache is kept.

    For root the files of unpacked layers and large blobs are removed in the background after the
    command has ended, unless OCITOOL_BACKGROUND=no is set, or background = "no" in a configuration
    file.

    Not supported for the store of a registry server: images pushed by digest have no name there,
    but clients use them.  Delete them through the registry.
    """
    images = _images(all_images)
    cache = "the build cache" if space is None else f"the build cache beyond {space}"
    return _prune(
        app, f"{images} and {cache}", filters, force=force, all_images=all_images, space=space
    )


@click.command()
@click.option(
    "-a", "--all", "all_images", is_flag=True, help="Remove all images, not only dangling ones"
)
@force_option
@filter_option
@pass_app
def images(app: App, all_images: bool, force: bool, filters: tuple[str, ...]) -> int:
    """Remove unused images

    Removes dangling images (images without a name), and the data that no other image and no record
    of the build cache uses.
    """
    what = _images(all_images)
    return _prune(app, what, filters, force=force, all_images=all_images, cache=False)


@click.command()
@click.option(
    "-a", "--all", is_flag=True, help="Accepted: the whole build cache is removed by default"
)
@force_option
@click.option(
    "--filter", "filters", multiple=True, metavar="FILTER",
    help="Condition: 'until=24h' or 'until=TIME'",
)  # fmt: skip
@space_option
@pass_app
def build_cache(
    app: App,
    all: bool,
    force: bool,
    filters: tuple[str, ...],
    space: str | None,
) -> int:
    """Remove the build cache

    Removes the records of the build cache, the directories of RUN --mount=type=cache that are not
    in use, and the data that no image uses.  With the filter 'until' only records and directories
    last used before that time are removed.
    """
    if parse_filters(filters).by_label:
        raise click.UsageError("records of the build cache have no labels: use the filter until")
    cache = "the build cache" if space is None else f"the build cache beyond {space}"
    return _prune(app, cache, filters, force=force, space=space, dangling=False)


@click.command()
@force_option
@pass_app
def reset(app: App, force: bool) -> int:
    """Remove the store with everything in it

    Removes all images, the build cache, and the storage directory itself, also if it is corrupt.
    Files that belong to subordinate IDs of the user, which rm cannot remove, are removed, too.
    """
    from ocitool.store.maintenance.reset import reset as reset_store

    settings = app.settings()
    question = f"WARNING! This will remove {settings.root} with ALL images. Continue? [y/N] "
    if not force and not _confirmed(question):
        return 1
    reset_store(settings)
    write_line(f"Removed {settings.root}")
    return 0


def _images(all_images: bool) -> str:
    return "ALL images" if all_images else "all dangling images"


def _prune(
    app: App,
    what: str,
    filters: tuple[str, ...],
    *,
    force: bool,
    all_images: bool = False,
    cache: bool = True,
    dangling: bool = True,
    space: str | None = None,
) -> int:
    from ocitool.cli.images.listing import familiar
    from ocitool.store.maintenance.prune import prune
    from ocitool.store.maintenance.stale_work import empty_trash

    wanted = parse_filters(filters)
    most = None if space is None else parse_size(space, "--max-used-space")
    only = f" that match {', '.join(filters)}" if filters else ""
    question = f"WARNING! This will remove {what}{only}. Continue? [y/N] "
    if not force and not _confirmed(question):
        return 1
    with app.store() as store:
        done = prune(
            store,
            all_images=all_images,
            cache=cache,
            dangling=dangling,
            filters=wanted,
            cache_space=most,
        )
        store.layers.make_durable(settled=0)  # so that the store may be handed on as it is now
        if os.geteuid() != 0:  # rm could not remove files of subordinate IDs that wait there
            empty_trash(store.layout, background=False)
    for name in done.untagged:
        write_line(f"Untagged: {familiar(name)}")
    for image_id in done.images:
        write_line(f"Deleted: {image_id}")
    write_line(f"Removed {done.blobs} blobs, {done.layers} layers, {done.cache} cache records")
    if done.cache_mounts:
        write_line(f"Removed {done.cache_mounts} cache mounts")
    write_line(f"Total reclaimed space: {human_size(done.size)}")
    return 0


def _confirmed(question: str) -> bool:
    write(question, sys.stderr)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        write("\n", sys.stderr)
    confirmed = answer.strip().lower() in ("y", "yes")
    if not confirmed:
        write_line("Nothing was removed; use --force to remove without confirmation", sys.stderr)
    return confirmed
