"""ocitool and its peers as functions from a context and a Dockerfile to an image as values."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fixtures import images
from tests.fixtures.programs import python_environment
from tests.fuzz.mounts import SECRET

_SLOWEST = 120  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image, or the error that there is instead."""

    tree: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    layers: tuple[str, ...] = ()  # digests, where a builder is asked twice
    digest: str = ""  # of the manifest, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a builder is given, as files and options."""

    dockerfile: Path
    context: Path
    words: tuple[str, ...] = ()
    base: Path | None = None  # the Dockerfile of a base image, which is built before
    archive: Path | None = None  # the context with the Dockerfile, given on standard input
    url: str = ""  # likewise, of a repository
    stdin: bool = False  # whether the Dockerfile is given on standard input

    @property
    def read(self) -> tuple[str, ...]:
        """Return the Dockerfile and the context as words of a command."""
        if self.archive is not None:
            return ("-f", "Dockerfile", "-")
        if self.url:
            return ("-f", "Dockerfile", self.url)
        if self.stdin:
            return ("-f", "-", str(self.context))
        return ("-f", str(self.dockerfile), str(self.context))

    @property
    def given(self) -> Path | None:
        """Return what is on standard input."""
        return self.dockerfile if self.stdin else self.archive


class Failed(Exception):
    """A builder has refused the Dockerfile, or a command in it failed."""


def _execute(command: Sequence[str], *, given: Path | None = None, **env: str) -> str:
    try:
        with (given or Path(os.devnull)).open("rb") as stdin:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_SLOWEST,
                stdin=stdin, env={**os.environ, "NO_PROXY": "127.0.0.1", **env},
            )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Failed(f"took longer than {error.timeout} seconds") from None
    if done.returncode:
        raise Failed(f"{done.stdout}{done.stderr}"[-800:])
    return done.stdout


def _secret(dockerfile: Path) -> tuple[str, str]:
    """Return the option for the secret of all cases, a file beside the Dockerfile."""
    path = dockerfile.with_name("secret")
    path.write_text(SECRET)
    return ("--secret", f"id=s,src={path}")


class Ocitool:
    """ocitool, with a store of its own; *words* are further options, *before* is what starts it."""

    name = "ocitool"

    def __init__(
        self,
        store: Path,
        base: str,
        *words: str,
        driver: str = "overlay",
        before: Sequence[str] = (),
    ) -> None:
        self._store = store
        program = (sys.executable, "-m", "ocitool", "--root", str(store), "--driver", driver)
        self._words = (*before, *program, "build", "-q", *words)
        self._base = base

    def build(self, inputs: Inputs, *more: str) -> Built:
        """Build; the image is read from the layout in the store."""
        tag = "fuzz:1"
        given = ("--build-arg", f"BASE={self._base}", *_secret(inputs.dockerfile))
        base = ("--build-arg", "MADE=made:1") if inputs.base else ()
        words = ("-t", tag, *given, *base, *inputs.words, *more, *inputs.read)
        environment = python_environment()
        try:
            if inputs.base is not None:
                made = ("-t", "made:1", *given, *more, "-f", str(inputs.base), str(inputs.context))
                _execute([*self._words, *made], **environment)
            _execute([*self._words, *words], given=inputs.given, **environment)
        except Failed as error:
            return Built(error=str(error))
        return stored(self._store / "oci", tag)

    def output(self, inputs: Inputs, output: str) -> str:
        """Build with ``-o``; return the error, or nothing."""
        words = ("--build-arg", f"BASE={self._base}", *_secret(inputs.dockerfile), *inputs.words)
        base = ("--build-arg", "MADE=made:1") if inputs.base else ()
        command = [*self._words, *words, *base, "-o", output, *inputs.read]
        try:
            _execute(command, given=inputs.given, **python_environment())
        except Failed as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Remove the store."""
        shutil.rmtree(self._store, ignore_errors=True)


class Docker:
    """docker's engine with its BuildKit."""

    name = "docker"

    def __init__(self, work: Path, base: str) -> None:
        self._program = os.environ.get("OCITOOL_DOCKER", "docker")
        self._archive = work / "docker.tar"
        self._tag = f"fuzz-{os.getpid()}"  # an engine may serve several campaigns
        self._base = base

    def build(self, inputs: Inputs) -> Built:
        """Build; the image is read from an archive, and removed."""
        words = (self._program, "build", "-q", "--network", "host")
        given = ("--build-arg", f"BASE={self._base}", *_secret(inputs.dockerfile))
        made = f"{self._tag}-base"
        base = ("--build-arg", f"MADE={made}") if inputs.base else ()
        command = [*words, "-t", self._tag, *given, *base, *inputs.words, *inputs.read]
        try:
            if inputs.base is not None:
                file = ("-f", str(inputs.base), str(inputs.context))
                _execute([*words, "-t", made, *given, *file], DOCKER_BUILDKIT="1")
            _execute(command, given=inputs.given, DOCKER_BUILDKIT="1")
            _execute([self._program, "save", "-o", str(self._archive), self._tag])
        except Failed as error:
            return Built(error=str(error))
        finally:
            tags = (self._tag, *([made] if inputs.base else []))
            subprocess.run([self._program, "image", "rm", "-f", *tags], capture_output=True)
        with tarfile.open(self._archive) as tar:
            config, layers = _saved(tar)
        return Built(tree=images.tree(layers), config=images.configuration(config))

    def close(self) -> None:
        """Remove the archive."""
        self._archive.unlink(missing_ok=True)


