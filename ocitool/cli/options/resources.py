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
                 help="Memory limit, for example 512m"),
    click.option("--memory-swap", metavar="BYTES", callback=_size,
                 help="Limit of memory and swap together; -1 for unlimited swap  [default: twice"
                      " --memory]"),
    click.option("--cpus", default="", metavar="NUMBER", help="Number of CPUs, for example 1.5"),
    click.option("-c", "--cpu-shares", type=int, metavar="NUMBER",
                 help="CPU shares (relative weight)  [default: 1024]"),
    click.option("--cpu-period", type=int, metavar="MICROSECONDS", help="Length of a CPU period"),
    click.option("--cpu-quota", type=int, metavar="MICROSECONDS",
                 help="CPU time in each CPU period"),
    click.option("--cpuset-cpus", default="", metavar="SET", help="CPUs to use, for example 0-3,5"),
    click.option("--cpuset-mems", default="", metavar="SET", help="Memory nodes to use"),
    click.option("--cgroup-parent", default="", metavar="PATH",
                 help="Parent cgroup of the container  [default: the caller's cgroup]"),
)  # fmt: skip

#: Only of ``run``.
pids = click.option("--pids-limit", type=int, metavar="NUMBER",
                    help="Limit of processes and threads; -1 for unlimited")  # fmt: skip
