"""zstd:chunked blobs: read as any zstd, and by their table of contents."""

from __future__ import annotations

import base64
import hashlib
import io
import json

import pytest
import zstandard

from ocitool.errors import BadDigest, DigestMismatch, LayerError, TooLarge
from ocitool.layer.compression.codecs import ZSTD
from ocitool.layer.compression.toc import Chunk, contents
from ocitool.layer.entry import Entry
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import OCI_LAYER_ZSTD
from tests.unit.layer.tars import directory, file, tar

NOTES = "io.github.containers.zstd-chunked."
TAR = tar(directory("d", mtime=10**18), file("d/f", b"abcdef" + bytes(100) + b"xyz", uid=7))
CONTENT = b"abcdef" + bytes(100) + b"xyz"


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def skippable(data):
    """A frame that readers pass over (RFC 8878, 3.1.2)."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def compress(data):
    return zstandard.ZstdCompressor().compress(data)


def table(first, last, end):
    """The table of `TAR`, whose file has two parts and a hole between them."""
    part = {"name": "d/f", "type": "chunk"}
    return {
        "version": 1,
        "entries": [
            {"type": "dir", "name": "d/", "mode": 0o755, "modtime": "2001-09-09T01:46:40Z"},
            {
                "type": "reg", "name": "d/f", "mode": 0o644, "size": 109, "uid": 7,
                "modtime": "1970-01-01T01:00:00.5+01:00", "digest": digest(CONTENT),
                "offset": first, "endOffset": end, "chunkSize": 6, "chunkDigest": digest(b"abcdef"),
                "xattrs": {"user.a": base64.b64encode(b"\0x").decode()},
            },
            {**part, "chunkOffset": 6, "chunkSize": 100, "chunkType": "zeros"},
            {**part, "chunkOffset": 106, "chunkSize": 3, "offset": last,
             "chunkDigest": digest(b"xyz")},
        ],
    }  # fmt: skip


def build(change=lambda table: table, **notes):
    """Return a blob as podman pushes them, and its descriptor; *change* makes another table."""
    at = TAR.index(b"abcdef")
    frames = [compress(part) for part in (TAR[:at], b"abcdef", bytes(100), b"xyz", TAR[at + 109 :])]
    first = len(frames[0])
    last = first + len(frames[1]) + len(frames[2])
    body = b"".join(frames)
    plain = json.dumps(change(table(first, last, last + len(frames[3])))).encode()
    packed = compress(plain)
    start = len(body) + 8
    split = compress(b"what podman makes the tar of again")
    numbers = [start, len(packed), len(plain), 1, start + len(packed) + 8, len(split), 34]
    footer = b"".join(number.to_bytes(8, "little") for number in numbers) + b"GNUlInUx"
    blob = body + skippable(packed) + skippable(split) + skippable(footer)
    position = ":".join(str(number) for number in numbers[:4])
    described = {"manifest-checksum": digest(packed), "manifest-position": position, **notes}
    fields = {"mediaType": OCI_LAYER_ZSTD, "digest": digest(blob), "size": len(blob)}
    annotations = {NOTES + key: value for key, value in described.items() if value}
    return blob, Descriptor.from_json({**fields, "annotations": annotations})


def read(blob, descriptor):
    return contents(descriptor, lambda at, size: blob[at : at + size])


def test_it_is_read_as_any_zstd():
    blob, _ = build()
    assert ZSTD.decompress(io.BytesIO(blob)).read() == TAR


@pytest.mark.parametrize("position", [{}, {"manifest-position": ""}], ids=["annotation", "footer"])
def test_its_table_says_where_files_are(position):
    blob, descriptor = build(**position)
    folder, found = read(blob, descriptor)
    assert folder.entry == directory("d", mtime=10**18)
    xattrs = {"user.a": b"\0x"}
    assert found.entry == Entry("d/f", "file", 0o644, 7, 0, 109, 500_000_000, xattrs=xattrs)
    assert found.digest == digest(CONTENT)
    one, hole, other = found.chunks
    assert hole == Chunk(0, 6, 100, "", hole=True)
    for chunk, part in ((one, b"abcdef"), (other, b"xyz")):
        frame = zstandard.ZstdDecompressor().decompressobj()
        assert frame.decompress(blob[chunk.offset :]) == part
        assert CONTENT[chunk.at : chunk.at + chunk.size] == part
        assert chunk.digest == digest(part)


def test_a_table_that_is_another_is_refused():
    blob, descriptor = build(**{"manifest-checksum": digest(b"another")})
    with pytest.raises(DigestMismatch):
        read(blob, descriptor)
    blob, descriptor = build(**{"manifest-checksum": "nonsense"})
    with pytest.raises(BadDigest):
        read(blob, descriptor)


@pytest.mark.parametrize(
    "position",
    ["x", "1:2:3", "1:2:3:4:5", "-1:2:3:1", "0:0:0:1", "1:2:3:2", "1:²:3:1", f"1:2:{1 << 40}:1",
     f"1:{1 << 40}:2:1", f"{1 << 40}:10:10:1", "0:10:10:1"],
)  # fmt: skip
def test_positions_that_are_none(position):
    blob, descriptor = build(**{"manifest-position": position})
    with pytest.raises((LayerError, TooLarge, DigestMismatch)):
        read(blob, descriptor)


@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_a_table_of_another_length_is_refused(wrong):
    _, right = build()
    start, packed, plain, _ = right.annotations[f"{NOTES}manifest-position"].split(":")
    lying = f"{start}:{packed}:{int(plain) + wrong}:1"
    blob, descriptor = build(**{"manifest-position": lying})
    with pytest.raises(LayerError, match="differs from its size in the footer"):
        read(blob, descriptor)


@pytest.mark.parametrize("cut", [1, 8, 64, 72])
def test_a_footer_that_is_cut_off_is_refused(cut):
    blob, descriptor = build(**{"manifest-position": ""})
    with pytest.raises(LayerError, match="footer"):
        read(blob[:-cut], descriptor)


def changed(at, **fields):
    def change(table):
        table["entries"][at] |= fields
        return table

    return change


WRONG = {
    "version": lambda table: {**table, "version": 2},
    "no object": lambda table: [table],
    "entries": lambda table: {**table, "entries": {}},
    "an entry": lambda table: {**table, "entries": ["x"]},
    "a part alone": lambda table: {**table, "entries": table["entries"][2:]},
    "a part missing": lambda table: {**table, "entries": table["entries"][:3]},
    "a part of another": changed(2, name="other"),
    "a name that leads out": changed(1, name="../f"),
    "an absolute name": changed(1, name="/f"),
    "a type": changed(0, type="socket"),
    "a size": changed(1, size="109"),
    "a negative size": changed(1, size=-109),
    "a flag": changed(1, uid=True),
    "a time": changed(0, modtime="yesterday"),
    "a time without a zone": changed(0, modtime="2001-09-09T01:46:40"),
    "an attribute": changed(1, xattrs={"user.a": "?"}),
    "an overlap": changed(2, chunkOffset=5),
    "a gap": changed(2, chunkOffset=7),
    "beyond the end": changed(3, chunkSize=4),
    "without a digest": changed(3, chunkDigest=""),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_tables_that_do_not_follow_their_format(change):
    blob, descriptor = build(change)
    with pytest.raises(LayerError):
        read(blob, descriptor)
