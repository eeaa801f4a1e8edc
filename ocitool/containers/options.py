"""Options of a container, as ``docker run`` has them."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ocitool.errors import ContainerError
from ocitool.option_types import convert_fields
from ocitool_runtime.defaults import Network
from ocitool_runtime.spec import Mount

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOSTNAME: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """One container.  What is not given comes from the image.

    Raises:
        FormatError: a value is of another type.
    """

    image: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()  # "NAME=value", or "NAME" for the caller's value
    volumes: tuple[str, ...] = ()  # "/host:/container[:ro]"
    tmpfs: tuple[str, ...] = ()  # "/path[:options]"
    workdir: str = ""
    user: str = ""
    entrypoint: str | None = None  # "" clears the image's
    hostname: str = ""
    name: str = ""
    network: Network = Network.HOST
    read_only: bool = False
    interactive: bool = False
    terminal: bool = False
    init: bool = False
    platform: str = ""  # of the image; default: any, with a warning of another than this machine's

    def __post_init__(self) -> None:
        convert_fields(self)

    def check(self) -> None:
        """Raise `ContainerError` for an invalid option."""
        parse_network(self.network)
        if self.name and not _NAME.fullmatch(self.name):
            raise ContainerError(
                f"invalid container name {self.name!r}",
                hint="letters, digits, _ . and -, two or more, beginning with a letter or digit",
            )
        if self.hostname and not _HOSTNAME.fullmatch(self.hostname):
            raise ContainerError(f"invalid hostname format: {self.hostname!r}")
        if self.workdir and not self.workdir.startswith("/"):
            raise ContainerError(
                f"the working directory {self.workdir!r} is invalid, "
                "it needs to be an absolute path"
            )


def parse_network(text: str) -> Network:
    """Read the value of ``--network``; `ContainerError` if it is not supported."""
    try:
        return Network(text)
    except ValueError:
        raise ContainerError(
            f"--network {text} is not supported", hint=f"one of {', '.join(Network)}"
        ) from None


def variables(
    options: RunOptions, base: Mapping[str, str], caller: Mapping[str, str]
) -> dict[str, str]:
    """Return the container's environment: the image's, then that of the options."""
    env = dict(base)
    if options.hostname:
        env.setdefault("HOSTNAME", options.hostname)
    if options.terminal:
        env.setdefault("TERM", "xterm")
    for entry in options.env:
        name, equals, value = entry.partition("=")
        if not name:
            raise ContainerError(
                f"invalid environment variable: {entry!r}", hint="write NAME=value"
            )
        if equals:
            env[name] = value
        elif name in caller:
            env[name] = caller[name]
        else:
            env.pop(name, None)
    return env


def bind_mount(text: str) -> Mount:
    """Read ``SOURCE:TARGET[:ro|rw]``; the source is a path of the host that exists."""
    parts = text.split(":")
    if len(parts) == 1 or not parts[0].startswith(("/", ".")):
        raise ContainerError(
            f"-v {text}: named and anonymous volumes are not supported",
            hint="use an absolute host path: -v /data:/data",
        )
    if len(parts) > 3 or not parts[1].startswith("/"):
        raise ContainerError(
            f"invalid volume specification: {text!r}",
            hint="use SOURCE:TARGET[:ro]; the target is an absolute path",
        )
    options = _mount_options(text, parts[2] if len(parts) == 3 else "rw")
    source = os.path.abspath(parts[0])
    if not os.path.lexists(source):
        raise ContainerError(
            f"-v {text}: {source}: no such file or directory", hint="create it first"
        )
    return Mount(type="bind", source=source, target=_target(text, parts[1]), options=options)


def _mount_options(text: str, words: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(words.split(",")))
    for word in found:
        if word not in ("ro", "rw"):
            raise ContainerError(
                f"-v {text}: the option {word!r} is not supported", hint="use ro or rw"
            )
    if len(found) != 1:
        raise ContainerError(f"-v {text}: ro and rw are mutually exclusive")
    return ("rbind", *found)


def tmpfs_mount(text: str) -> Mount:
    """Read ``/path[:size=64m,mode=1777,...]``."""
    path, _, words = text.partition(":")
    if not path.startswith("/"):
        raise ContainerError(f"--tmpfs {text}: mount path must be absolute")
    options = tuple(word for word in words.split(",") if word)
    safe = ("nosuid", "nodev", "noexec")
    defaults = tuple(each for each in safe if each.removeprefix("no") not in options)
    return Mount(
        type="tmpfs",
        target=_target(text, path),
        options=tuple(dict.fromkeys((*defaults, *options))),
    )


def _target(text: str, path: str) -> str:
    target = posixpath.normpath(path)
    if target in ("/", "//"):
        raise ContainerError(f"invalid volume specification: {text!r}: destination can't be '/'")
    return target
