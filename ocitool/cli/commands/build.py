"""``ocitool build``."""

from __future__ import annotations

import os
import sys

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.options import (
    authfile_option,
    insecure_option,
    progress_option,
    source_date_epoch,
)
from ocitool.cli.output import write_line


@click.command(name="build")
@click.argument("context", metavar="CONTEXT")
@click.option(
    "-t",
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME",
    help="Name and optionally a tag of the image",
)
@click.option(
    "-f", "--file", metavar="FILE", help="Path of the Dockerfile  [default: CONTEXT/Dockerfile]"
)
@click.option(
    "--build-arg", "build_args", multiple=True, metavar="NAME[=VALUE]",
    help="Build argument; without VALUE, taken from the environment",
)  # fmt: skip
@click.option(
    "--target", metavar="STAGE", default="", help="Target build stage  [default: the last one]"
)
@click.option("--no-cache", is_flag=True, help="Do not use the build cache")
@click.option("--pull", is_flag=True, help="Always attempt to pull newer versions of base images")
@click.option("--iidfile", metavar="FILE", help="Write the image ID to FILE")
@click.option("-q", "--quiet", is_flag=True, help="Print only the image ID")
@progress_option
@insecure_option
@authfile_option
@pass_app
def command(
    app: App,
    context: str,
    tags: tuple[str, ...],
    file: str | None,
    build_args: tuple[str, ...],
    target: str,
    no_cache: bool,
    pull: bool,
    iidfile: str | None,
    quiet: bool,
    progress: str,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Build an image from a Dockerfile

    CONTEXT is the directory with the files for COPY and ADD, and the Dockerfile by default.

    With SOURCE_DATE_EPOCH in the environment (seconds since 1970), no timestamp in the image is
    later, so that builds are reproducible.
    """
    from ocitool.builder.build import build
    from ocitool.builder.inputs import read_stdin
    from ocitool.builder.options import BuildOptions

    options = BuildOptions(
        context=context,
        file=file or "",
        dockerfile=read_stdin(sys.stdin.buffer) if file == "-" else None,
        tags=tags,
        build_args=_arguments(build_args),
        target=target,
        no_cache=no_cache,
        pull=pull,
        insecure=not tls_verify,
        authfile=authfile or "",
        source_date_epoch=source_date_epoch(),
    )
    with app.progress("quiet" if quiet else progress, build=True) as sink, app.store(sink) as store:
        result = build(options, store=store, progress=sink)
    if iidfile:
        with open(iidfile, "w") as out:
            out.write(str(result.image_id))
    if quiet:
        write_line(str(result.image_id))
        return
    if result.cached == result.steps:
        write_line(f"Nothing to do: all {result.steps} steps were cached.")
    write_line(f"Image {result.image_id}")
    write_line(f"Digest {result.digest}")
    for tag in result.tags:
        write_line(f"Tagged {tag}")


def _arguments(words: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found
