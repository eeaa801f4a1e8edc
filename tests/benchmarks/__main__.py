"""Prints a table: ours against each peer that is installed, in alternating runs.

Every row names its work; every tool does it in turn, round after round, in one session, so that
a slower minute of the machine meets all alike.  Before each run the context is read through,
what waits to be written is written, and what was removed is let settle, so that all find the same
page cache and the same disk.  Peers are taken as
they are found; ``tests/interop/up`` brings them, ``eval "$(tests/interop/up --env)"`` names them.
The docker engine that DOCKER_HOST names loses its build cache: give it one of its own.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.storetools import ROWS as STORE_ROWS
from tests.benchmarks.storetools import store_tools
from tests.benchmarks.tool import Removals, Row, Tool, empty
from tests.benchmarks.tools import tools
from tests.benchmarks.trees import SHAPES, context, read_through

CHECKOUT = Path(__file__).resolve().parents[2]
MEASURE = Path(__file__).with_name("measure.py")


@dataclass(slots=True)
class Result:
    """The runs of one tool on one row."""

    tool: str
    seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)  # bytes, of the largest process
    server_peaks: list[int] = field(default_factory=list)  # bytes, of the server if there is one
    lines: list[str] = field(default_factory=list)  # the commands
    failed: str = ""


def main() -> int:
    """Measure, print, and return the exit status."""
    options = arguments()
    registry = os.environ.get("REGISTRY", "")
    if not registry:
        print("$REGISTRY is not set; see tests/interop/up", file=sys.stderr)
        return 2
    # As installed programs are: or each of our runs would compile itself first.
    for place in ("ocitool", "registry", "runtime"):
        compileall.compile_dir(str(CHECKOUT / place), quiet=1)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocitool-bench"
    scale = 0.02 if options.quick else 1.0
    contexts = {shape.name: context(shape, cache / "contexts", scale=scale) for shape in SHAPES}
    work = Path(tempfile.mkdtemp(prefix="ocitool-bench-", dir=options.work))
    base, image = f"{registry}/busybox:base", f"{registry}/ocitool-bench-b:{int(1000 * scale)}"
    try:
        found = present([*tools(work, base), *store_tools(work, base, cache)], options.tools)
        rows = [row for row in table(contexts, base, image) if row.name in options.rows]
        if any(row.work == "pull" for row in rows):
            publish(found, contexts["b"], image, base)
        report = {row.name: measure(row, found, options.runs) for row in rows}
        for row in rows:
            show(row, report[row.name])
        if options.json:
            plain = {
                name: [{key: getattr(r, key) for key in Result.__slots__} for r in results]
                for name, results in report.items()
            }
            Path(options.json).write_text(json.dumps(plain, indent=2) + "\n")
        return 1 if any(r.failed for results in report.values() for r in results) else 0
    finally:
        if not options.keep:
            empty(work)


STORE = ("unpack", "remove", "commit", "pack", "walk", "names", "tag", "together")
NAMES = (
    *("cached-a", "cached-b", "cold-b", "pull-b", "run", "isolation", "files", "apt", "network"),
    *STORE,
)
#: These take less than a second: more rounds, and nothing is left to settle.
SHORT = frozenset({"run", "isolation", "network", "names", "tag", "together", "commit", "walk"})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)

    def words(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--rows", type=words, default=list(NAMES), help=",".join(NAMES))
    parser.add_argument(
        "--tools", type=words, default=[], help="only these, such as ocitool,podman"
    )
    parser.add_argument("--runs", type=int, default=3, help="rounds of each row (run: five times)")
    parser.add_argument("--quick", action="store_true", help="small contexts: does it all work?")
    parser.add_argument("--json", metavar="FILE", help="also write every single figure there")
    parser.add_argument("--work", metavar="DIR", help="where the stores lie (default: TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="leave the stores there")
    options = parser.parse_args()
    unknown = set(options.rows) - set(NAMES)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return options


def table(contexts: dict[str, Path], base: str, image: str) -> list[Row]:
    """Return the rows, each with the target for ours."""
    a, b = contexts["a"], contexts["b"]
    return [
        Row("cached-a", "cached", "cached rebuild, like a Python", a, target="<= buildkit"),
        Row("cached-b", "cached", "cached rebuild, like /usr/share", b, target="<= buildkit / 2"),
        Row("cold-b", "cold", "cold build, COPY and three RUNs", b, target="<= best / 3"),
        Row("pull-b", "pull", "pull and unpack that image", image=image, target="<= best / 3"),
        Row("run", "run", "run --rm --network none, true", image=base, target="<= podman"),
        Row("isolation", "isolation", "run --rm, true, in each isolation", target="<= namespaces"),
        Row(
            "files",
            "files",
            "run --rm, 3,000 files and 600 processes, in each isolation",
            target="<= 1.5 namespaces",
        ),
        Row(
            "apt",
            "apt",
            "run --rm, apt-get install of ten packages, in each isolation",
            image=f"{base.rpartition('/')[0]}/debian:base",
            target="<= 1.5 namespaces",
        ),
        Row("network", "network", "run --rm, true, on each network", target="<= 1.3 host"),
        *(Row(name, name, title, target=target) for name, title, target in STORE_ROWS),
    ]


def present(found: list[Tool], wanted: list[str]) -> list[Tool]:
    """Return those that are here, and say of the others why not."""
    here = []
    for tool in found:
        reason = tool.missing()
        if wanted and tool.name not in wanted:
            continue
        if reason:
            print(f"without {tool.name}: {reason}")
        else:
            print(f"{tool.name} {tool.version()}")
            here.append(tool)
    return here


def publish(found: list[Tool], folder: Path, image: str, base: str) -> None:
    """Push the image that everybody pulls, built by the first that can, in gzip layers."""
    row = Row("cold-b", "cold", "", folder)
    for tool in found:
        if "cold" in tool.works:
            tool.before(row)
            for words in tool.commands(row):
                tool.call([image if word == "ocitool-bench:cold-b" else word for word in words])
            plain = ["--tls-verify=false"] if tool.name == "buildah" else []
            tool.call([*tool.program(), "push", *plain, image])
            tool.call([*tool.program(), "rmi", image], check=False)
            print(f"{image} was built and pushed by {tool.name}")
            return
    raise SystemExit("no tool is here that builds the image to pull")


def measure(row: Row, found: list[Tool], runs: int) -> list[Result]:
    """Run *row* with every tool in turn."""
    results = {}
    able = [tool for tool in found if row.work in tool.works]
    for tool in able:
        results[tool.name] = Result(tool.name)
        try:
            tool.prepare(row)
        except (RuntimeError, OSError) as error:
            results[tool.name].failed = str(error)
    rounds = runs * 5 if row.work in SHORT else runs
    for number in range(rounds):
        for tool in able if number % 2 == 0 else reversed(able):
            result = results[tool.name]
            if not result.failed:
                try:
                    once(row, tool, result)
                except (RuntimeError, OSError) as error:
                    result.failed = str(error)
    for tool in able:
        tool.close()
    return list(results.values())


def once(row: Row, tool: Tool, result: Result) -> None:
    """Run *row* with one tool, once."""
    tool.before(row)
    if row.work in ("cold", "pull", "unpack"):
        Removals.settle()
    if row.context is not None:
        read_through(row.context)
    os.sync()
    commands = tool.commands(row)
    result.lines = [tool.shown + shlex.join(words) for words in commands]
    log = tool.work / "log"
    log.unlink(missing_ok=True)
    order = {"commands": commands, "env": tool.env, "cwd": str(tool.work), "log": str(log)}
    server = tool.server()
    forget_peak(server)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(MEASURE), json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    outcome = json.loads(done.stdout)
    if outcome["code"] != 0:
        raise RuntimeError(f"exit status {outcome['code']}: {log.read_text()[-2000:]}")
    result.seconds.append(inner(log) or outcome["seconds"])
    result.peaks.append(outcome["peak"])
    if server:
        result.server_peaks.append(peak_of(server))
    stamp = time.strftime("%H:%M:%S")
    print(f"  {stamp} {row.name} {tool.name} {result.seconds[-1]:.3f} s", file=sys.stderr)


def inner(log: Path) -> float:
    """Return the seconds that the work itself says it took, 0 if it says nothing."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return float(lines[-1].split()[1]) if lines and lines[-1].startswith("inner ") else 0.0


