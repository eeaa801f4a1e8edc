"""Layouts, archives and images of which one thing is changed."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from typing import Any, Final

import zstandard

from tests.fixtures import images
from tests.fuzz.mutations import changed, changed_document, dumped

_ZSTD: Final = zstandard.ZstdCompressor()
MEDIA: Final = "application/vnd.oci.image."
_COMPRESSIONS: Final = ("", "", "gz", "bz2", "xz")


def changed_archive(dice: random.Random, members: Any) -> bytes:
    how = dice.choice(_COMPRESSIONS)
    if dice.random() < 0.7:  # within the compression
        return images._SQUEEZE[how](_changed_tar(dice, images.archive(members)))
    return changed(dice, images.packed(members, how))


def _changed_tar(dice: random.Random, data: bytes) -> bytes:
    """Change the headers of *data* with right checksums, or anything."""
    if dice.random() < 0.3:
        return changed(dice, data)
    blocks = bytearray(data)
    heads = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    for at in dice.sample(heads, min(len(heads), dice.choice((1, 1, 2)))):
        field, size = dice.choice(_FIELDS)
        value = changed(dice, bytes(blocks[at + field : at + field + size]), _FIELD_VALUES)
        blocks[at + field : at + field + size] = value[:size].ljust(size, b"\0")
        blocks[at + 148 : at + 156] = b" " * 8
        blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    return bytes(blocks)


#: Offsets and sizes of the fields of a tar header.
_FIELDS: Final = (
    (0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8),
    (265, 32), (329, 8), (337, 8), (345, 155), (0, 512),
)  # fmt: skip
_FIELD_VALUES: Final = (
    b"x", b"g", b"L", b"K", b"S", b"V", b"D", b"M", b"1", b"2", b"3", b"7", b"\x80", b"\xff" * 8,
    b"77777777", b"../", b"/", b"-1", b"\x80\0\0\0\0\0\0\0\1",
)  # fmt: skip


def changed_file(dice: random.Random, name: str, data: bytes) -> bytes:
    if name.endswith(".json"):
        return dumped(dice, changed_document(dice, json.loads(data)))
    return _changed_tar(dice, data)


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def changed_layout(dice: random.Random) -> dict[str, bytes]:
    """Return the files of an OCI layout in which one thing is changed; digests mostly fit."""
    wrong = dice.choice(("layer", "config", "manifest", "index", "oci-layout", "packed"))
    layer = images.archive({"a": "a\n", "d/": {"mode": 0o755}, "l": {"link": "a"}, "d/.wh.x": ""})
    layer = _changed_tar(dice, layer) if wrong == "layer" else layer
    how = dice.choice(("gzip", "gzip", "zstd"))
    packed = images._SQUEEZE["gz"](layer) if how == "gzip" else _ZSTD.compress(layer)
    packed = changed(dice, packed) if wrong == "packed" else packed
    config: Any = {
        "architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z",
        "config": {"Env": ["A=1"], "Labels": {"a": "b"}, "OnBuild": ["ENV C=1", "LABEL d=$C"],
                   "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "Cmd": ["a"],
                   "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}, "Shell": ["/bin/sh"],
                   "WorkingDir": "/w", "User": "1", "StopSignal": "9"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "x", "empty_layer": False}],
    }  # fmt: skip
    config = changed_document(dice, config) if wrong == "config" else config
    document = dumped(dice, config) if wrong == "config" else json.dumps(config).encode()
    manifest: Any = {
        "schemaVersion": 2, "mediaType": f"{MEDIA}manifest.v1+json",
        "config": _described(f"{MEDIA}config.v1+json", document),
        "layers": [_described(f"{MEDIA}layer.v1.tar+{how}", packed)], "annotations": {"a": "b"},
    }  # fmt: skip
    manifest = changed_document(dice, manifest) if wrong == "manifest" else manifest
    top = dumped(dice, manifest) if wrong == "manifest" else json.dumps(manifest).encode()
    entry = _described(f"{MEDIA}manifest.v1+json", top)
    named = {"org.opencontainers.image.ref.name": "fuzz", "io.containerd.image.name": "fuzz:1"}
    index: Any = {"schemaVersion": 2, "manifests": [{**entry, "annotations": named}]}
    index = changed_document(dice, index) if wrong == "index" else index
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": dumped(dice, index) if wrong == "index" else json.dumps(index).encode(),
        **{f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (packed, document, top)},
    }
    if wrong == "oci-layout":
        files["oci-layout"] = dumped(dice, changed_document(dice, {"imageLayoutVersion": "1.0.0"}))
    return files


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _described(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(data), "size": len(data)}
