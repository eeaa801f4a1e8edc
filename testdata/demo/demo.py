#!/usr/bin/env python3
"""What ``make demo`` does: build, push, pull and run an image, each step as one would type it.

The base image holds this machine's own shell and its libraries, so nothing is downloaded.  All
of it lies in ``.demo``, which goes before the next demo.  Needs no root: a user namespace will
do, and where there is none the RUN says so.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACE = HERE.parents[1] / ".demo"
PROGRAM = [sys.executable, "-m", "ocitool"]


def say(text: str) -> None:
    """Print a step's heading."""
    print(f"\n# {text}", flush=True)


def ocitool(*words: str | Path, root: str = "first") -> None:
    """Show a command, run it on the store *root*, and end the demo if it fails."""
    shown = ["ocitool", "--root", f".demo/{root}", *map(str, words)]
    print(f"$ {shlex.join(shown).replace(f'{HERE.parents[1]}/', '')}", flush=True)
    done = subprocess.run([*PROGRAM, "--root", str(PLACE / root), *words], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def clear() -> None:
    """Remove what the last demo left; files of subordinate ids go from a user namespace."""
    remove = f"chmod -R u+rwX {shlex.quote(str(PLACE))}; rm -rf {shlex.quote(str(PLACE))}"
    for ahead in ([], ["unshare", "--user", "--map-root-user", "--map-auto"]):
        if PLACE.exists():
            subprocess.run([*ahead, "sh", "-c", remove], stderr=subprocess.DEVNULL, check=False)


def base() -> Path:
    """Put a build context together that holds this machine's shell and what it loads."""
    context = PLACE / "base"
    tree = context / "tree"
    for name in ("bin", "etc", "tmp"):
        (tree / name).mkdir(parents=True)
    shell = os.path.realpath("/bin/sh")
    shutil.copy(shell, tree / "bin" / "sh")
    for library in libraries(shell):
        target = tree / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(library), target)
    (tree / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (context / "Dockerfile").write_text('FROM scratch\nCOPY tree/ /\nCMD ["/bin/sh"]\n')
    return context


def libraries(program: str) -> list[str]:
    """Return the libraries of *program* and its loader, none if it is static."""
    output = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return sorted(set(re.findall(r"(?:=>\s+|^\s*)(/\S+) \(0x", output.stdout, re.MULTILINE)))


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """Serve a registry of our own on a free port while the demo goes on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["--root", str(PLACE / "served"), "registry", "serve", "--addr", address]
    print(f"$ ocitool --root .demo/served registry serve --addr {address} &", flush=True)
    with open(PLACE / "registry.log", "wb") as log:
        server = subprocess.Popen([*PROGRAM, *words], stdout=log, stderr=log)
    try:
        host, port = address.split(":")
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=1).close()
                break
            if server.poll() is not None:
                sys.exit((PLACE / "registry.log").read_text())
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Show it."""
    began = time.monotonic()
    clear()
    PLACE.mkdir()
    with registry() as address:
        small, demo = f"{address}/base:1", f"{address}/demo:1"
        say("A base image from this machine's shell")
        ocitool("build", "-t", small, base())
        say("A build with a RUN on it")
        who = os.environ.get("USER", "you")
        arguments = ("--build-arg", f"BASE={small}", "--build-arg", f"WHO={who}")
        ocitool("build", "-t", demo, *arguments, HERE)
        say("Again: every step comes from the cache")
        ocitool("build", "-t", demo, *arguments, HERE)
        say("To a registry, which is ours too")
        ocitool("push", demo)
        say("Into an empty store")
        ocitool("pull", demo, root="second")
        ocitool("images", root="second")
        say("And it runs")
        ocitool("run", "--rm", "--network", "none", demo, root="second")
    print(f"\nDone in {time.monotonic() - began:.1f} seconds; all of it lies in .demo.")


if __name__ == "__main__":
    main()
