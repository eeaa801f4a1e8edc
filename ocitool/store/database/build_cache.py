"""The build cache: records of steps, of files that COPY found, and of images; and the stat cache.

The table ``cache`` has the records, as JSON, by cache key.  The table ``files`` is the stat cache,
with a row for each directory of a build context.  All of them can be made again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.store.database.database import Database
from ocitool.store.layer_content import Layer

#: A byte of a path as Python has it (PEP 383), and as it is stored; no path has a NUL.
_BYTE: Final = re.compile("[\udc80-\udcff]")
_STORED_BYTE: Final = re.compile("\0([89a-f][0-9a-f])")

_PUT: Final = "INSERT OR REPLACE INTO cache VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What a step made: a layer; and when."""

    layer: Layer
    created: str  # RFC 3339
    chain_id: str  # digits; of the layer on those below it
    made: float = 0.0  # seconds since the epoch; 0 of records that do not say it


class Content(NamedTuple):
    """A file or directory that COPY or ADD names."""

    name: str  # in the destination; "" for a directory, whose content is copied
    kind: str  # "file", "dir", "archive", "text", "owned", "remote"; "http" of a tag, "time"
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """The image that was committed at the end of a stage."""

    manifest: Descriptor
    config: Descriptor


Record = StepRecord | ImageRecord | tuple[Content, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """A record, and the layer that it uses: that of a step, or None."""

    key: str
    used: float  # seconds since the epoch
    layer: Layer | None
    chain_id: str


class DirectoryRecord(NamedTuple):
    """A row of the stat cache: the files of one directory of a build context."""

    directory: str
    state: bytes  # fingerprint of their stat(2)
    digest: str  # of their content
    content: bytes  # each file's state and digest, as the stat cache writes them


class BuildCache:
    """The records; every method may raise `StoreError`, as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- records of steps -------------------------------------------------------------------

    def step(self, key: str) -> StepRecord | None:
        """Return the record of a step, None without one."""
        text = self._text(key)
        return None if text is None else _step(json.loads(text))

    def put_step(self, key: str, record: StepRecord) -> None:
        """Store the record of a step."""
        blob = record.layer.blob
        fields = {
            "created": record.created,
            "blob": str(blob.digest),
            "size": blob.size,
            "media_type": blob.media_type,
            "diff_id": str(record.layer.diff_id),
            "name": record.chain_id,
            "made": record.made,
        }
        self._put(key, fields)

    def contents(self, key: str) -> tuple[Content, ...] | None:
        """Return the files that the sources of a COPY from an image, or a URL, name.

        None without a record.
        """
        text = self._text(key)
        return None if text is None else _contents(json.loads(text))

    def put_contents(self, key: str, contents: Sequence[Content]) -> None:
        """Store the files that the sources of a COPY from an image, or a URL, name."""
        self._put(key, {"contents": contents})

    def image(self, key: str) -> ImageRecord | None:
        """Return the image that was made with the same key, None without a record."""
        text = self._text(key)
        return None if text is None else _image(json.loads(text))

    def put_image(self, key: str, record: ImageRecord) -> None:
        """Store the record of an image."""
        self._put(key, {"image": [record.manifest.to_json(), record.config.to_json()]})

    def _text(self, key: str) -> str | None:
        rows = self._database.rows("SELECT record FROM cache WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def _put(self, key: str, fields: dict[str, Any]) -> None:
        self._database.run(_PUT, (key, json.dumps(fields), time.time()))

    # -- all records ------------------------------------------------------------------------

    def touch(self, key: str) -> None:
        """Set the time of use of a record: the least recently used are pruned first."""
        self._database.run("UPDATE cache SET used = ? WHERE key = ?", (time.time(), key))

    def uses(self) -> list[CacheUse]:
        """Return every record with the layer it uses, the most recently used first."""
        rows = self._database.rows("SELECT key, used, record FROM cache ORDER BY used DESC, key")
        return [_use(key, used, json.loads(text)) for key, used, text in rows]

    def count(self) -> int:
        """Return how many records there are."""
        count: int = self._database.rows("SELECT COUNT(*) FROM cache")[0][0]
        return count

    def clear(self) -> None:
        """Remove every record, and the stat cache."""
        self._database.run("DELETE FROM cache")
        self._database.run("DELETE FROM files")

    def remove_unused_since(self, limit: float) -> None:
        """Remove the records that were last used before *limit*, in seconds since the epoch."""
        self._database.run("DELETE FROM cache WHERE used < ?", (limit,))

    def remove(self, keys: Sequence[str]) -> None:
        """Remove the records of *keys*, all or none."""
        self._database.run_many("DELETE FROM cache WHERE key = ?", [(key,) for key in keys])

    # -- the stat cache ---------------------------------------------------------------------

    def directories(self, rules: str, top: str) -> list[DirectoryRecord]:
        """Return the records of *top* and all below it under one set of ignore *rules*.

        Their ``content`` is empty: it is seldom needed (`directory_content`).
        """
        below = _stored(f"{top.rstrip('/')}/")
        rows = self._database.rows(
            "SELECT directory, state, digest FROM files WHERE rules = ?"
            " AND (directory = ? OR (directory >= ? AND directory < ?))",
            (rules, _stored(top), below, below[:-1] + "0"),  # "0" follows "/"
        )
        return [DirectoryRecord(_path(text), state, digest, b"") for text, state, digest in rows]

    def directory_content(self, rules: str, directory: str) -> bytes:
        """Return the ``content`` of one record, empty if it is missing."""
        rows = self._database.rows(
            "SELECT content FROM files WHERE directory = ? AND rules = ?",
            (_stored(directory), rules),
        )
        return rows[0][0] if rows else b""

    def put_directories(self, rules: str, records: Sequence[DirectoryRecord]) -> None:
        """Store *records*, all or none."""
        self._database.run_many(
            "INSERT OR REPLACE INTO files (directory, rules, state, digest, content)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (_stored(each.directory), rules, each.state, each.digest, each.content)
                for each in records
            ],
        )


def _stored(path: str) -> str:
    """Return *path* as the database has it: a byte that is not UTF-8 is a NUL and two digits."""
    return _BYTE.sub(lambda found: f"\0{ord(found[0]) & 0xFF:02x}", path)


def _path(text: str) -> str:
    """Return the path that `_stored` has written."""
    return _STORED_BYTE.sub(lambda found: chr(0xDC00 + int(found[1], 16)), text)


def parse_record(text: str) -> Record | None:
    """Read a record of any kind; None for one that only an earlier version uses.

    Raises:
        FormatError: a digest or descriptor in it is malformed.
        ValueError, KeyError, TypeError, AttributeError: it is not a record.
    """
    fields = json.loads(text)
    if "image" in fields:
        return _image(fields)
    if "contents" in fields:
        return _contents(fields)
    return _step(fields)


def _step(fields: dict[str, Any]) -> StepRecord | None:
    layer = _layer(fields)
    if not isinstance(fields["created"], str):
        raise TypeError("created")
    if layer is None:  # a WORKDIR that found its directory had no layer once
        return None
    made = float(fields.get("made", 0))
    return StepRecord(layer=layer, created=fields["created"], chain_id=fields["name"], made=made)


def _layer(fields: dict[str, Any]) -> Layer | None:
    if not fields.get("blob"):
        return None
    blob = Descriptor(
        media_type=fields["media_type"], digest=Digest.parse(fields["blob"]), size=fields["size"]
    )
    return Layer(diff_id=Digest.parse(fields["diff_id"]), blob=blob)


def _contents(fields: dict[str, Any]) -> tuple[Content, ...]:
    contents = tuple(Content._make(each) for each in fields["contents"])
    if any(type(text) is not str for content in contents for text in content):
        raise TypeError("contents")
    return contents


def _image(fields: dict[str, Any]) -> ImageRecord:
    manifest, config = map(Descriptor.from_json, fields["image"])
    return ImageRecord(manifest=manifest, config=config)


def _use(key: str, used: float, fields: dict[str, Any]) -> CacheUse:
    layer = _layer(fields)
    chain_id = str(fields["name"]) if layer else ""
    return CacheUse(key=key, used=used, layer=layer, chain_id=chain_id)
