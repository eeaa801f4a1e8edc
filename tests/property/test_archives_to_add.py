"""What ADD takes for an archive: whatever has the checksum of a header, plain or compressed."""

from __future__ import annotations

import tempfile

from hypothesis import example, given
from hypothesis import strategies as st

from ocitool.builder.copy.archive import Spooled, is_archive
from ocitool.errors import LayerError
from tests.fixtures.examples import examples
from tests.unit.layer.tars import header

KINDS = st.binary(min_size=1, max_size=1) | st.sampled_from([b"D", b"M", b"V", b"x", b"g", b"L"])
NAMES = st.binary(max_size=99) | st.sampled_from([b"", b"/", b"..", b"./", b"snap"])

#: Data that begins so is decompressed first, and such a name leaves a tar that cannot be.
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh")


@examples(150)
@example(b"BZh", b"0", b"", 0)
@given(NAMES, KINDS, st.binary(max_size=600), st.sampled_from([0, 5, 512, 600]))
def test_what_has_a_header_is_unpacked_or_refused(name, kind, rest, size):
    with tempfile.TemporaryDirectory(prefix="add-") as place:
        with open(f"{place}/a.tar", "wb") as file:
            file.write(header(name, kind=kind, size=b"%011o" % size) + rest)
        compressed = name.startswith(COMPRESSED)
        assert is_archive(f"{place}/a.tar") is not compressed
        if compressed:
            return
        try:
            Spooled(f"{place}/a.tar", place).close()
        except LayerError as error:
            assert error.where, error


@examples(50)
@given(st.binary(max_size=1100), st.integers(0, 511))
def test_what_has_none_is_a_file(data, at):
    whole = bytearray(header(b"f"))
    whole[at] ^= 0x41  # the checksum does not fit any more
    with tempfile.TemporaryDirectory(prefix="add-") as place:
        for content in (data[:511], bytes(whole) + data):
            with open(f"{place}/f", "wb") as file:
                file.write(content)
            assert not is_archive(f"{place}/f")
