"""Options of a container, as ``docker run`` has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ocitool.errors import ContainerError
from ocitool.option_types import convert_fields
from ocitool_runtime.defaults import Network, ResourceOptions

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
PULL_POLICIES: Final = ("always", "missing", "never")
_HOSTNAME: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(ResourceOptions):
    """One container.  What is not given comes from the image.

    Raises:
        FormatError: a value is of another type.
    """

    image: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()  # "NAME=value", or "NAME" for the caller's value
    env_files: tuple[str, ...] = ()  # with such lines; `env` goes before them
    volumes: tuple[str, ...] = ()  # "/host:/container[:ro]"
    mounts: tuple[str, ...] = ()  # "type=bind,source=/host,target=/container[,readonly]"
    tmpfs: tuple[str, ...] = ()  # "/path[:options]"
    workdir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()  # further groups of the user, as names or IDs
    entrypoint: str | None = None  # "" clears the image's
    hostname: str = ""
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    cidfile: str = ""  # a file that gets the container's ID, and must not exist
    pull: str = "missing"  # or "always", "never"
    network: Network = Network.DEFAULT  # that of the settings, or else the sandbox's choice
    add_hosts: tuple[str, ...] = ()  # "name:address"
    dns: tuple[str, ...] = ()  # addresses of name servers instead of the host's
    shm_size: int | None = None  # bytes of /dev/shm; None or 0: 64 MiB
    ulimits: tuple[str, ...] = ()  # "name=soft[:hard]"
    pids_limit: int | None = None  # processes and threads; None, 0 or -1: no limit
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opts: tuple[str, ...] = ()  # "no-new-privileges", "seccomp=unconfined"
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
        if self.pull not in PULL_POLICIES:
            raise ContainerError(
                f"invalid pull option: {self.pull!r}", hint=f"one of {', '.join(PULL_POLICIES)}"
            )
        if self.shm_size is not None and self.shm_size < 0:
            raise ContainerError("the size of /dev/shm must not be less than 0")
        if "" in self.labels:
            raise ContainerError("invalid label: the name is empty")
        if self.name and not _NAME.fullmatch(self.name):
            raise ContainerError(
                f"invalid container name {self.name!r}",
                hint="use two or more letters, digits, _ . and -, beginning with a letter or digit",
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
