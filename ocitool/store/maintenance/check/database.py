"""Checking what the database records of blobs.

Rows of unpacked layers are checked with the layers (`ocitool.store.maintenance.check.layers`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from ocitool.errors import BlobNotFound, OcitoolError, StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Manifest, parse_any
from ocitool.oci.mediatypes import layer_type
from ocitool.oci.reference import Reference
from ocitool.store.database.build_cache import ImageRecord, StepRecord, parse_record
from ocitool.store.layer_content import Layer
from ocitool.store.maintenance.check.problems import REPAIR, BadRow, Problem
from ocitool.store.maintenance.mark import Inventory
from ocitool.store.store import Store

_Take = Callable[[Store, Inventory, BadRow, tuple[Any, ...]], None]

#: A column may hold a value of any type; these are the errors of reading a wrong one.
_WRONG = (OcitoolError, ValueError, KeyError, TypeError, AttributeError)


def add_rows(store: Store, inventory: Inventory) -> Iterator[Problem]:
    """Add the layers of the database to *inventory*; yield the rows that are wrong."""
    for table, key, take in _TABLES:
        for values in store.database.contents(table):
            row = BadRow(table, tuple(zip(key, values, strict=False)))
            try:
                take(store, inventory, row, values)
            except _WRONG:
                yield wrong_row(row)
    for digest in _wrong_summaries(store):
        yield wrong_row(BadRow("images", (("digest", digest),)))


def wrong_row(row: BadRow) -> Problem:
    """Return the problem of a row."""
    what = ", ".join(f"{column} {value}" for column, value in row.where)
    return Problem(
        what=f"wrong row in the database: {row.table}, {what}",
        remedy=f"{REPAIR}, which removes it",
        fault=row,
    )


def _packed(store: Store, inventory: Inventory, row: BadRow, values: tuple[Any, ...]) -> None:
    from ocitool.layer.compression.codecs import for_layer, for_type, parse

    digest, diff_id = Digest.parse(values[0]), Digest.parse(values[1])
    media_type = layer_type(parse(values[2])[0].suffix)
    size = store.blobs.size(digest)
    if size is not None:
        with contextlib.closing(store.blobs.open(digest)) as content:
            if for_layer(media_type, content.read(6)) is not for_type(media_type):
                raise ValueError(values[2])
        blob = Descriptor(media_type=media_type, digest=digest, size=size)
        inventory.rows.setdefault(Layer(diff_id=diff_id, blob=blob), set()).add(row)


def _cache(store: Store, inventory: Inventory, row: BadRow, values: tuple[Any, ...]) -> None:
    record = parse_record(values[1])
    if isinstance(record, ImageRecord):
        _same_image(store, record.manifest, record.config)
    elif isinstance(record, StepRecord):
        blob = record.layer.blob
        inventory.blobs.setdefault(blob.digest, blob)
        if store.blobs.size(blob.digest) == blob.size:
            inventory.rows.setdefault(record.layer, set()).add(row)


def _same_image(store: Store, manifest: Descriptor, config: Descriptor) -> None:
    try:
        document = parse_any(store.blobs.read(manifest), manifest.media_type)
    except BlobNotFound:
        return  # the build writes it again
    if not (isinstance(document, Manifest) and document.config.digest == config.digest):
        raise ValueError(str(config.digest))


def _origin(store: Store, inventory: Inventory, row: BadRow, values: tuple[Any, ...]) -> None:
    if values[0]:
        Digest.parse(values[0])
    repository = values[1].removesuffix("@")
    if repository:
        Reference.parse(f"{repository}:latest")


def _wrong_summaries(store: Store) -> Iterator[str]:
    try:
        yield from store.summaries.wrong()
    except StoreError:  # the names cannot be read: reported elsewhere
        return


class _Table(NamedTuple):
    name: str
    key: tuple[str, ...]  # its first columns
    take: _Take


_TABLES: Final = (
    _Table("packed", ("digest",), _packed),
    _Table("cache", ("key",), _cache),
    _Table("origins", ("digest", "repository"), _origin),
)
