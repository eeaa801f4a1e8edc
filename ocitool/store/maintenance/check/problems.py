"""Problems of a store as values: what is wrong, where, and the remedy."""

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
    """An unpacked layer that differs from its tar, or whose parent does."""

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
    """One or more wrong rows of the database; they can be removed."""

    table: str
    where: tuple[tuple[str, str], ...]  # columns and their values


@dataclass(frozen=True, slots=True)
class BadDatabase:
    """The database."""


Fault = BadBlob | BadLayer | BadFile | BadLayoutFile | BadRow | BadDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a store; ``remedy`` says what to do about it.

    ``fault`` is what `ocitool.image.repair` can repair, None where only the user can.
    """

    what: str
    remedy: str
    fault: Fault | None = None
