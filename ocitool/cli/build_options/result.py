"""What becomes of the image: where it is pushed, and the files that say what was built."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from ocitool.cli.completion_values import files
from ocitool.cli.container_options import all_of
from ocitool.cli.errors import during
from ocitool.cli.output import write_line
from ocitool.errors import BuildError
from ocitool.oci.reference import Reference

if TYPE_CHECKING:
    from ocitool.builder.options import BuildOptions, BuildResult
    from ocitool.progress import ProgressSink
    from ocitool.store.store import Store

exports = all_of(
    click.option(
        "--load", is_flag=True, expose_value=False, help="Store the image, as is always done"
    ),
    click.option("--push", is_flag=True, help="Push the image under its names to their registries"),
)

records = all_of(
    click.option(
        "--iidfile", metavar="FILE", shell_complete=files, help="Write the image ID to FILE"
    ),
    click.option(
        "--metadata-file", metavar="FILE", shell_complete=files,
        help="Write digests and names of the image to FILE, as JSON",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print only the image ID"),
)  # fmt: skip


logfile = click.option(
    "--logfile", metavar="FILE", shell_complete=files,
    help="Append the progress to FILE, instead of showing it on stderr",
)  # fmt: skip


@contextlib.contextmanager
def opened_log(path: str | None) -> Iterator[TextIO | None]:
    """Yield the file for progress, or None for stderr."""
    if not path:
        yield None
        return
    try:
        file = open(path, "a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BuildError(
            f"failed to open log file {path}: {error.strerror}", hint="name a file with --logfile"
        ) from error
    with file:
        yield file


def push_all(store: Store, sink: ProgressSink, names: Sequence[str], options: BuildOptions) -> None:
    """Push the image under each of *names*, with the access to registries that *options* have."""
    from ocitool.image.transfer import push

    for name in names:
        with during(f"pushing {name}"):
            push(name, source=store, access=options.access, progress=sink)


def metadata(result: BuildResult) -> dict[str, object]:
    """Return what ``docker buildx build --metadata-file`` writes of an image."""
    names = {"image.name": ",".join(result.tags)} if result.tags else {}
    descriptor = result.descriptor
    return {
        "containerimage.config.digest": str(result.image_id),
        "containerimage.descriptor": descriptor.to_json(),
        "containerimage.digest": str(descriptor.digest),
        **names,
    }


def write_summary(result: BuildResult, *, pushed: bool) -> None:
    """Print what was built."""
    if 0 < result.steps == result.cached:
        steps = f"all {result.steps} steps were" if result.steps > 1 else "the only step was"
        write_line(f"Nothing to do: {steps} cached.")
    write_line(f"Image {result.image_id}")
    write_line(f"Digest {result.digest}")
    for tag in (Reference.parse(tag).familiar for tag in result.tags):
        write_line(f"Tagged {tag}")
        if pushed:
            write_line(f"Pushed {tag}")
