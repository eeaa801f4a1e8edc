"""What a build takes beside its context's files: the Dockerfile, its ignore rules, options."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

from ocitool.builder.checks.ignored import ignored_by
from ocitool.builder.context.ignore import IgnoreRules
from ocitool.builder.definition import Surroundings
from ocitool.builder.dockerfile.values import source_kind
from ocitool.builder.frontend.frontend import Arguments
from ocitool.builder.options import BuildOptions
from ocitool.builder.outputs.annotations import select
from ocitool.errors import BuildError
from ocitool.inputfile import read_input_file, require_small
from ocitool.oci.platform import Platform, this_platform

_NAMES: Final = ("Dockerfile", "Containerfile")
_LARGEST: Final = 16 << 20  # bytes of a Dockerfile or of an ignore file


def context_directory(options: BuildOptions) -> str:
    """Return the context as an absolute path; `BuildError` if it is missing."""
    top = os.path.abspath(options.context)
    if not os.path.isdir(top):
        if not os.path.lexists(top):
            _refuse_remote(options.context)
        fault = "is not a directory" if os.path.lexists(top) else "not found"
        raise BuildError(
            f'unable to prepare context: path "{options.context}" {fault}',
            hint="the build context must be a directory with the files for COPY and ADD",
        )
    return top


def _refuse_remote(context: str) -> None:
    """Raise `BuildError` for a context that docker fetches, or reads from standard input."""
    kind = source_kind(context)
    if context == "-":
        raise BuildError(
            "a build context on standard input is not supported",
            hint="give its Dockerfile as text, and a directory as the context",
        )
    if kind == "git" or context.lower().startswith("github.com/"):
        raise BuildError(
            f"a git repository as the build context is not supported: {context}",
            hint="clone it, and build in the clone",
        )
    if kind == "url":
        raise BuildError(
            f"a URL as the build context is not supported: {context}",
            hint="fetch the archive, unpack it, and build in its directory",
        )


def read_dockerfile(options: BuildOptions, top: str) -> tuple[str, bytes]:
    """Return the Dockerfile's path (``""`` if it was given as text) and its text."""
    if options.dockerfile is not None:
        require_small(options.dockerfile, _LARGEST, "Dockerfile")
        return "", options.dockerfile
    names = [options.file] if options.file else [f"{top}/{each}" for each in _NAMES]
    for path in names:
        try:
            return path, _read(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BuildError(
                f"failed to read dockerfile: open {display_name(path)}: {error.strerror}",
                hint="pass the Dockerfile with -f, and the context as the last argument",
            ) from error
    raise BuildError(
        f"failed to read dockerfile: open {display_name(names[0])}: no such file or directory",
        hint="pass the Dockerfile with -f",
    )


def read_stdin(stream: BinaryIO) -> bytes:
    """Return a Dockerfile from a stream, and no more of it than shows that it is too large."""
    return stream.read(_LARGEST + 1)


#: How compressed files begin: gzip, bzip2, xz, zstd.
_PACKED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


def is_packed(text: bytes) -> bool:
    """Say whether *text* is an archive, plain or compressed, and no Dockerfile."""
    return text.startswith(_PACKED) or text[257:262] == b"ustar"


def _read(path: str) -> bytes:
    hint = "a Dockerfile can be given on standard input: -f -"
    return read_input_file(path, _LARGEST, where=display_name(path), hint=hint)


def arguments(options: BuildOptions, rules: IgnoreRules, around: Surroundings) -> Arguments:
    """Return what a Dockerfile is evaluated with; *rules* are those of the context."""
    this = this_platform()
    platform = Platform.parse(options.platform) if options.platform else this
    return Arguments(
        platform=platform,
        build_platform=this,
        target=options.target,
        build_args=options.build_args,
        epoch=options.source_date_epoch if options.timestamp is None else options.timestamp,
        labels=options.labels,
        unset_labels=options.unset_labels,
        env=options.env,
        unset_env=options.unset_env,
        annotations=select(options.annotations, platform).manifest,
        created_annotation=options.created_annotation,
        inherit_labels=options.inherit_labels,
        first_base=options.from_image,
        omit_history=options.omit_history,
        no_cache_filter=options.no_cache_filter,
        around=around,
        ignored=ignored_by(rules),
    )


def display_name(path: str) -> str:
    """Return what messages call the Dockerfile *path*."""
    if not path:
        return "Dockerfile"
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def ignore_rules(dockerfile: str, top: str) -> IgnoreRules:
    """Read the Dockerfile's own ignore file, or else that of the context.

    Only one is read.  The order is buildah's, which has BuildKit's two names in BuildKit's order.
    """
    own = [dockerfile + name for name in (".dockerignore", ".containerignore")]
    context = [f"{top}/.containerignore", f"{top}/.dockerignore"]
    for path in (*(own if dockerfile else ()), *context):
        try:
            return IgnoreRules.parse(_read(path), name=display_name(path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue  # BuildKit ignores a directory of this name, too
        except OSError as error:
            raise BuildError(
                f"failed to read ignore file {display_name(path)}: {error.strerror}",
                hint="make it readable; otherwise files that it excludes would be copied",
            ) from error
    return IgnoreRules()
