"""``ocitool build``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.build_options import (
    accepted,
    access,
    arguments,
    call,
    image,
    outputs,
    proxies,
    result,
    secrets,
    source,
    steps,
)
from ocitool.cli.completion.values import directories
from ocitool.cli.errors import raise_all
from ocitool.cli.gotemplate.values import to_json
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.shared import build_progress_option, debug_option
from ocitool.cli.output.outfile import require_file, write_text
from ocitool.errors import OcitoolError

if TYPE_CHECKING:
    from ocitool.builder.options import BuildOptions, BuildResult
    from ocitool.progress import ProgressSink

_RESULT: Final = f"{__name__}.result"


@click.command(name="build")
@click.argument("context", metavar="[CONTEXT]", default=".", shell_complete=directories)
@all_of(
    image.tags,
    source.files,
    arguments.options,
    secrets.options,
    source.target,
    call.options,
    image.config,
    source.images,
    outputs.exports,
    outputs.form,
    steps.containers,
    result.records,
    steps.surroundings,
    proxies.option,
    build_progress_option,
    result.logfile,
    debug_option,
    accepted.options,
    access.options,
)
@pass_app
def command(
    app: App,
    /,
    context: str,
    file: tuple[str, ...],
    build_args: tuple[str, ...],
    argument_files: tuple[str, ...],
    source_date_epoch: int | str | None,
    iidfile: str | None,
    metadata_file: str | None,
    quiet: bool,
    platform: str,
    system: str,
    architecture: str,
    variant: str,
    called: call.Call,
    check: bool,
    progress: str,
    layers: bool,
    logfile: str | None,
    http_proxy: bool,
    tls_verify: bool,
    authfile: str | None,
    **fields: Any,
) -> int:
    """Build an image from a Dockerfile

    CONTEXT has the files for COPY and ADD and, by default, the Dockerfile.  It is a directory, a
    tar archive (plain, or compressed with gzip, bzip2, xz or zstd), the URL of an archive, - for
    standard input, or a git repository such as https://host/name.git#branch:directory.  If a URL or
    standard input is not an archive, it is used as the Dockerfile of an empty context.  The default
    is the current directory.

    With --source-date-epoch, or SOURCE_DATE_EPOCH in the environment (seconds since 1970), no
    new timestamp is later than this time, so that builds are reproducible.
    """
    from ocitool.builder.options import BuildOptions

    accepted.refuse_policy()
    called = call.chosen(called, check=check)
    _refuse_contradictions((context, *file), source_date_epoch, fields)
    for option, path in (("--iidfile", iidfile), ("--metadata-file", metadata_file)):
        if path:
            require_file(path, option)
    if iidfile and called.method == "build":
        with contextlib.suppress(OSError):
            os.unlink(iidfile)  # as docker does: after a failure there is no ID of another build
    if not layers:
        fields |= {"squash": not fields["squash_all"], "no_cache": True}
    given = arguments.read_arguments(build_args, argument_files)
    build_arguments = {**proxies.proxies(http_proxy), **given}
    if source_date_epoch is None:
        source_date_epoch = image.epoch_of_build()
    else:
        build_arguments.pop("SOURCE_DATE_EPOCH", None)  # the option has the last word
    with (
        result.opened_log(logfile) as log,
        app.progress("quiet" if quiet else progress, build=True, stream=log) as sink,
    ):
        options = BuildOptions(
            context=context,
            file=file,
            build_args=build_arguments,
            source_date_epoch=source_date_epoch,
            platform=source.platform_of(platform, system, architecture, variant),
            insecure=not tls_verify,
            authfile=authfile or "",
            **fields,
        )
        if called.method != "build":
            return call.answer(called, app, options, sink, metadata_file)
        built, failed = _built(app, options, sink)
        click.get_current_context().meta[_RESULT] = built
        if iidfile and not failed:
            write_text(iidfile, str(built.image_id))
        if metadata_file and not failed:
            write_text(metadata_file, to_json(result.metadata(built), indent=2) + "\n")
    result.write_result(built, quiet=quiet)
    raise_all(failed)
    return 0


def result_of(context: click.Context) -> BuildResult:
    """Return the result of the command that *context* was made for."""
    result: BuildResult = context.meta[_RESULT]
    return result


def _refuse_contradictions(
    read: Sequence[str], source_date_epoch: int | str | None, fields: Mapping[str, Any]
) -> None:
    """Raise `UsageError` for options that exclude each other; *read* are files and the context."""
    if read.count("-") > 1:
        raise click.UsageError("standard input cannot be both the context and the Dockerfile")
    if fields["push"] and not fields["tags"] and not fields["outputs"]:
        raise click.UsageError("--push requires --tag: the names to push the image to")
    if source_date_epoch is not None and fields["timestamp"] is not None:
        raise click.UsageError("--timestamp and --source-date-epoch are mutually exclusive")


def _built(
    app: App, options: BuildOptions, sink: ProgressSink
) -> tuple[BuildResult, tuple[OcitoolError, ...]]:
    """Return what was built, and the errors of outputs that failed."""
    from ocitool.builder.build import build
    from ocitool.builder.options import OutputsFailed

    with app.store(sink) as store:
        try:
            built = build(options, store=store, progress=sink, stdout=sys.stdout.buffer.write)
        except OutputsFailed as error:
            return error.result, error.errors
    return built, ()
