"""``ocitool build``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from ocitool.cli import container_options
from ocitool.cli.app import App, pass_app
from ocitool.cli.completion_values import directories, files, images, networks, pull_policies
from ocitool.cli.errors import during
from ocitool.cli.goflags import OptionalValue
from ocitool.cli.gotemplate.values import to_json
from ocitool.cli.options import (
    authfile_option,
    insecure_option,
    isolation_option,
    progress_option,
    source_date_epoch,
)
from ocitool.cli.outfile import write_text
from ocitool.cli.output import write_line
from ocitool.errors import BuildError, FormatError
from ocitool.oci.timestamps import parse_epoch

if TYPE_CHECKING:
    from ocitool.builder.options import BuildResult
    from ocitool.progress import ProgressSink
    from ocitool.store.store import Store


def _policy(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return a policy of `SourceImages`; docker's ``--pull`` is a flag with a value."""
    policy = {"true": "always", "false": "missing"}.get(value, value)
    if policy not in ("always", "missing", "never"):
        raise click.BadParameter(
            f"{value!r} is not one of 'always', 'missing', 'never'", context, parameter
        )
    return policy


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    try:
        return parse_epoch(value) if value else None
    except FormatError:
        raise click.BadParameter(
            f"{value!r} is not a number of seconds since 1970, before the year 10000"
        ) from None


