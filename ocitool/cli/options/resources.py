"""Limits of resources: of a container, and of each RUN of a build."""

from __future__ import annotations

import click

from ocitool.cli.options.containers import all_of
from ocitool.cli.options.shared import parse_size


def _size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if not text:
        return None
    return -1 if text == "-1" else parse_size(text, parameter.opts[-1])


limits = all_of(
    click.option("-m", "--memory", metavar="BYTES", callback=_size,
                 help="Memory limit, as 512m"),
    click.option("--memory-swap", metavar="BYTES", callback=_size,
                 help="Memory and swap together; -1 for no limit of swap  [default: twice"
                      " --memory]"),
    click.option("--cpus", default="", metavar="NUMBER", help="Number of CPUs, as 1.5"),
    click.option("-c", "--cpu-shares", type=int, metavar="NUMBER",
                 help="Relative weight of CPU time, beside 1024 of others"),
    click.option("--cpu-period", type=int, metavar="MICROSECONDS", help="Period of --cpu-quota"),
    click.option("--cpu-quota", type=int, metavar="MICROSECONDS",
                 help="CPU time in each period"),
    click.option("--cpuset-cpus", default="", metavar="SET", help="CPUs to use, as 0-3,5"),
    click.option("--cpuset-mems", default="", metavar="SET", help="Memory nodes to use"),
    click.option("--cgroup-parent", default="", metavar="PATH",
                 help="Parent of the container's cgroup  [default: the caller's cgroup]"),
)  # fmt: skip

#: Of ``run`` alone.
pids = click.option("--pids-limit", type=int, metavar="NUMBER",
                    help="Processes and threads; -1 for no limit")  # fmt: skip
