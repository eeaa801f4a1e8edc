"""Options of docker and buildah that change nothing here: accepted with the values that hold.

With any other value they are refused, with what to use.  docs/migrate.md has them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import click

from ocitool.cli.options.before_command import after_command
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.goflags import BOOL, OptionalValue
from ocitool.cli.unsupported import SOURCE_POLICY
from ocitool.go_values import boolean_of

#: Options that are true or false: the value that holds, and what is said of the other.
FLAGS: Final = {
    "--compat-volumes": (False, "what RUN writes below a VOLUME is part of the layer"),
    "--compress": (True, ""),
    "--disable-compression": (True, ""),
    "--disable-content-trust": (True, "signatures of images are not verified"),
    "--force-rm": (True, ""),
    "--identity-label": (False, "an image has no label of its builder: use --label"),
    "--inherit-annotations": (
        False, "annotations of base images are not inherited: use --annotation",
    ),
    "--logsplit": (False, "a build has one platform: use --logfile"),
    "--skip-unused-stages": (True, "stages that the target does not need are built by --target"),
    "--stdin": (False, "the standard input of RUN is empty: use a heredoc, or COPY"),
}  # fmt: skip

#: A policy that cannot be followed must be refused, not ignored.
_POLICY_VARIABLE: Final = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
_NAMESPACES: Final = "a step has its own namespaces: use --network and --isolation"
_CACHE: Final = (
    "the build cache is in the storage directory: remove the option, and keep that "
    "directory between builds (--root, OCITOOL_ROOT)"
)
_ATTESTATIONS: Final = (
    "builds do not create attestations: create them for the pushed image with another tool"
)

#: Options with a value: the values that are accepted, and the message for any other.
VALUES: Final = {
    "--builder": (("", "default"), "there is only the builder of ocitool itself: leave it out"),
    "--cache-from": (("",), _CACHE),
    "--cache-to": (("",), _CACHE),
    "--cgroupns": (("private",), _NAMESPACES),
    "--ipc": (("private", "container"), _NAMESPACES),
    "--pid": (("private", "container"), _NAMESPACES),
    "--userns": (
        ("host",),
        "the user namespace maps the caller's subordinate IDs, see `ocitool info`",
    ),
    "--uts": (("private", "container"), _NAMESPACES),
}
ATTESTATIONS: Final = ("--attest", "--provenance", "--sbom")


def _flag(name: str) -> Callable[[Any], Any]:
    held, why = FLAGS[name]

    def check(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value != held and why:
            raise click.UsageError(f"{name}={str(value).lower()} is not supported: {why}")

    parameter = f"accepted_{name.strip('-').replace('-', '_')}"
    return click.option(
        name, parameter, cls=OptionalValue, bare="true", type=BOOL, default=held,
        metavar="BOOL", callback=check, expose_value=False, hidden=True,
    )  # fmt: skip


def _value(name: str) -> Callable[[Any], Any]:
    held, why = VALUES[name]

    def check(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> None:
        for word in words:
            if word not in held:
                raise click.UsageError(f"{name} {word} is not supported: {why}")

    return _checked(name, check)


def _attestation(name: str) -> Callable[[Any], Any]:
    """Accept only what asks for no attestation: ``false``, or the field ``disabled=true``."""
    shorthand = name != "--attest"

    def check(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> None:
        for word in words:
            fields = dict(field.partition("=")[::2] for field in word.split(","))
            disabled = boolean_of(fields.get("disabled", "")) is True
            if not disabled and not (shorthand and boolean_of(word) is False):
                raise click.UsageError(f"{name} {word} is not supported: {_ATTESTATIONS}")

    return _checked(name, check)


def _checked(name: str, check: Callable[..., None]) -> Callable[[Any], Any]:
    return click.option(
        name, f"accepted_{name.strip('-').replace('-', '_')}", multiple=True, metavar="VALUE",
        callback=check, expose_value=False, hidden=True,
    )  # fmt: skip


def refuse_policy() -> None:
    """Raise `UsageError` if the environment names a policy of allowed sources."""
    if os.environ.get(_POLICY_VARIABLE):
        raise click.UsageError(f"{_POLICY_VARIABLE} is not supported: unset it, {SOURCE_POLICY}")


options = all_of(
    *map(_flag, FLAGS),
    *map(_value, VALUES),
    *map(_attestation, ATTESTATIONS),
    *after_command,
    # Steps are executed one at a time, whatever the number: the result is the same.
    click.option(
        "--jobs", type=click.IntRange(min=0), expose_value=False, hidden=True, metavar="NUMBER"
    ),
)