def _one_platform(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if "," in value:
        raise click.BadParameter("building for several platforms is not supported")
    return value


def _removed(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if not value:
        raise click.BadParameter("keeping the containers of a build is not supported")
    return value


@click.command(name="build")
@click.argument("context", metavar="[CONTEXT]", default=".", shell_complete=directories)
@click.option(
    "-t",
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME",
    shell_complete=images,
    help="Name and optionally a tag of the image",
)
@click.option(
    "-f", "--file", metavar="FILE", shell_complete=files,
    help="Path of the Dockerfile, or - for standard input  [default: CONTEXT/Dockerfile]",
)  # fmt: skip
@click.option(
    "--build-arg", "build_args", multiple=True, metavar="NAME[=VALUE]",
    help="Build argument; without VALUE, taken from the environment",
)  # fmt: skip
@click.option(
    "--build-arg-file", "argument_files", multiple=True, metavar="FILE", shell_complete=files,
    help="File with a build argument on each line, which --build-arg overrides; lines that begin"
    " with # are comments",
)  # fmt: skip
@click.option(
    "--target", metavar="STAGE", default="", help="Target build stage  [default: the last one]"
)
@click.option(
    "--label", "labels", multiple=True, metavar="KEY[=VALUE]",
    help="Label of the image; overrides LABEL of the Dockerfile",
)  # fmt: skip
@click.option(
    "--annotation", "annotations", multiple=True, metavar="KEY[=VALUE]",
    help="Annotation of the image's manifest",
)  # fmt: skip
@click.option(
    "--unsetlabel", "unset_labels", multiple=True, metavar="KEY[,KEY...]",
    help="Label that the image does not have, of the Dockerfile or of the base image",
)  # fmt: skip
@click.option(
    "--unsetenv", "unset_env", multiple=True, metavar="NAME[,NAME...]",
    help="Environment variable that the image does not have; RUN has it",
)  # fmt: skip
@click.option(
    "--omit-history", is_flag=True, help="Omit the history from the image, with the base image's"
)
@click.option(
    "--source-date-epoch", "epoch", metavar="SECONDS", default="", callback=_seconds,
    help="Latest time in what the build adds, in seconds since 1970; overrides SOURCE_DATE_EPOCH in"
    " the environment and in build arguments",
)  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Do not use the build cache")
@click.option(
    "--no-cache-filter", "stages", multiple=True, metavar="STAGE[,STAGE...]",
    help="Do not use the build cache for these stages",
)  # fmt: skip
@click.option(
    "--pull", cls=OptionalValue, bare="always", default="missing", callback=_policy,
    shell_complete=pull_policies,
    metavar="[always|missing|never]",
    help="Which base images to pull; without a value, newer versions of all  [default: missing]",
)  # fmt: skip
@click.option("--load", is_flag=True, expose_value=False, help="Store the image, as is always done")
@click.option("--push", is_flag=True, help="Push the image under its names to their registries")
@click.option(
    "--platform", default="", metavar="OS/ARCH[/VARIANT]", callback=_one_platform,
    help="Platform of the image  [default: this machine's]",
)  # fmt: skip
@click.option(
    "--rm", "--force-rm", "remove", cls=OptionalValue, bare="true", type=click.BOOL, default=True,
    metavar="BOOL", callback=_removed, help="Remove intermediate containers, as is always done",
)  # fmt: skip
@click.option("--iidfile", metavar="FILE", shell_complete=files, help="Write the image ID to FILE")
@click.option(
    "--metadata-file", metavar="FILE", shell_complete=files,
    help="Write digests and names of the image to FILE, as JSON",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print only the image ID")
@click.option(
    "--network", default="default", show_default=True, metavar="default|private|host|none",
    shell_complete=networks,
    help="Network of RUN; 'default' is 'private' where that works, else 'host'  [env:"
    " OCITOOL_NETWORK]",
)  # fmt: skip
@container_options.surroundings
@isolation_option
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
    argument_files: tuple[str, ...],
    target: str,
    labels: tuple[str, ...],
    annotations: tuple[str, ...],
    unset_labels: tuple[str, ...],
    unset_env: tuple[str, ...],
    omit_history: bool,
    epoch: int | None,
    no_cache: bool,
    stages: tuple[str, ...],
    pull: str,
    push: bool,
    platform: str,
    remove: bool,
    iidfile: str | None,
    metadata_file: str | None,
    quiet: bool,
    network: str,
    add_hosts: tuple[str, ...],
    shm_size: int | None,
    ulimits: tuple[str, ...],
    progress: str,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Build an image from a Dockerfile

    CONTEXT is the directory with the files for COPY and ADD, and the Dockerfile by default.  It is
    the current directory if it is not given.  With - there is no context, and the Dockerfile is
    read from standard input.

    With --source-date-epoch, or SOURCE_DATE_EPOCH in the environment (seconds since 1970), no
    timestamp in what the build adds is later, so that builds are reproducible.
    """
    from ocitool.builder.build import build
    from ocitool.builder.options import BuildOptions
    from ocitool.oci.reference import Reference

    if push and not tags:
        raise click.UsageError("--push requires --tag: the names to push the image to")
    if iidfile:
        with contextlib.suppress(OSError):
            os.unlink(iidfile)  # as docker does: after a failure there is no ID of another build
    arguments = _arguments(build_args, argument_files)
    if epoch is not None:
        arguments.pop("SOURCE_DATE_EPOCH", None)  # the option has the last word, as buildah's
    with (
        _inputs(context, file) as (directory, dockerfile),
        app.progress("quiet" if quiet else progress, build=True) as sink,
    ):
        options = BuildOptions(
            context=directory,
            file=file or "",
            dockerfile=dockerfile,
            tags=tags,
            build_args=arguments,
            target=target,
            labels=dict(_pair(word, "label") for word in labels),
            annotations=dict(map(_annotation, annotations)),
            unset_labels=_names(unset_labels),
            unset_env=_names(unset_env),
            omit_history=omit_history,
            no_cache=no_cache,
            no_cache_filter=_names(stages),
            pull=pull,
            platform=platform,
            network=network,
            add_hosts=add_hosts,
            shm_size=shm_size,
            ulimits=ulimits,
            insecure=not tls_verify,
            authfile=authfile or "",
            source_date_epoch=source_date_epoch() if epoch is None else epoch,
        )
        with app.store(sink) as store:
            result = build(options, store=store, progress=sink)
            if iidfile:
                write_text(iidfile, str(result.image_id))
            if push:
                _push(store, sink, result.tags, insecure=not tls_verify, authfile=authfile)
        if metadata_file:
            write_text(metadata_file, to_json(_metadata(result), indent=2) + "\n")
    if quiet:
        write_line(str(result.image_id))
        return
    if 0 < result.steps == result.cached:
        steps = f"all {result.steps} steps were" if result.steps > 1 else "the only step was"
        write_line(f"Nothing to do: {steps} cached.")
    write_line(f"Image {result.image_id}")
    write_line(f"Digest {result.digest}")
    for tag in (Reference.parse(tag).familiar for tag in result.tags):
        write_line(f"Tagged {tag}")
        if push:
            write_line(f"Pushed {tag}")


@contextlib.contextmanager
def _inputs(context: str, file: str | None) -> Iterator[tuple[str, bytes | None]]:
    """Yield the directory of the context, and the Dockerfile if standard input has it.

    As docker has it, ``-`` in the place of the context is a Dockerfile, and there are no files.
    """
    from ocitool.builder.inputs import is_packed, read_stdin

    if context != "-":
        yield context, read_stdin(sys.stdin.buffer) if file == "-" else None
        return
    if file == "-":
        raise click.UsageError("standard input cannot be both the context and the Dockerfile")
    if file:
        raise click.UsageError("with the context - the Dockerfile is that on standard input")
    text = read_stdin(sys.stdin.buffer)
    if is_packed(text):
        raise BuildError(
            "an archive on standard input as the build context is not supported",
            hint="unpack it, and build in its directory",
        )
    import tempfile  # slow to load, rarely wanted

    with tempfile.TemporaryDirectory(prefix="ocitool-") as empty:
        yield empty, text


def _push(
    store: Store, sink: ProgressSink, names: Sequence[str], *, insecure: bool, authfile: str | None
) -> None:
    from ocitool.image.transfer import push

    for name in names:
        with during(f"pushing {name}"):
            push(name, source=store, insecure=insecure, authfile=authfile, progress=sink)


def _metadata(result: BuildResult) -> dict[str, object]:
    """Return what ``docker buildx build --metadata-file`` writes of an image."""
    names = {"image.name": ",".join(result.tags)} if result.tags else {}
    descriptor = result.descriptor
    return {
        "containerimage.config.digest": str(result.image_id),
        "containerimage.descriptor": descriptor.to_json(),
        "containerimage.digest": str(descriptor.digest),
        **names,
    }


def _names(words: Sequence[str]) -> tuple[str, ...]:
    """Return the names in *words*, each of which may have several, with commas."""
    return tuple(filter(None, ",".join(words).split(",")))


def _pair(word: str, what: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    if not key:
        raise click.UsageError(f"invalid {what} {word!r}: expected KEY[=VALUE]")
    return key, value


#: What ``docker buildx build --annotation`` can name before the key; the default is the first.
_ANNOTATED = {"manifest", "index", "manifest-descriptor", "index-descriptor"}


def _annotation(word: str) -> tuple[str, str]:
    key, value = _pair(word, "annotation")
    where, colon, rest = key.partition(":")
    kinds = set(where.partition("[")[0].split(","))
    if not colon or not kinds <= _ANNOTATED:
        return key, value
    if where != "manifest":
        raise click.UsageError(
            f"--annotation {where}: is not supported: the image has one manifest and no index"
        )
    return _pair(f"{rest}={value}", "annotation")


#: Bytes of a file of build arguments.
_LARGEST: Final = 16 << 20


def _arguments(words: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Return the build arguments of *words* and of the files *paths*; the last of a name counts."""
    found: dict[str, str] = {}
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            if line.strip() and not line.startswith("#"):
                if line.startswith("="):
                    raise FormatError(
                        f"invalid build argument {line!r}",
                        where=f"{path}:{number}",
                        hint="a line is NAME=VALUE, or NAME for the value in the environment",
                    )
                _add(found, line)
    for word in words:
        if not word.partition("=")[0]:
            raise click.UsageError(f"invalid environment variable: {word!r}")  # as docker
        _add(found, word)
    return found


def _lines(path: str) -> list[str]:
    from ocitool.inputfile import read_input_file

    try:
        data = read_input_file(path, _LARGEST)
    except OSError as error:
        raise BuildError(
            f"failed to read build arguments: open {path}: {error.strerror}",
            hint="--build-arg-file takes a file with a NAME=VALUE on each line",
        ) from error
    text = data.decode("utf-8", "surrogateescape")  # as the words of the command
    return text.replace("\r\n", "\n").split("\n")


def _add(found: dict[str, str], word: str) -> None:
    name, equals, value = word.partition("=")
    if equals:
        found[name] = value
    elif name in os.environ:
        found[name] = os.environ[name]
    else:
        found.pop(name, None)  # a value given before does not count, as with buildah
