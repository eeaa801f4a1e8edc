#!/usr/bin/env python3
"""The commands of ``make image``: build ocitool's own image with ocitool.

Two builds of one commit, from one base and the same packages, make the same image: times are
those of the commit, or SOURCE_DATE_EPOCH.  Python packages are downloaded by pip on the host,
which knows the index, the proxy and their certificates; the image needs neither pip nor a compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

import ocitool

HERE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = HERE.parents[1]
#: Bytes of the compressed layers on top of the base.
LIMIT: Final = 60_000_000
#: The newest glibc that wheels may need, down to the oldest name for any: that of Debian 12.
WHEELS: Final = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_28", "manylinux2014")


def main() -> None:
    """Build the image, and fail if it is too large."""
    options = _options()
    environ = dict(os.environ)
    environ.setdefault("SOURCE_DATE_EPOCH", _last_commit())
    with tempfile.TemporaryDirectory(prefix="ocitool-image-") as directory:
        context = Path(directory)
        (context / "packages").mkdir()
        build = [*_program(options.root), "build", "-f", str(HERE / "Dockerfile")]
        if options.base:
            build += ["--build-arg", f"BASE={options.base}"]
        if options.no_cache:
            build += ["--no-cache"]
        system = context / "system"
        _call([*build, "--target", "system", "--iidfile", str(system), str(context)], environ)
        python = _python(options.root, system.read_text())
        download(python, context / "packages")
        arguments = (f"PYTHON={python}", f"VERSION={ocitool.__version__}")
        build = [word for word in build if word != "--no-cache"]  # `system` is what has been built
        build += [word for argument in arguments for word in ("--build-arg", argument)]
        _call([*build, "--target", options.target, "-t", options.tag, str(context)], environ)
        base = len(_inspect(options.root, system.read_text())["Layers"]) - 1
    layers = _inspect(options.root, options.tag)["Layers"][base:]
    size = sum(layer["size"] for layer in layers)
    print(f"{options.tag}: {size / 1e6:.1f} MB compressed on top of its base")
    if size > LIMIT:
        sys.exit(f"the image is too large: at most {LIMIT / 1e6:.0f} MB")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", default="ocitool:latest", help="name of the image")
    parser.add_argument("--target", default="ocitool", help="stage: ocitool, or kaniko")
    parser.add_argument("--base", default="", help="base image, a Debian (see the Dockerfile)")
    parser.add_argument("--root", default="", help="storage directory of ocitool")
    parser.add_argument("--no-cache", action="store_true", help="execute every step")
    return parser.parse_args()


def _program(root: str) -> list[str]:
    return [sys.executable, "-m", "ocitool", *(["--root", root] if root else [])]


def _call(words: list[str], environ: dict[str, str] | None = None) -> None:
    done = subprocess.run(words, env=environ, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def _last_commit() -> str:
    """Return the time of the last commit, in seconds."""
    words = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("the time of the last commit is unknown: set SOURCE_DATE_EPOCH")
    return done.stdout.strip()


def _inspect(root: str, image: str) -> Any:
    words = [*_program(root), "inspect", image]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)[0]["Manifest"]


def _python(root: str, image: str) -> str:
    """Return what the image's ``python3`` is a link to, as ``python3.13``."""
    words = [*_program(root), "export", image]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as exporting:
        assert exporting.stdout is not None
        with tarfile.open(fileobj=exporting.stdout, mode="r|") as tar:
            links = {member.name: member.linkname for member in tar if member.issym()}
    return links["usr/bin/python3"]


def download(python: str, target: Path) -> None:
    """Unpack ocitool and what it needs for *python*, as ``python3.13``, into *target*."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    machine = platform.machine()
    tags = [word for name in WHEELS for word in ("--platform", f"{name}_{machine}")]
    with tempfile.TemporaryDirectory(prefix="ocitool-wheels-") as wheels:
        _call([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, str(CHECKOUT)])
        (own,) = map(str, Path(wheels).iterdir())
        version = python.removeprefix("python")
        only = ["--only-binary", ":all:", "--python-version", version, *tags]
        _call([*pip, "download", "--dest", wheels, *only, own])
        for wheel in sorted(Path(wheels).iterdir()):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
    for left in (*target.glob("*.data"), *target.glob("zstandard/*_cffi*")):
        # Scripts and the like; zstandard's second backend, of 3 MB, which is for PyPy.
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
