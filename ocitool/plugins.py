"""Built-ins and plugins by name: one table, one look-up.

A built-in is written as ``"module:attribute"``, and imported when it is first used.  Installed
distributions add to a group by an entry point of that group; built-in names cannot be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ocitool.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "ocitool.drivers": {
            "erofs": "ocitool.drivers.erofs:ErofsDriver",
            "overlay": "ocitool.drivers.overlay:OverlayDriver",
            "btrfs": "ocitool.drivers.btrfs:BtrfsDriver",
            "fuse-overlayfs": "ocitool.drivers.fuse_overlayfs:FuseOverlayDriver",
            "vfs": "ocitool.drivers.vfs:VfsDriver",
        },
        "ocitool.isolation": {
            "namespaces": "ocitool_runtime.host.isolations.namespaces:Namespaces",
            "chroot": "ocitool_runtime.host.isolations.chroot:Chroot",
            "auto": "ocitool_runtime.host.isolations.automatic:Automatic",
        },
        "ocitool.codecs": {
            "none": "ocitool.layer.compression.codecs:NONE",
            "gzip": "ocitool.layer.compression.codecs:GZIP",
            "zstd": "ocitool.layer.compression.codecs:ZSTD",
            "estargz": "ocitool.layer.compression.estargz:ESTARGZ",
        },
        "ocitool.credentials": {},
    }
)

_NOUNS: Final = {
    "ocitool.drivers": "storage driver",
    "ocitool.isolation": "isolation",
    "ocitool.codecs": "compression",
    "ocitool.credentials": "source of credentials",
}


def lookup(group: str, name: str) -> Any:
    """Return the object *name* of *group*; `PluginError` if it is unknown or cannot load."""
    built_in = BUILT_IN[group].get(name)
    if built_in is not None:
        return _load(built_in)
    entry = _entry_points(group).get(name)
    if entry is None:
        known = ", ".join(names(group))
        raise PluginError(f"unknown {_NOUNS[group]} {name!r}", hint=f"available: {known}")
    try:
        return entry.load()
    except Exception as error:  # a plugin may fail in any way while it is imported
        raise PluginError(
            f"cannot load plugin {name!r} of {_owner(entry)}: {error}", where=group
        ) from error


def names(group: str) -> tuple[str, ...]:
    """Return every name of *group*, built-ins first."""
    added = sorted(_entry_points(group))
    return (*BUILT_IN[group], *added)


def _entry_points(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # takes 15 ms, which a built-in does not need

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.name in BUILT_IN[group] or entry.name in found:
            raise PluginError(
                f"plugin name {entry.name!r} of {_owner(entry)} is already in use",
                where=group,
                hint="uninstall it, or ask its author to choose another name",
            )
        found[entry.name] = entry
    return found


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
