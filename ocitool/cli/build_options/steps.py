"""What the steps of a build are executed with."""

from __future__ import annotations

import click

from ocitool.cli.completion.values import networks
from ocitool.cli.options import containers as container_options
from ocitool.cli.options import resources
from ocitool.cli.options.containers import all_of
from ocitool.cli.options.goflags import BOOL, OptionalValue
from ocitool.cli.options.shared import comma_separated, isolation_option


def _removed(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value:
        raise click.BadParameter(
            "keeping intermediate containers is not supported: remove the option, and look into "
            "the result with --target STAGE --output DIR"
        )


containers = click.option(
    "--rm", "remove", cls=OptionalValue, bare="true", type=BOOL, default=True,
    metavar="BOOL", callback=_removed, expose_value=False,
    help="Accepted: intermediate containers are always removed",
)  # fmt: skip

surroundings = all_of(
    click.option(
        "--network", default="default", show_default=True, metavar="default|private|host|none",
        shell_complete=networks,
        help="Network of RUN; 'default' is 'private' if it is supported, otherwise 'host'  [env:"
        " OCITOOL_NETWORK]",
    ),
    container_options.surroundings,
    click.option("--dns", multiple=True, metavar="IP", callback=comma_separated,
                 help=(
                     "Name server for RUN instead of the host's; 'none' keeps the image's "
                     "/etc/resolv.conf"
                 )),
    click.option("--dns-search", multiple=True, metavar="DOMAIN", callback=comma_separated,
                 help="Search domain for RUN instead of the host's; '.' for none"),
    click.option("--dns-option", "dns_options", multiple=True, metavar="OPTION",
                 callback=comma_separated, help="Option of /etc/resolv.conf in RUN, for example "
                                                "ndots:2"),
    click.option("--no-hosts", is_flag=True, help="Keep the image's /etc/hosts in RUN"),
    click.option("--no-hostname", is_flag=True,
                 help="Accepted: RUN always has the image's /etc/hostname"),
    click.option("-v", "--volume", "volumes", multiple=True, metavar="SOURCE:TARGET[:OPTIONS]",
                 help="Bind mount a file or directory of the host in each RUN; options are ro, O, z"
                      " and Z"),
    click.option("--allow", multiple=True, metavar="ENTITLEMENT", callback=comma_separated,
                 help="Allow RUN 'network.host', 'security.insecure', 'device' or 'device=NAME'"),
    container_options.rights,
    resources.limits,
    isolation_option,
)  # fmt: skip
