"""``ocitool build``."""

from __future__ import annotations

import os
import sys

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.options import insecure_option, progress_option, source_date_epoch
from ocitool.cli.output import write_line


@click.command(name="build", short_help="Build an image from a Dockerfile.")
@click.argument("context", metavar="CONTEXT")
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME", help="A name for the image.")
@click.option("-f", "--file", metavar="FILE", help="The Dockerfile.  [default: CONTEXT/Dockerfile]")
@click.option(
    "--build-arg", "build_args", multiple=True, metavar="NAME[=VALUE]",
    help="Set a build argument; without a value, to the environment's.",
)  # fmt: skip
@click.option("--target", metavar="STAGE", default="", help="Build up to this stage.")
@click.option("--no-cache", is_flag=True, help="Do every step again.")
@click.option("--pull", is_flag=True, help="Ask the registry for newer base images.")
@click.option("--iidfile", metavar="FILE", help="Write the image's id to FILE.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the image's id.")
@progress_option
@insecure_option
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
) -> None:
    """Build an image from the Dockerfile in the directory CONTEXT.

    SOURCE_DATE_EPOCH in the environment is the latest time that anything new gets, which makes
    builds the same to the byte.
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
