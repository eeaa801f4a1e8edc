"""Options that several commands share."""

from __future__ import annotations

import os

import click

from ocitool.oci.timestamps import parse_epoch

progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "tty", "json", "quiet"]),
    default="auto",
    show_default=True,
    help="How progress is shown, on stderr.",
)

insecure_option = click.option(
    "--tls-verify",
    type=click.BOOL,
    default=True,
    show_default="true",
    metavar="BOOL",
    help="Check certificates, and refuse plain HTTP but on loopback.",
)

authfile_option = click.option(
    "--authfile", metavar="FILE", help="Take credentials from FILE alone."
)

platform_option = click.option(
    "--platform", metavar="OS/ARCH", help="Of several platforms this one.  [default: this machine]"
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print only ids.")

format_option = click.option(
    "--format", "format_", metavar="FORMAT",
    help="'json', a field's path, or a template as docker's: '{{.ID}}'.",
)  # fmt: skip

no_trunc_option = click.option("--no-trunc", is_flag=True, help="Print ids whole.")


def source_date_epoch() -> int | None:
    """Return what SOURCE_DATE_EPOCH in the environment says, in seconds; None if it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    return parse_epoch(text)
