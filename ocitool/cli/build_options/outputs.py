"""What becomes of the image: its outputs and its form."""

from __future__ import annotations

import sys

import click

from ocitool.cli.completion.values import files
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.shared import parse_seconds
from ocitool.errors import FormatError


def _outputs(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> tuple[str, ...]:
    from ocitool.builder.outputs.output import Output

    for word in words:
        try:
            output = Output.parse(word)
        except FormatError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise click.UsageError(f"{error}{hint}") from error
        if output.to_stdout and sys.stdout.isatty():
            raise click.UsageError(
                f"--output {word}: cannot write an archive to a terminal: add dest=FILE, or"
                " redirect"
            )
    return words


exports = all_of(
    click.option(
        "-o", "--output", "outputs", multiple=True, metavar="DIR|-|type=TYPE[,KEY=VALUE...]",
        callback=_outputs, shell_complete=files,
        help="Destination of the result: a directory for its files, - for a tar of them on"
        " standard output, or a type (local, tar, oci, docker, image, registry, cacheonly) with"
        " its attributes  [default: type=image, the store]",
    ),
    click.option(
        "--load", is_flag=True,
        help=(
            "Load the image into docker's engine or podman's store, if there is one; it is "
            "stored here, too"
        ),
    ),
    click.option("--push", is_flag=True, help="Push the image under its names to their registries"),
)  # fmt: skip

form = all_of(
    click.option(
        "--format", type=click.Choice(["oci", "docker"]), default="oci", envvar="BUILDAH_FORMAT",
        help="Media types of the image's manifest, config and layers  [env: BUILDAH_FORMAT]"
        "  [default: oci]",
    ),
    click.option(
        "--compression-format", metavar="FORMAT", default="",
        help="Compression of new layers: gzip, zstd, estargz or uncompressed  [default: gzip]",
    ),
    click.option("--compression-level", type=int, metavar="LEVEL", help="Level of compression"),
    click.option(
        "--force-compression", is_flag=True,
        help="Also compress the layers of the base image in this way",
    ),
    click.option("--squash", is_flag=True, help="Squash all new layers into one"),
    click.option(
        "--squash-all", is_flag=True,
        help="Squash all layers into one, including those of the base image",
    ),
    click.option(
        "--timestamp", metavar="SECONDS", default="", callback=parse_seconds,
        help=(
            "Time of the image, of its new history entries and of all files in new layers, in "
            "seconds since 1970"
        ),
    ),
    click.option(
        "--rewrite-timestamp", is_flag=True,
        help="Accepted: files in new layers are never newer than --source-date-epoch",
    ),
)  # fmt: skip
