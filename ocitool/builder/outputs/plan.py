"""The outputs of a build, from its options; what cannot work is refused before the build."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ocitool.builder.build_arguments import MULTI_PLATFORM
from ocitool.builder.outputs.annotations import split_key
from ocitool.errors import BuildError, FormatError, during
from ocitool.go_values import boolean_of
from ocitool.image.form import Form

if TYPE_CHECKING:
    from ocitool.builder.options import BuildOptions
    from ocitool.builder.outputs.output import Output

FORMATS: Final = ("oci", "docker")


def planned(options: BuildOptions) -> tuple[Output, ...]:
    """Return the outputs that *options* ask for: without any, the image in the store.

    ``push`` and ``load`` are outputs, too; those of the same kind get what they ask for.

    Raises:
        FormatError: the syntax of one is invalid.
        BuildError: one cannot be written, or two to the same place.
    """
    from ocitool.builder.outputs.output import Output

    outputs = [Output.parse(text) for text in options.outputs]
    kinds = {each.type for each in outputs}
    if options.push:
        outputs = [replace(o, push=True) if o.type == "image" else o for o in outputs]
    if (options.push or options.load or not outputs) and "image" not in kinds:
        outputs.append(Output(type="image", text="--push" * options.push, push=options.push))
    if options.load and not any(o.type == "docker" and not o.dest for o in outputs):
        outputs.append(Output(type="docker", text="--load", optional=True))
    form = form_of(options)
    form.check()
    split = _as_several(options)
    found = tuple(
        replace(each, names=each.names or options.tags, form=each.form.over(form))
        if each.has_image
        else replace(each, platform_split=split)
        if each.platform_split is None
        else each
        for each in outputs
    )
    for each in found:
        with during(each.shown) if each.shown else nullcontext():
            each.form.check()
            _require_media_types(each, options.annotations)
        _require_names(each)
        if each.dest and not each.to_stdout:
            _require_place(each)
    _require_different(found)
    _require_layout(found, options.annotations)
    return found


def form_of(options: BuildOptions) -> Form:
    """Return the form that *options* ask for of every image."""
    if options.format not in FORMATS:
        raise BuildError(
            f"unsupported format {options.format!r}", hint=f"one of {', '.join(FORMATS)}"
        )
    compression = options.compression_format
    if options.compression_level is not None:
        compression = f"{compression or 'gzip'}:{options.compression_level}"
    return Form(
        compression=compression,
        force=options.force_compression or None,
        docker=options.format == "docker" or None,
        rewrite_timestamp=options.rewrite_timestamp or None,
    )


def _as_several(options: BuildOptions) -> bool:
    """Return whether the result of one platform is to be written as those of several are."""
    value = options.build_args.get(MULTI_PLATFORM, "")
    found = boolean_of(value or "false")
    if found is None:
        raise FormatError(
            f"invalid boolean value for multi-platform: {value}", hint=f"{MULTI_PLATFORM}=1 or =0"
        )
    return found


def warnings_of(
    outputs: Sequence[Output], options: BuildOptions, epoch: int | None
) -> Iterator[str]:
    """Yield what has no effect, once the epoch is known.

    Raises:
        BuildError: an output is to have later times than the epoch.
    """
    if options.tags and not any(each.names == options.tags for each in outputs):
        yield "the tags are not used: no output is an image without a name of its own"
    if _as_several(options) and any(each.has_image for each in outputs):
        yield f"{MULTI_PLATFORM} has no effect on images: an image has one platform, and no index"
    for each in outputs:
        wanted = each.form.rewrite_timestamp
        if wanted and epoch is None:
            yield (
                "rewrite-timestamp has no effect without SOURCE_DATE_EPOCH: files keep their times"
            )
            return
        if wanted is False and epoch is not None:
            raise BuildError(
                "rewrite-timestamp=false is not supported with SOURCE_DATE_EPOCH",
                where=each.shown,
                hint="with SOURCE_DATE_EPOCH files are never newer; build without it",
            )


def _require_media_types(output: Output, annotations: Mapping[str, str]) -> None:
    """Refuse docker's media types where they cannot be: a layout, annotations."""
    if not output.form.docker:
        return
    if output.type == "oci":
        raise BuildError(
            "an OCI image layout has OCI's media types, not docker's",
            hint="leave out oci-mediatypes=false or --format docker, or use type=docker",
        )
    both = {**annotations, **output.annotations}
    keys = [key for kinds, _, key in map(split_key, both) if "manifest" in kinds]
    if keys:
        raise BuildError(
            "docker's media types do not support annotations: " + ", ".join(sorted(keys)),
            hint="use OCI's media types, or a label",
        )


def _require_layout(outputs: Sequence[Output], annotations: Mapping[str, str]) -> None:
    """Refuse annotations of a manifest's entry in a layout where none is written."""
    asked = [key for each in outputs if not each.dest for key in each.annotations]
    if not any(each.has_image and each.dest for each in outputs):
        asked += annotations
    for text in asked:
        if split_key(text)[0] == ("manifest-descriptor",):
            raise BuildError(
                f"nothing has the annotation {text}: no OCI image layout is written",
                hint="annotate the manifest, or add --output type=oci,dest=FILE",
            )


def _require_names(output: Output) -> None:
    if not output.push:
        return
    if not output.names:
        raise BuildError(
            "a name is needed to push the image", where=output.shown, hint="add -t NAME"
        )
    if output.push_by_digest:
        from ocitool.oci.reference import is_repository

        for name in output.names:
            if not is_repository(name):
                raise BuildError(
                    f"cannot push {name} by digest: it has a tag",
                    where=output.shown,
                    hint="name the repository alone",
                )


def _require_place(output: Output) -> None:
    dest = output.dest
    if output.to_directory:
        if os.path.lexists(dest) and not os.path.isdir(dest):
            raise BuildError(f"destination directory {dest} is a file", where=output.shown)
        if output.delete and os.path.realpath(dest) == "/":
            raise BuildError(
                "mode=delete is refused for the root directory",
                where=output.shown,
                hint="it would remove all other files there",
            )
        parent = dest
        while not os.path.exists(parent):
            parent = os.path.dirname(os.path.abspath(parent))
        if not os.path.isdir(parent):
            raise BuildError(
                f"cannot write {dest}: {parent} is not a directory",
                where=output.shown,
                hint="choose another destination",
            )
    else:
        if os.path.isdir(dest) or dest.endswith("/"):
            raise BuildError(
                f"destination file {dest} is a directory",
                where=output.shown,
                hint="name a file in it",
            )
        if os.path.exists(dest):
            _require_writable(dest, output)
            return
        parent = os.path.dirname(os.path.abspath(dest))
        if not os.path.isdir(parent):
            raise BuildError(
                f"cannot write {dest}: there is no directory {parent}",
                where=output.shown,
                hint="make the directory first",
            )
    _require_writable(parent, output)


def _require_writable(path: str, output: Output) -> None:
    if not os.access(path, os.W_OK | (os.X_OK if os.path.isdir(path) else 0)):
        raise BuildError(
            f"cannot write {output.dest}: this user may not write to {path}",
            where=output.shown,
            hint="choose another destination, or change the permissions",
        )


def _require_different(outputs: Sequence[Output]) -> None:
    seen = set()
    for each in outputs:
        place = each.dest if each.to_stdout else each.dest and os.path.realpath(each.dest)
        if place and place in seen:
            where = "standard output" if each.to_stdout else each.dest
            raise BuildError(
                f"two outputs are written to {where}",
                where=each.shown,
                hint="give each a destination of its own",
            )
        seen.add(place)
