"""What became of a build's result, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One thing that was done with the result."""

    action: str  # "stored", "pushed", "loaded", "wrote"
    names: tuple[str, ...] = ()  # references of the image, full
    where: str = ""  # the file or directory that was written, or the engine
    image: Descriptor | None = None  # of the image's manifest; None: files were written
    id: Digest | None = None  # of its config
