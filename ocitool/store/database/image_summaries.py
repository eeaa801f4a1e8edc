"""Image summaries: what listings show, stored so that they need not read each manifest.

A row belongs to a digest, so it is never out of date.  All rows can be made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ocitool.errors import OcitoolError, StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, parse_any
from ocitool.store.blobs import Blobs
from ocitool.store.database.database import Database
from ocitool.store.refs import Refs

_MANY = 500  # values that one query names; SQLite takes at least 999


class ImageSummary(NamedTuple):
    """The summary of an image; that of an index has only its digest."""

    id: str  # the config's digest, as docker's; of an index its own
    created: str  # RFC 3339, "" if unknown
    platform: str
    size: int  # bytes of all its blobs


class ImageSummaries:
    """The summaries of the images that several *refs* name."""

    def __init__(
        self, database: Callable[[], Database], blobs: Blobs, refs: Sequence[Refs]
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._refs = refs

    def of(self, digests: Iterable[str]) -> dict[str, ImageSummary]:
        """Return the summaries of the entries that point to *digests*, without corrupt ones."""
        wanted = set(digests)
        known = self._known(wanted)
        missing = wanted - known.keys()
        if missing:
            made = {}
            for entry in self._entries(missing):
                if str(entry.digest) in missing:
                    with contextlib.suppress(OcitoolError):
                        made[str(entry.digest)] = self._read(entry)
            self._remember(made)
            known |= made
        return known

    def ids(self) -> dict[str, str]:
        """Return the image ID of every manifest that has an entry, by the manifest's digest.

        Several may have one ID: an image pulled, and loaded from an archive with other blobs.  The
        ID of a manifest that cannot be read is its digest.
        """
        digests = {digest: digest for refs in self._refs for _, digest in refs.names()}
        return digests | {digest: known.id for digest, known in self.of(digests).items()}

    def count(self, refs: Refs) -> int:
        """Return the number of images that *refs* names, as docker counts: an ID counts once."""
        ids = self.ids()
        return len({ids.get(digest, digest) for _, digest in refs.names()})

    def beginning(self, digits: str) -> dict[str, str]:
        """Return manifest's digest and image ID of each image whose ID begins with *digits*.

        If there is none, *digits* may be those of manifests' digests.
        """
        ids = self.ids()
        found = {digest: known for digest, known in ids.items() if _begins(known, digits)}
        return found or {each: known for each, known in ids.items() if _begins(each, digits)}

    def wrong(self) -> Iterator[str]:
        """Yield the digests whose summary differs from their manifest."""
        for entry in (entry for refs in self._refs for entry in refs.all()):
            for digest, summary in self._known({str(entry.digest)}).items():
                with contextlib.suppress(OcitoolError):
                    if summary != self._read(entry):
                        yield digest

    def _entries(self, digests: set[str]) -> Iterator[Descriptor]:
        for refs in self._refs:
            if len(digests) > 1:
                yield from refs.all()
            else:
                yield from refs.pointing(Digest.parse(next(iter(digests))))

    def _known(self, digests: set[str]) -> dict[str, ImageSummary]:
        query = "SELECT digest, id, created, platform, size FROM images"
        values: tuple[str, ...] = ()
        if len(digests) <= _MANY:
            query += f" WHERE digest IN ({','.join('?' * len(digests))})"
            values = tuple(digests)
        # Without a readable database a listing is only slower.
        with contextlib.suppress(StoreError):
            rows = self._database().rows(query, values)
            here = {row[0]: ImageSummary._make(row[1:]) for row in rows if row[0] in digests}
            return {digest: summary for digest, summary in here.items() if self._is_here(digest)}
        return {}

    def _is_here(self, digest: str) -> bool:
        return self._blobs.size(Digest.parse(digest)) is not None

    def _read(self, entry: Descriptor) -> ImageSummary:
        from ocitool.oci.config import ImageConfig  # not needed for tagging

        document = parse_any(self._blobs.read(entry), entry.media_type)
        if isinstance(document, Index):
            return ImageSummary(str(entry.digest), "", "", 0)
        config = ImageConfig.parse(self._blobs.read(document.config))
        parts = (document.config, *document.layers)
        return ImageSummary(
            str(document.config.digest),
            config.created,
            str(config.platform),
            entry.size + sum(part.size for part in parts),
        )

    def _remember(self, made: dict[str, ImageSummary]) -> None:
        # On a full disk nothing is stored: the next listing reads the manifests again.
        with contextlib.suppress(StoreError):
            self._database().run_many(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)",
                [(digest, *summary) for digest, summary in made.items()],
            )


def _begins(digest: str, digits: str) -> bool:
    return digest.partition(":")[2].startswith(digits)
