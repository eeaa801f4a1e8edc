"""What the unit tests of several packages work with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.fixtures.examples  # noqa: F401  no deadline for examples
from ocitool import Store

PLUGIN = """
import contextlib, io, zlib

class Deflate:
    name = suffix = "zlib"
    magic = b"\\x78"
    level = 6
    def compressor(self, level=None):
        return zlib.compressobj(self.level if level is None else level)
    def decompress(self, stream):
        with contextlib.closing(stream):
            return io.BytesIO(zlib.decompress(stream.read()))

CODEC = Deflate()
"""


@pytest.fixture(scope="module", autouse=True)
def _without_a_crash(unsynced: None) -> None:
    """Let no test wait for the disk."""


@pytest.fixture
def store(store_root: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.open(str(store_root)) as opened:
        yield opened


@pytest.fixture
def zlib_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that adds the codec "zlib", installed for this test."""
    metadata = tmp_path / "a_codec-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: a-codec\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ocitool.codecs]\nzlib = a_codec_of_others:CODEC\n")
    (tmp_path / "a_codec_of_others.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
