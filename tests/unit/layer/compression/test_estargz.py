"""eStargz: written as its specification says, and a gzip as any to those who do not know it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import zlib

import pytest

from ocitool.errors import DigestMismatch, LayerError, OcitoolError, TooLarge
from ocitool.layer.compression.estargz import ESTARGZ, footer
from ocitool.layer.compression.packer import Packer
from ocitool.layer.compression.toc import contents
from ocitool.layer.entry import Entry, Kind
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import OCI_LAYER_GZIP
from tests.unit.layer.holes import FORMS, sparse
from tests.unit.layer.tars import (
    directory,
    extended,
    file,
    header,
    link,
    members,
    record,
    symlink,
    tar,
)

NOTE = "containerd.io/snapshot/stargz/toc.digest"
LANDMARK = ".no.prefetch.landmark"
LARGE = bytes(range(256)) * (9 << 12)  # 9 MiB: three chunks
MEMBERS = (
    directory("", 0o700),
    directory("d", 0o1777, uid=5, gid=6, mtime=1_700_000_000_999_999_999),
    file("d/small", b"small", mode=0o4755, mtime=10**18),
    file("d/empty"),
    file("large", LARGE, xattrs={"user.raw": b"\0\xff", "user.a": b""}),
    file("p/" * 100 + "café", b"x" * 511),
    file("block", b"y" * 512),
    link("hard", "large"),
    symlink("soft", "../elsewhere"),
    Entry("char", Kind.CHAR, device=(4, 5)),
    Entry("fifo", Kind.FIFO),
    file("last", b"z"),
)
EVERY = [member if isinstance(member[0], Entry) else (member, b"") for member in MEMBERS]


def pack(data, step=1 << 20):
    """Pack the tar *data*; returns the blob, its descriptor and the diff id."""
    out = bytearray()
    packer = Packer(ESTARGZ, out.extend)
    try:
        for at in range(0, len(data), step):
            packer.write(data[at : at + step])
        diff_id = packer.finish()
    except BaseException:
        packer.abandon()
        raise
    blob = bytes(out)
    return blob, described(blob, packer.annotations), diff_id


def described(blob, annotations):
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    fields = {"mediaType": OCI_LAYER_GZIP, "digest": digest, "size": len(blob)}
    return Descriptor.from_json({**fields, "annotations": dict(annotations)})


def fetching(blob, seen=None):
    def fetch(offset, size):
        if seen is not None:
            seen.append((offset, size))
        return blob[offset : offset + size]

    return fetch


@pytest.fixture(scope="module")
def packed():
    return pack(tar(*MEMBERS))


@pytest.mark.slow
def test_it_is_a_gzip_of_the_tar_with_two_files_more(packed):
    blob, _, diff_id = packed
    plain = gzip.decompress(blob)
    assert diff_id.encoded == hashlib.sha256(plain).hexdigest()
    assert ESTARGZ.decompress(io.BytesIO(blob)).read() == plain
    whole = tar(*MEMBERS)
    assert plain.startswith(whole[:-1024])
    assert plain.endswith(bytes(1024))
    *before, landmark, table = members(plain)
    assert before == members(whole)
    assert (landmark[0].path, landmark[1]) == (LANDMARK, b"\x0f")
    assert table[0].path == "stargz.index.json"
    if shutil.which("gzip"):
        subprocess.run(["gzip", "-t"], input=blob, check=True)


def test_the_footer_says_where_the_table_is(packed):
    blob, descriptor, _ = packed
    end = blob[-51:]
    assert end[:4] == b"\x1f\x8b\x08\x04"
    assert end[10:16] == b"\x1a\x00SG\x16\x00"
    assert (end[32:38], end[38:]) == (b"STARGZ", b"\x01\x00\x00\xff\xff" + bytes(8))
    assert gzip.decompress(end) == b""
    start = int(end[16:32], 16)
    ((entry, table),) = members(gzip.decompress(blob[start:-51]))
    assert entry.path == "stargz.index.json"
    assert descriptor.annotations == {NOTE: f"sha256:{hashlib.sha256(table).hexdigest()}"}
    assert json.loads(table)["version"] == 1


def test_every_file_can_be_had_by_itself(packed):
    blob, descriptor, _ = packed
    for found in contents(descriptor, fetching(blob)):
        content = b""
        for chunk in found.chunks:
            inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            part = inflate.decompress(blob[chunk.offset :])
            assert inflate.eof  # a member of its own, with nothing else in it
            assert len(part) == chunk.size
            assert chunk.digest == f"sha256:{hashlib.sha256(part).hexdigest()}"
            content += part
        wanted = {entry.path: content for entry, content in EVERY} | {LANDMARK: b"\x0f"}
        assert content == wanted[found.entry.path]
        assert len(found.chunks) == -(-len(content) // (4 << 20))
        if content:
            assert found.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_table_has_what_the_tar_has(packed):
    blob, descriptor, _ = packed
    seen = []
    found = contents(descriptor, fetching(blob, seen))
    assert sum(size for _, size in seen) < 10_000  # of a blob whose files are not fetched
    wanted = [entry._replace(size=len(content), mtime=entry.mtime // 10**9 * 10**9)
              for entry, content in EVERY]  # fmt: skip
    assert [file.entry for file in found[:-1]] == wanted
    assert found[-1].entry.path == LANDMARK


def test_the_table_s_json_is_as_specified(packed):
    blob, _, _ = packed
    table = json.loads(members(gzip.decompress(blob))[-1][1])
    items = {item["name"]: item for item in table["entries"] if item["type"] != "chunk"}
    assert items["d/"]["type"] == "dir"
    assert items["d/"]["modtime"] == "2023-11-14T22:13:20Z"
    assert items["large"]["xattrs"] == {"user.a": "", "user.raw": "AP8="}
    assert (items["large"]["size"], items["large"]["chunkSize"]) == (len(LARGE), 4 << 20)
    assert "offset" not in items["d/empty"]
    assert (items["hard"]["type"], items["hard"]["linkName"]) == ("hardlink", "large")
    assert (items["char"]["devMajor"], items["char"]["devMinor"]) == (4, 5)
    chunks = [item for item in table["entries"] if item["type"] == "chunk"]
    assert [(c["chunkOffset"], c.get("chunkSize", 0)) for c in chunks] == [
        (4 << 20, 4 << 20),
        (8 << 20, 0),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("step", [511, 513, 100_003])
def test_however_it_is_cut_the_blob_is_the_same(packed, step):
    assert pack(tar(*MEMBERS), step) == packed


@pytest.mark.slow
def test_what_comes_after_the_end_is_left_out(packed):
    assert pack(tar(*MEMBERS) + bytes(10_240)) == packed
    assert pack(tar(*MEMBERS, end=False)) == packed


@pytest.mark.parametrize("data", [b"", bytes(1024), tar(file("a"))])
def test_tars_without_content(data):
    blob, descriptor, _ = pack(data)
    paths = [file.entry.path for file in contents(descriptor, fetching(blob))]
    assert paths == [entry.path for entry, _ in members(data)] + [LANDMARK]


@pytest.mark.parametrize("cut", [1, 600, 1100, 1535])
def test_a_tar_that_ends_too_early(cut):
    with pytest.raises(LayerError, match="unexpected end of the archive"):
        pack(tar(file("a", b"x" * 600), end=False)[:cut])


@pytest.mark.parametrize("name", [LANDMARK, ".prefetch.landmark", "stargz.index.json"])
def test_names_that_it_has_for_itself(name):
    with pytest.raises(LayerError, match="name is reserved for eStargz") as caught:
        pack(tar(file(name, b"x")))
    assert "gzip or zstd" in caught.value.hint


@pytest.mark.parametrize("form", FORMS)
def test_sparse_files_are_refused(form):
    with pytest.raises(LayerError, match="sparse files cannot be in an eStargz") as caught:
        pack(sparse(form, 1000, [(5, b"x")]) + bytes(1024))
    assert "gzip or zstd" in caught.value.hint


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (file("d/caf\udce9", b"x"), 'the name "d/caf\\xe9" is'),
        (directory("caf\udce9"), 'the name "caf\\xe9" is'),
        (symlink("é", "\udcff\udcfe"), 'the link target "\\xff\\xfe" of "é" is'),
        (link("l", "\udce9"), 'the link target "\\xe9" of "l" is'),
        (
            file("f", xattrs={"user.\udce9": b"1"}),
            'the extended attribute "user.\\xe9" of "f" is',
        ),
    ],
)
def test_names_that_json_cannot_hold_are_refused(member, said):
    with pytest.raises(LayerError) as caught:
        pack(tar(file("before", b"b"), member))
    assert str(caught.value).startswith(f"{said} not valid UTF-8, and the table of contents of an")
    assert "gzip or zstd" in caught.value.hint
    assert pack(tar(file("é☃", b"x")))


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 2000,
        extended(record(b"comment", b"c" * 1000)) * 4000 + header(),
        header(kind=b"x", size=b"77777777777"),
    ],
)
def test_tars_that_are_hostile(data):
    with pytest.raises(LayerError):
        pack(data)


def test_a_table_that_is_another_is_refused(packed):
    blob, descriptor, _ = packed
    other = described(blob, {NOTE: f"sha256:{'0' * 64}"})
    with pytest.raises(DigestMismatch):
        contents(other, fetching(blob))
    assert contents(described(blob, {}), fetching(blob)) is None
    assert contents(descriptor, fetching(blob)) is not None


@pytest.mark.parametrize("start", [0, 5, 1 << 40])
def test_a_footer_that_lies(packed, start):
    blob, descriptor, _ = packed
    lying = blob[:-51] + footer(start)
    with pytest.raises(OcitoolError):
        contents(descriptor, fetching(lying))


@pytest.mark.parametrize("blob", [b"", b"x" * 51, gzip.compress(b"x" * 1000, mtime=0)])
def test_a_blob_without_a_footer(packed, blob):
    with pytest.raises(LayerError, match="footer"):
        contents(described(blob, packed[1].annotations), fetching(blob))


def test_a_table_beyond_reason_is_not_fetched(packed):
    seen = []
    blob = described(b"", packed[1].annotations)
    huge = Descriptor(
        media_type=blob.media_type, digest=blob.digest, size=1 << 40, annotations=blob.annotations
    )
    with pytest.raises(TooLarge):
        contents(huge, lambda at, size: seen.append(size) or footer(0))
    assert seen == [51]
