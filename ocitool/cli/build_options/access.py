"""How registries are accessed: for base images, and for the names that are pushed."""

from __future__ import annotations

import sys

import click

from ocitool.cli.completion_values import directories
from ocitool.cli.container_options import all_of
from ocitool.cli.options import authfile_option, insecure_option, parse_duration


def _creds(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Return ``user:password``; the password is asked for where it is left out."""
    user, colon, _ = text.partition(":")
    if not text or (user and colon):
        return text
    if not user:
        raise click.BadParameter("the user is empty, expected USER[:PASSWORD]")
    if not sys.stdin.isatty():
        raise click.BadParameter("the password is missing, expected USER:PASSWORD")
    return f"{user}:{click.prompt('Password', hide_input=True, err=True)}"


def _delay(context: click.Context, parameter: click.Parameter, text: str) -> float | None:
    return parse_duration(text) if text else None


options = all_of(
    insecure_option,
    authfile_option,
    click.option(
        "--creds", default="", metavar="USER[:PASSWORD]", callback=_creds,
        help="Credentials for every registry, instead of files with them; --authfile and `ocitool"
        " login` do not show the password to other users",
    ),
    click.option(
        "--cert-dir", default="", metavar="DIR", shell_complete=directories,
        help="Directory with certificates of CAs, *.crt, and of the client, *.cert with *.key",
    ),
    click.option(
        "--retry", type=click.IntRange(0, 1000), metavar="NUMBER",
        help="How often a request to a registry is repeated after a failure  [default: 4]",
    ),
    click.option(
        "--retry-delay", default="", metavar="TIME", callback=_delay,
        help="Time before it is repeated, as 2s  [default: longer each time]",
    ),
)  # fmt: skip
