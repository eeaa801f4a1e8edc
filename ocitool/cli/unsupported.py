"""Commands that docker has and ocitool has not, each with the reason or with what does it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_FOREGROUND: Final = "containers run in the foreground"
_REMOVED: Final = "containers run in the foreground, and are removed when they exit"
_CLUSTERS: Final = "ocitool manages one machine, not a swarm"

#: Commands of `docker container` but for `run`; most exist without `container`, too.
CONTAINER: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "attach", "create", "exec", "kill", "list", "logs", "ls", "pause", "port", "ps",
            "rename", "restart", "start", "stats", "stop", "top", "unpause", "update", "wait",
        ),
        _FOREGROUND,
    ),
    **dict.fromkeys(
        ("commit", "cp", "diff", "export", "inspect", "prune", "remove", "rm"), _REMOVED
    ),
}  # fmt: skip


BUILDER: Final[Mapping[str, str]] = dict.fromkeys(
    ("create", "du", "inspect", "ls", "rm", "stop", "use"),
    "there is one builder, and it is part of ocitool",
)

SYSTEM: Final[Mapping[str, str]] = {
    "events": "there is no daemon that emits events",
    "dial-stdio": "there is no daemon",
}

_AS_TOP_LEVEL: Final = {
    name: why for name, why in CONTAINER.items()
    if name not in ("export", "inspect", "list", "ls", "prune", "remove")
}  # fmt: skip

UNSUPPORTED: Final[Mapping[str, str]] = {
    **_AS_TOP_LEVEL,
    **dict.fromkeys(("config", "node", "secret", "service", "stack", "swarm"), _CLUSTERS),
    "bake": "use `ocitool build` for each image",
    "buildx": "use `ocitool build`",
    "checkpoint": _FOREGROUND,
    "compose": "use `ocitool run` for each container",
    "context": "there is no daemon to connect to",
    "events": SYSTEM["events"],
    "manifest": "an image has one platform",
    "network": "a container has a private network, the host's or none, see `ocitool run --help`",
    "plugin": "plugins are Python packages, see docs/drivers.md",
    "scout": "use a scanner of images",
    "search": "use the registry's own search",
    "trust": "signatures of images are not verified",
    "volume": "mount a directory of the host, see `ocitool run --help`",
}
