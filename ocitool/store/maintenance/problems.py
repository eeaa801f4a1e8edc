"""What may be wrong in a store, as values: what it is, what mends it, and what is damaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor

REPAIR: Final = "run `ocitool system check --repair`"


@dataclass(frozen=True, slots=True)
class BadBlob:
    """A blob that is missing, or does not hold what its digest says."""

    digest: Digest
    descriptor: Descriptor | None  # None if no image needs it
    names: tuple[str, ...]  # of the images that need it


@dataclass(frozen=True, slots=True)
class BadLayer:
    """An unpacked layer that is not as its tar says, or stands on one that is not."""

    driver: str
    chain: str


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that can be made again."""

    path: str


@dataclass(frozen=True, slots=True)
class BadLayoutFile:
    """The file ``oci-layout``, which says that the directory is an image layout."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of the database, or several, that hold what is not so; they can be done without."""

    table: str
    where: tuple[tuple[str, str], ...]  # columns and what is in them


@dataclass(frozen=True, slots=True)
class BadDatabase:
    """The database."""


Fault = BadBlob | BadLayer | BadFile | BadLayoutFile | BadRow | BadDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as it should be; ``remedy`` says what mends it.

    ``fault`` is what `ocitool.image.repair` can mend, None where only a human can.
    """

    what: str
    remedy: str
    fault: Fault | None = None
