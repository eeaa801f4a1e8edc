"""What is built: the Dockerfile, its target and platform, and what the cache is used for."""

from __future__ import annotations

import os
from typing import Final

import click

from ocitool.cli.build_options.words import split_names
from ocitool.cli.completion.values import files as file_names
from ocitool.cli.completion.values import images as image_names
from ocitool.cli.completion.values import pull_policies
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.goflags import BOOL, OptionalValue
from ocitool.cli.options.shared import parse_duration

_OTHER: Final = f"{__name__}.pull"
#: As `ocitool.builder.solver.images.PULL_POLICIES`, which is slow to import.
PULL_POLICIES: Final = ("always", "missing", "newer", "never")


def _policy(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return a policy of `SourceImages`; docker's ``--pull`` is a flag with a value."""
    value = context.meta.get(_OTHER, value)
    policy = {"true": "always", "false": "missing", "ifnewer": "newer"}.get(value, value)
    if policy not in PULL_POLICIES:
        known = ", ".join(map(repr, PULL_POLICIES))
        raise click.BadParameter(f"{value!r} is not one of {known}", context, parameter)
    return policy


def _other_policy(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Note that ``--pull-always`` or ``--pull-never`` was given, which --pull looks for."""
    if value:
        context.meta[_OTHER] = str(parameter.name).removeprefix("pull_")


def _build_contexts(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"invalid build context {word!r}: expected NAME=VALUE")
        found[name] = value
    return found


def _one_platform(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> str:
    platforms = {platform for word in words for platform in word.split(",")}
    if len(platforms) > 1:
        raise click.BadParameter(
            "building for several platforms is not supported: build and push each platform under "
            "its own name"
        )
    return platforms.pop() if platforms else ""


def platform_of(platform: str, system: str, architecture: str, variant: str) -> str:
    """Return the platform that the options name together; ``""`` is this machine's."""
    if not (system or architecture or variant):
        return platform or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    if platform:
        raise click.UsageError("--platform cannot be combined with --os, --arch and --variant")
    from ocitool.oci.platform import this_platform

    here = this_platform()
    parts = (system or here.os, architecture or here.architecture, variant)
    return "/".join(filter(None, parts))


files = all_of(
    click.option(
        "-f", "--file", multiple=True, metavar="FILE", shell_complete=file_names,
        help="Path or URL of the Dockerfile, or - for standard input; several are read as one"
        "  [default: CONTEXT/Dockerfile]",
    ),
    click.option(
        "--build-context", "build_contexts", multiple=True, metavar="NAME=VALUE",
        callback=_build_contexts,
        help="Context that replaces the image or stage NAME: a directory, docker-image://IMAGE,"
        " oci-layout://DIRECTORY[:TAG], or the URL of an archive, a file or a git repository",
    ),
    click.option(
        "--ignorefile", metavar="FILE", default="", shell_complete=file_names,
        help="File with the ignore rules, instead of CONTEXT/.dockerignore",
    ),
)  # fmt: skip

target = click.option(
    "--target", metavar="STAGE", default="", help="Target build stage  [default: the last one]"
)

images = all_of(
    click.option("--no-cache", is_flag=True, help="Do not use the build cache"),
    click.option(
        "--layers", cls=OptionalValue, bare="true", type=BOOL, default=True,
        metavar="BOOL", envvar="BUILDAH_LAYERS",
        help="Create a layer for each step, and cache it; =false is --squash with --no-cache"
        "  [env: BUILDAH_LAYERS]  [default: true]",
    ),
    click.option(
        "--cache-ttl", metavar="TIME", default="", callback=parse_duration,
        help="Do not use cache records that are older, for example 24h",
    ),
    click.option(
        "--no-cache-filter", multiple=True, metavar="STAGE[,STAGE...]", callback=split_names,
        help="Do not use the build cache for these stages",
    ),
    click.option(
        "--pull", cls=OptionalValue, bare="always", default="missing", callback=_policy,
        shell_complete=pull_policies,
        metavar="[always|missing|newer|never]",
        help=(
            "Base images to pull; without a value, newer versions of all; 'newer' uses the "
            "stored ones if the registry fails  [default: missing]"
        ),
    ),
    *(
        click.option(
            f"--pull-{policy}", is_flag=True, is_eager=True, expose_value=False, hidden=True,
            callback=_other_policy,
        )
        for policy in ("always", "never")  # buildah's
    ),
    click.option(
        "--from", "from_image", default="", metavar="IMAGE", shell_complete=image_names,
        help="Image of the first FROM, instead of the one in the Dockerfile",
    ),
    click.option(
        "--platform", multiple=True, metavar="OS/ARCH[/VARIANT]", callback=_one_platform,
        help="Platform of the image  [env: DOCKER_DEFAULT_PLATFORM]  [default: this machine's]",
    ),
    click.option("--os", "system", default="", metavar="OS", help="Part of --platform"),
    click.option("--arch", "architecture", default="", metavar="ARCH", help="Part of --platform"),
    click.option("--variant", default="", metavar="VARIANT", help="Part of --platform"),
)  # fmt: skip