def forget_peak(process: int) -> None:
    """Let the kernel count a server's peak from now on."""
    if process:
        try:
            Path(f"/proc/{process}/clear_refs").write_text("5")
        except OSError:
            return


def peak_of(process: int) -> int:
    """Return the largest size that a server had since `forget_peak`, in bytes."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def show(row: Row, results: list[Result]) -> None:
    """Print one row: a line a tool, then the command lines."""
    ours = next((r for r in results if r.tool == "ocitool" and r.seconds), None)
    print(f"\n{row.title} ({row.name}){'; ours: ' + row.target if row.target else ''}")
    print(f"  {'tool':<10} {'median':>9} {'least':>9} {'runs':>5} {'ours/it':>8} {'peak':>8}")
    for result in results:
        if not result.seconds:
            print(f"  {result.tool:<10} failed: {result.failed.strip()[-1500:]}")
            continue
        middle, least = statistics.median(result.seconds), min(result.seconds)
        ratio = f"{statistics.median(ours.seconds) / middle:.2f}" if ours else "-"
        peak = f"{max(result.peaks) / 1e6:.0f} MB"
        if any(result.server_peaks):
            peak += f" + {max(result.server_peaks) / 1e6:.0f} MB in its server"
        times = f"{middle:>7.3f} s {least:>7.3f} s"
        print(f"  {result.tool:<10} {times} {len(result.seconds):>5} {ratio:>8} {peak:>8}")
    for result in results:
        for line in result.lines:
            print(f"    {line}")


if __name__ == "__main__":
    sys.exit(main())
