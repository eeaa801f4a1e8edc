"""Running a program in a sandbox of Linux namespaces.

    get_isolation().start(Sandbox(rootfs=..., args=("true",)), Stdio()).wait()

The names are imported when they are first used: the shim starts without them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocitool_runtime.defaults import Network, Rlimit
    from ocitool_runtime.host.terminal import run_foreground
    from ocitool_runtime.isolation import Isolation, Process, Support, get_isolation
    from ocitool_runtime.spec import Exit, IdMap, Mount, Sandbox, Stdio

__all__ = [
    "Exit",
    "IdMap",
    "Isolation",
    "Mount",
    "Network",
    "Process",
    "Rlimit",
    "Sandbox",
    "Stdio",
    "Support",
    "get_isolation",
    "run_foreground",
]

_HOMES = {
    "isolation": ("Isolation", "Process", "Support", "get_isolation"),
    "spec": ("Exit", "IdMap", "Mount", "Sandbox", "Stdio"),
    "defaults": ("Network", "Rlimit"),
    "host.terminal": ("run_foreground",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
