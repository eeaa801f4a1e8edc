"""Names and configuration of the image that is built."""

from __future__ import annotations

import os

import click

from ocitool.cli.build_options.words import split_names, split_pair
from ocitool.cli.completion.values import images
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.goflags import BOOL, OptionalValue
from ocitool.cli.options.shared import epoch_of_environment, parse_seconds
from ocitool.errors import FormatError


def _labels(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> dict[str, str]:
    return dict(split_pair(word, "label") for word in words)


def _env(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise click.UsageError(f"invalid environment variable: {word!r}")  # as docker
        if equals or name in os.environ:
            found[name] = value if equals else os.environ[name]
    return found


def _annotations(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> dict[str, str]:
    from ocitool.builder.outputs.annotations import split_key

    found = dict(split_pair(word, "annotation") for word in words)
    for key in found:
        try:
            split_key(key)
        except FormatError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise click.UsageError(f"--annotation {error}{hint}") from error
    return found


def _epoch(context: click.Context, parameter: click.Parameter, text: str) -> int | str | None:
    return text if text == "context" else parse_seconds(context, parameter, text)


def epoch_of_build() -> int | str | None:
    """Return SOURCE_DATE_EPOCH of the environment, None if it is not set; it may be a name."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return text if text and not text.isdecimal() else epoch_of_environment()


tags = click.option(
    "-t", "--tag", "tags", multiple=True, metavar="NAME", shell_complete=images,
    help="Name and optionally a tag of the image",
)  # fmt: skip

config = all_of(
    click.option(
        "--label", "labels", multiple=True, metavar="KEY[=VALUE]", callback=_labels,
        help="Label of the image; overrides LABEL of the Dockerfile",
    ),
    click.option(
        "--annotation", "annotations", multiple=True, metavar="KEY[=VALUE]", callback=_annotations,
        help="Annotation of the image's manifest",
    ),
    click.option(
        "--unsetlabel", "unset_labels", multiple=True, metavar="KEY[,KEY...]", callback=split_names,
        help="Label to remove from the image, also one of the base image",
    ),
    click.option(
        "--inherit-labels", cls=OptionalValue, bare="true", type=BOOL, default=True,
        metavar="BOOL", help="Inherit the labels of base images and stages  [default: true]",
    ),
    click.option(
        "--env", multiple=True, metavar="NAME[=VALUE]", callback=_env,
        help="Environment variable of the image, but not of RUN; without VALUE, taken from the"
        " environment",
    ),
    click.option(
        "--unsetenv", "unset_env", multiple=True, metavar="NAME[,NAME...]", callback=split_names,
        help="Environment variable to remove from the image, but not from RUN",
    ),
    click.option(
        "--created-annotation", is_flag=True,
        help="Annotate the manifest with the creation time",
    ),
    click.option("--ignore-path", "ignored_paths", multiple=True, hidden=True),  # kaniko's
    click.option(
        "--omit-history", is_flag=True,
        help="Omit the history, also that of the base image",
    ),
    click.option(
        "--source-date-epoch", metavar="SECONDS|context", default="", callback=_epoch,
        help=(
            "Latest timestamp of the build's output, in seconds since 1970, or the commit time "
            "of a git context; overrides SOURCE_DATE_EPOCH in the environment and in build "
            "arguments"
        ),
    ),
)  # fmt: skip
