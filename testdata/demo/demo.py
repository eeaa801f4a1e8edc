#!/usr/bin/env python3
"""The commands of ``make demo``: build, push, pull and run an image.

The base image contains the shell of the host and its libraries, so that nothing is downloaded.  All
files are in ``.demo``, which is removed before the next demo.  Root is not needed, but RUN needs a
user namespace, and is an error without one.
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
DIRECTORY = HERE.parents[1] / ".demo"
PROGRAM = [sys.executable, "-m", "ocitool"]


def say(text: str) -> None:
    """Print the heading of a step."""
    print(f"\n# {text}", flush=True)


def ocitool(*words: str | Path, root: str = "first") -> None:
    """Print a command and run it with the store *root*; end the demo if it fails."""
    shown = ["ocitool", "--root", f".demo/{root}", *map(str, words)]
    print(f"$ {shlex.join(shown).replace(f'{HERE.parents[1]}/', '')}", flush=True)
    done = subprocess.run([*PROGRAM, "--root", str(DIRECTORY / root), *words], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def clear() -> None:
    """Remove the files of the last demo; those of subordinate ids in a user namespace."""
    remove = f"chmod -R u+rwX {shlex.quote(str(DIRECTORY))}; rm -rf {shlex.quote(str(DIRECTORY))}"
    for prefix in ([], ["unshare", "--user", "--map-root-user", "--map-auto"]):
        if DIRECTORY.exists():
            subprocess.run([*prefix, "sh", "-c", remove], stderr=subprocess.DEVNULL, check=False)


def base() -> Path:
    """Create a build context with the shell of the host and its libraries."""
    context = DIRECTORY / "base"
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
    """Run a registry server on a free port during the demo."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["--root", str(DIRECTORY / "served"), "registry", "serve", "--addr", address]
    print(f"$ ocitool --root .demo/served registry serve --addr {address} &", flush=True)
    with open(DIRECTORY / "registry.log", "wb") as log:
        server = subprocess.Popen([*PROGRAM, *words], stdout=log, stderr=log)
    try:
        host, port = address.split(":")
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=1).close()
                break
            if server.poll() is not None:
                sys.exit((DIRECTORY / "registry.log").read_text())
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Run the demo."""
    began = time.monotonic()
    clear()
    DIRECTORY.mkdir()
    with registry() as address:
        small, demo = f"{address}/base:1", f"{address}/demo:1"
        say("Build a base image with the shell of the host")
        ocitool("build", "-t", small, base())
        say("Build an image on it, with a RUN step")
        who = os.environ.get("USER", "you")
        arguments = ("--build-arg", f"BASE={small}", "--build-arg", f"WHO={who}")
        ocitool("build", "-t", demo, *arguments, HERE)
        say("Build it again: all steps are cached")
        ocitool("build", "-t", demo, *arguments, HERE)
        say("Push it to the registry")
        ocitool("push", demo)
        say("Pull it into an empty store")
        ocitool("pull", demo, root="second")
        ocitool("images", root="second")
        say("Run it")
        ocitool("run", "--rm", "--network", "none", demo, root="second")
    print(f"\nDone in {time.monotonic() - began:.1f} seconds; the stores are in .demo.")


if __name__ == "__main__":
    main()
