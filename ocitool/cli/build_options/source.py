"""What is built: the Dockerfile, its target and platform, and what the cache is used for."""

from __future__ import annotations

import click

from ocitool.cli.build_options.words import split_names
from ocitool.cli.completion_values import files, pull_policies
from ocitool.cli.container_options import all_of
from ocitool.cli.goflags import OptionalValue


def _policy(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return a policy of `SourceImages`; docker's ``--pull`` is a flag with a value."""
    policy = {"true": "always", "false": "missing"}.get(value, value)
    if policy not in ("always", "missing", "never"):
        raise click.BadParameter(
            f"{value!r} is not one of 'always', 'missing', 'never'", context, parameter
        )
    return policy


def _one_platform(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if "," in value:
        raise click.BadParameter("building for several platforms is not supported")
    return value


file = click.option(
    "-f", "--file", metavar="FILE", default="", shell_complete=files,
    help="Path of the Dockerfile, or - for standard input  [default: CONTEXT/Dockerfile]",
)  # fmt: skip

target = click.option(
    "--target", metavar="STAGE", default="", help="Target build stage  [default: the last one]"
)

images = all_of(
    click.option("--no-cache", is_flag=True, help="Do not use the build cache"),
    click.option(
        "--no-cache-filter", multiple=True, metavar="STAGE[,STAGE...]", callback=split_names,
        help="Do not use the build cache for these stages",
    ),
    click.option(
        "--pull", cls=OptionalValue, bare="always", default="missing", callback=_policy,
        shell_complete=pull_policies,
        metavar="[always|missing|never]",
        help="Which base images to pull; without a value, newer versions of all  [default:"
        " missing]",
    ),
    click.option(
        "--platform", default="", metavar="OS/ARCH[/VARIANT]", callback=_one_platform,
        help="Platform of the image  [default: this machine's]",
    ),
)  # fmt: skip
