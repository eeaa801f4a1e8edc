"""Options of docker and buildah that change nothing here: accepted with the value that holds.

With any other value they are refused, with what to use.  docs/migrate.md has them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from ocitool.cli.container_options import all_of
from ocitool.cli.goflags import OptionalValue

#: Options that are true or false: the value that holds, and what is said of the other.
FLAGS: Final = {
    "--compat-volumes": (False, "what RUN writes below a VOLUME is part of the layer"),
    "--compress": (True, ""),
    "--disable-content-trust": (True, "signatures of images are not verified"),
    "--identity-label": (False, "an image has no label of its builder: use --label"),
    "--inherit-annotations": (
        False, "annotations of base images are not inherited: use --annotation",
    ),
    "--layers": (True, "each step has a layer, and is cached: use --no-cache to execute all"),
    "--logsplit": (False, "a build has one platform: use --logfile"),
    "--skip-unused-stages": (True, "stages that the target does not need are built by --target"),
    "--stdin": (False, "the standard input of RUN is empty: use a heredoc, or COPY"),
}  # fmt: skip


def _flag(name: str) -> Callable[[Any], Any]:
    held, why = FLAGS[name]

    def check(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value != held and why:
            raise click.UsageError(f"{name}={str(value).lower()} is not supported: {why}")

    parameter = f"accepted_{name.strip('-').replace('-', '_')}"
    return click.option(
        name, parameter, cls=OptionalValue, bare="true", type=click.BOOL, default=held,
        metavar="BOOL", callback=check, expose_value=False, hidden=True,
    )  # fmt: skip


options = all_of(
    *map(_flag, FLAGS),
    # Steps are executed one at a time, whatever the number: the result is the same.
    click.option(
        "--jobs", type=click.IntRange(min=0), expose_value=False, hidden=True, metavar="NUMBER"
    ),
)
