"""Names that begin like a transport of skopeo and buildah, and are names of images here.

Source: containers-transports(5).
"""

from __future__ import annotations

from typing import Final

#: What makes the same as a tag with this transport.
_OUTPUTS: Final = {
    "containers-storage": "leave containers-storage: out",
    "dir": "use -o type=oci,tar=false,dest=DIRECTORY",
    "docker-archive": "use -o type=docker,dest=FILE",
    "docker-daemon": "use --load",
    "oci": "use -o type=oci,tar=false,dest=DIRECTORY",
    "oci-archive": "use -o type=oci,dest=FILE",
}


def instead_of_tag(tag: str) -> str:
    """Return what to do instead of the tag *tag*; ``""`` if it names no transport."""
    return _OUTPUTS.get(tag.partition(":")[0], "") if ":" in tag else ""


def instead_of_base(name: str) -> str:
    """Return what to do instead of the base image *name*; ``""`` if it names no transport."""
    if not instead_of_tag(name):
        return ""
    return (
        "FROM takes names of images alone: use `ocitool load`, or --build-context with oci-layout"
    )