class Buildah:
    """buildah on runc, with a storage of its own."""

    name = "buildah"

    def __init__(self, work: Path, base: str) -> None:
        storage = ("--root", f"{work}/buildah", "--runroot", f"{work}/run")
        self._program = ("buildah", *storage, "--storage-driver", "overlay")
        self._work = work
        self._base = base

    def build(self, inputs: Inputs) -> Built:
        """Build in one layer per instruction; the image is read from a directory of skopeo's."""
        words = (
            *self._program, "build", "-q", "--layers", "--identity-label=false", "--runtime",
            "runc", "--tls-verify=false", "--network", "host", "--format", "docker",
            "--ulimit", "nofile=1024:1024", "--build-arg", f"BASE={self._base}",
            *_secret(inputs.dockerfile),
        )  # fmt: skip
        target = self._work / "directory"
        shutil.rmtree(target, ignore_errors=True)
        base = ("--build-arg", "MADE=localhost/made") if inputs.base else ()
        try:
            if inputs.base is not None:
                _execute([*words, "-t", "made", "-f", str(inputs.base), str(inputs.context)])
            command = [*words, "-t", "fuzz", *base, *inputs.words, *inputs.read]
            _execute(command, given=inputs.given)
            _execute([*self._program, "push", "-q", "-D", "fuzz", f"dir:{target}"])
        except Failed as error:
            return Built(error=str(error))
        finally:
            tags = ("fuzz", *(["made"] if inputs.base else []))
            subprocess.run([*self._program, "rmi", "-f", *tags], capture_output=True)
        config, layers = images.directory_image(target)
        return Built(tree=images.tree(layers), config=images.configuration(config))

    def close(self) -> None:
        """Remove the storage."""
        subprocess.run([*self._program, "rmi", "-a", "-f"], capture_output=True)
        for name in ("buildah", "run", "directory"):
            shutil.rmtree(self._work / name, ignore_errors=True)


def stored(layout: Path, tag: str = "") -> Built:
    """Return the image of a name in a layout, or the only one."""
    index = json.loads((layout / "index.json").read_text())
    digests = [entry["digest"] for entry in index["manifests"] if tag in str(entry)]
    config, layers = images.layout_image(layout, digests[0])
    return Built(
        tree=images.tree(layers),
        config=images.configuration(config),
        layers=tuple(config["rootfs"]["diff_ids"]),
        digest=digests[0],
    )


def _saved(tar: tarfile.TarFile) -> tuple[dict[str, Any], list[bytes]]:
    manifest = json.loads(_member(tar, "manifest.json"))[0]
    layers = [_member(tar, name) for name in manifest["Layers"]]
    return json.loads(_member(tar, manifest["Config"])), layers


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert isinstance(file, io.BufferedReader)
    return file.read()


def differences(ours: Built, theirs: Built) -> Iterator[str]:
    """Yield each difference as a line."""
    if bool(ours.error) != bool(theirs.error):
        yield f"error: ours {ours.error!r}, theirs {theirs.error!r}"
        return
    for what, mine, other in (
        ("tree", ours.tree, theirs.tree),
        ("config", _by_variable(ours.config), _by_variable(theirs.config)),
    ):
        for key in sorted(mine.keys() | other.keys()):
            if mine.get(key) != other.get(key):
                yield f"{what}: {key}: ours {mine.get(key)!r}, theirs {other.get(key)!r}"


def _by_variable(config: dict[str, Any]) -> dict[str, Any]:
    """Return *config* with a field for each variable of its environment."""
    fields = {name: value for name, value in config.items() if name != "Env"}
    for variable in config.get("Env", ()):
        name, _, value = variable.partition("=")
        fields[f"Env.{name}"] = value
    return fields
