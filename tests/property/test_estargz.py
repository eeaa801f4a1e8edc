"""Any tar of ours as eStargz: nothing is lost, and every file is where its table says."""

from __future__ import annotations

import gzip
import hashlib
import zlib

from hypothesis import given
from hypothesis import strategies as st

from ocitool.layer.compression.estargz import ESTARGZ
from ocitool.layer.compression.packer import Packer
from ocitool.layer.compression.toc import TABLE, parse
from ocitool.layer.entry import Entry
from tests.property.test_layer import entries
from tests.unit.layer.tars import members, tar


def is_text(one: tuple[Entry, bytes]) -> bool:
    return one[0].path.isprintable() and one[0].link.isprintable()


@given(st.lists(entries().filter(is_text), max_size=4), st.integers(1, 3000))
def test_nothing_is_lost(many: list[tuple[Entry, bytes]], step: int) -> None:
    data = tar(*(one if one[1] else one[0] for one in many))
    out = bytearray()
    packer = Packer(ESTARGZ, out.extend)
    for at in range(0, len(data), step):
        packer.write(data[at : at + step])
    diff_id = packer.finish()
    plain = gzip.decompress(bytes(out))
    assert diff_id.encoded == hashlib.sha256(plain).hexdigest()
    assert plain.startswith(data[:-1024])
    *before, _, (last, table) = members(plain)
    assert before == many
    assert last.path == TABLE
    files = parse(table)[:-1]
    for file, (entry, content) in zip(files, many, strict=True):
        seconds = entry.mtime if 0 < entry.mtime < 253_402_300_800 * 10**9 else 0
        assert file.entry == entry._replace(mtime=seconds)
        for chunk in file.chunks:
            inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            assert inflate.decompress(bytes(out[chunk.offset :])) == content
