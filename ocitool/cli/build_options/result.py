"""What is said of the image: files that say what was built, and the last lines."""

from __future__ import annotations

import base64
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TextIO

import click

from ocitool.cli.completion.values import files
from ocitool.cli.options.containers import all_of
from ocitool.cli.output.output import write_line
from ocitool.errors import BuildError
from ocitool.go_values import boolean_of
from ocitool.oci.reference import Reference

if TYPE_CHECKING:
    from ocitool.builder.options import BuildResult
    from ocitool.builder.outputs.exported import Exported

#: The variable that adds the warnings of build checks to the metadata.
_WARNINGS: Final = "BUILDX_METADATA_WARNINGS"

records = all_of(
    click.option(
        "--iidfile", metavar="FILE", shell_complete=files, help="Write the image ID to FILE"
    ),
    click.option(
        "--metadata-file", metavar="FILE", shell_complete=files,
        help="Write the digests and names of the image to FILE, as JSON",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Only print the image ID"),
)  # fmt: skip


logfile = click.option(
    "--logfile", metavar="FILE", shell_complete=files,
    help="Append the progress output to FILE instead of showing it",
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
            f"failed to open the log file {path}: {error.strerror}",
            hint="name a file with --logfile",
        ) from error
    with file:
        yield file


def metadata(result: BuildResult) -> dict[str, object]:
    """Return what ``docker buildx build --metadata-file`` writes of a build.

    BUILDX_METADATA_WARNINGS adds what the build checks found; as in buildx, what is not a boolean
    has no effect.
    """
    build = base64.b32encode(os.urandom(15)).decode().lower()
    found: dict[str, object] = {"buildx.build.ref": f"ocitool/ocitool/{build}"}
    if _has_image(result):
        names = dict.fromkeys(name for each in result.exports for name in each.names)
        found |= {
            "containerimage.config.digest": str(result.image_id),
            "containerimage.descriptor": result.descriptor.to_json(),
            "containerimage.digest": str(result.descriptor.digest),
            **({"image.name": ",".join(names)} if names else {}),
        }
    if result.checks and boolean_of(os.environ.get(_WARNINGS, "")):
        from ocitool.cli.progress.rawjson import vertex_warning

        found["buildx.build.warnings"] = [vertex_warning(check) for check in result.checks]
    return found


def _has_image(result: BuildResult) -> bool:
    """Say whether an image was written, and not only files."""
    return any(each.image is not None for each in result.exports)


def write_result(result: BuildResult, *, quiet: bool) -> None:
    """Print what was built, not to standard output if that has an archive."""
    stream = sys.stderr if any(each.where == "-" for each in result.exports) else sys.stdout
    if quiet:
        if stream is sys.stdout:
            write_line(str(result.image_id))
        return
    write_summary(result, stream)


def write_summary(result: BuildResult, stream: TextIO) -> None:
    """Print the image, and what was done with it."""
    if 0 < result.steps == result.cached:
        write_line(_cached(result), stream)
    if _has_image(result):
        write_line(f"Image {result.image_id}", stream)
        write_line(f"Digest {result.digest}", stream)
    for each in result.exports:
        for line in _lines(each):
            write_line(line, stream)


def _cached(result: BuildResult) -> str:
    """Return the line for cached steps; "nothing to do" if nothing is written or pushed either."""
    steps = f"all {result.steps} steps were" if result.steps > 1 else "the only step was"
    if all(each.action == "stored" for each in result.exports):
        return f"Nothing to do: {steps} cached."
    return f"{steps[0].upper()}{steps[1:]} cached."


def _lines(done: Exported) -> Iterator[str]:
    names = list(dict.fromkeys(Reference.parse(name).familiar for name in done.names))
    if done.action == "stored":
        yield from (f"Tagged {name}" for name in names)
    elif done.action == "pushed":
        yield from (f"Pushed {name}" for name in names)
    elif done.action == "loaded":
        yield from (f"Loaded {name} into {done.where}" for name in names or [str(done.id)])
    elif done.where != "-":
        yield f"Wrote {done.where}"
