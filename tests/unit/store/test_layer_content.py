"""A layer's plain tar is verified while it is read."""

from __future__ import annotations

import hashlib
import io

import pytest

from ocitool.errors import DigestMismatch, TooLarge
from ocitool.layer.entry import Limits
from ocitool.oci.digest import Digest
from ocitool.store import layer_content
from ocitool.store.layer_content import VerifiedTar

TAR = bytes(5000)
LIMITS = Limits(ratio=10, ratio_from=1000)


def read(packed, monkeypatch, digest=TAR):
    monkeypatch.setattr(layer_content, "DEFAULT_LIMITS", LIMITS)
    wanted = Digest.parse(f"sha256:{hashlib.sha256(digest).hexdigest()}")
    source = io.BytesIO(TAR)
    stream = VerifiedTar(source, wanted, packed)
    try:
        while stream.read(100):
            pass
    finally:
        where = source.tell()
        stream.close()
    return where


def test_what_it_should_be_is_read_to_its_end(monkeypatch):
    assert read(500, monkeypatch) == len(TAR)


def test_a_bomb_is_stopped_long_before_its_end(monkeypatch):
    with pytest.raises(TooLarge, match="10 times"):
        read(499, monkeypatch)
    with pytest.raises(TooLarge):
        read(0, monkeypatch)


def test_another_tar_is_reported_at_its_end(monkeypatch):
    with pytest.raises(DigestMismatch):
        read(500, monkeypatch, digest=b"other")
