"""ocitool: build, store, move and run OCI images without a daemon.

    from ocitool import BuildOptions, Settings, Store, build, push

    with Store(Settings.load()) as store:
        build(BuildOptions(context=".", tags=("localhost:5000/web:1",)), store=store)
        push("localhost:5000/web:1", source=store)

The names below load what they need when they are first asked for; importing the package itself
costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, which costs more to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from ocitool.builder.build import build
    from ocitool.builder.calls.calls import check
    from ocitool.builder.calls.results import CheckResult
    from ocitool.builder.options import BuildOptions, BuildResult
    from ocitool.containers.lifecycle import run
    from ocitool.containers.options import RunOptions
    from ocitool.errors import OcitoolError, StepFailed
    from ocitool.image.archive.archive import load
    from ocitool.image.copy import copy
    from ocitool.image.image import Image
    from ocitool.image.store_content import local_image
    from ocitool.image.transfer import pull, push
    from ocitool.oci.digest import Digest
    from ocitool.oci.manifest import Descriptor
    from ocitool.oci.platform import Platform
    from ocitool.oci.reference import Reference
    from ocitool.settings import Settings
    from ocitool.store.maintenance.prune import prune
    from ocitool.store.maintenance.remove import remove_image
    from ocitool.store.store import Store

__version__ = "0.1.0"

__all__ = [
    "BuildOptions",
    "BuildResult",
    "CheckResult",
    "Descriptor",
    "Digest",
    "Image",
    "OcitoolError",
    "Platform",
    "Reference",
    "RunOptions",
    "Settings",
    "StepFailed",
    "Store",
    "build",
    "check",
    "copy",
    "load",
    "local_image",
    "prune",
    "pull",
    "push",
    "remove_image",
    "run",
]

_HOMES = {
    "BuildOptions": "builder.options",
    "BuildResult": "builder.options",
    "CheckResult": "builder.calls.results",
    "Descriptor": "oci.manifest",
    "Digest": "oci.digest",
    "Image": "image.image",
    "OcitoolError": "errors",
    "Platform": "oci.platform",
    "Reference": "oci.reference",
    "RunOptions": "containers.options",
    "Settings": "settings",
    "StepFailed": "errors",
    "Store": "store.store",
    "build": "builder.build",
    "check": "builder.calls.calls",
    "copy": "image.copy",
    "load": "image.archive.archive",
    "local_image": "image.store_content",
    "prune": "store.maintenance.prune",
    "pull": "image.transfer",
    "push": "image.transfer",
    "remove_image": "store.maintenance.remove",
    "run": "containers.lifecycle",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
