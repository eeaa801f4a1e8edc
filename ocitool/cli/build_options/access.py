"""How registries are accessed: for base images, and for the names that are pushed."""

from __future__ import annotations

import sys

import click

from ocitool.cli.completion.values import directories
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.shared import authfile_option, insecure_option, parse_duration


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


def _certificates(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for word in words:
        host, _, path = word.partition("=")
        if not host or not path:
            raise click.BadParameter(f"invalid value {word!r}: expected REGISTRY=FILE")
        found[host] = path
    return found


def _fallback(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    return not value


options = all_of(
    insecure_option,
    click.option(
        "--insecure-registry", "insecure_registries", multiple=True, metavar="REGISTRY",
        help="Registry to access with --tls-verify=false, for example localhost:5000",
    ),
    click.option("--insecure-pull", is_flag=True, hidden=True),  # kaniko's
    click.option(
        "--registry-certificate", "registry_certificates", multiple=True, metavar="REGISTRY=FILE",
        callback=_certificates, help="File with CA certificates for a registry",
    ),
    click.option(
        "--registry-mirror", "registry_mirrors", multiple=True, metavar="HOST[/PATH]",
        help="Registry to ask for base images before docker.io",
    ),
    click.option(
        "--registry-map", "registry_maps", multiple=True, metavar="REGISTRY=HOST[/PATH][;...]",
        help="Registries to ask for base images before REGISTRY",
    ),
    click.option(
        "--skip-default-registry-fallback", "registry_fallback", is_flag=True, callback=_fallback,
        help="Do not ask the original registry if it has mirrors",
    ),
    authfile_option,
    click.option(
        "--creds", default="", metavar="USER[:PASSWORD]", callback=_creds,
        help=(
            "Credentials for all registries, instead of authentication files; --authfile and "
            "`ocitool login` do not show the password to other users"
        ),
    ),
    click.option(
        "--cert-dir", default="", metavar="DIR", shell_complete=directories,
        help="Directory with CA certificates (*.crt) and client certificates (*.cert with *.key)",
    ),
    click.option(
        "--retry", type=click.IntRange(0, 1000), metavar="NUMBER",
        help="Number of retries of a failed request to a registry  [default: 4]",
    ),
    click.option(
        "--retry-delay", default="", metavar="TIME", callback=parse_duration,
        help="Time between retries, for example 2s  [default: increasing]",
    ),
)  # fmt: skip
