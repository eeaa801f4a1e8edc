"""What `test_build_peers` compares: contexts from a recipe, and images as plain values.

Reads images with the standard library alone, never with the code under test: blobs are JSON and
tar, and a layer's whiteouts are five lines.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import posixpath
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Blob = Callable[[str], bytes]
"""Returns the content of a blob by its digest's digits."""

_SQUEEZE = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "": bytes}


# -- contexts ------------------------------------------------------------------------------


def lay_out(recipe: Mapping[str, Any], top: Path) -> None:
    """Make the files that *recipe* names below *top*; directories get their modes last."""
    modes: list[tuple[Path, int]] = []
    for name, given in recipe.items():
        how = {"text": given} if isinstance(given, str) else given
        place = top / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if "link" in how:
            place.symlink_to(how["link"])
        elif "hardlink" in how:
            place.hardlink_to(top / how["hardlink"])
        elif "tar" in how:
            place.write_bytes(_SQUEEZE[how.get("compress", "")](archive(how["tar"])))
        elif "text" in how:
            place.write_text(how["text"])
            place.chmod(how.get("mode", 0o644))
        else:
            place.mkdir(exist_ok=True)
            modes.append((place, how.get("mode", 0o755)))
        for key, value in how.get("xattrs", {}).items():
            os.setxattr(place, key, value.encode())
    for place, mode in modes:
        place.chmod(mode)
    for folder, _, _ in os.walk(top):
        if Path(folder) not in dict(modes):
            os.chmod(folder, 0o755)


def archive(recipe: Mapping[str, Any]) -> bytes:
    """Return a tar of what *recipe* names; owners are 0 unless given."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, given in recipe.items():
            how = {"text": given} if isinstance(given, str) else given
            info = tarfile.TarInfo(name)
            info.uid, info.gid = how.get("uid", 0), how.get("gid", 0)
            info.mode = how.get("mode", 0o644)
            data = how.get("text", "").encode()
            info.size = len(data)
            info.linkname = how.get("link", how.get("hardlink", ""))
            info.type = _type(how)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _type(how: Mapping[str, Any]) -> bytes:
    if "link" in how:
        return tarfile.SYMTYPE
    if "hardlink" in how:
        return tarfile.LNKTYPE
    if "fifo" in how:
        return tarfile.FIFOTYPE
    return tarfile.REGTYPE if "text" in how else tarfile.DIRTYPE


# -- images --------------------------------------------------------------------------------


def layout_image(layout: Path, digest: str) -> tuple[dict[str, Any], list[bytes]]:
    """Return config and layers of an image in an OCI layout."""

    def blob(wanted: str) -> bytes:
        return (layout / "blobs" / "sha256" / wanted.removeprefix("sha256:")).read_bytes()

    return manifest_image(blob(digest), blob)


def directory_image(directory: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return config and layers of an image in a ``dir:`` of skopeo's."""
    manifest = (directory / "manifest.json").read_bytes()
    return manifest_image(manifest, lambda d: (directory / d.removeprefix("sha256:")).read_bytes())


def manifest_image(manifest: bytes, blob: Blob) -> tuple[dict[str, Any], list[bytes]]:
    """Return config and plain layers of the image of *manifest*."""
    fields = json.loads(manifest)
    layers = [blob(layer["digest"]) for layer in fields["layers"]]
    return json.loads(blob(fields["config"]["digest"])), [plain(layer) for layer in layers]


def plain(layer: bytes) -> bytes:
    """Return the tar in a layer's blob."""
    return gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer


def tree(layers: list[bytes]) -> dict[str, str]:
    """Return what *layers* make together: path -> type, mode, owner, link, digest, xattrs."""
    found: dict[str, str] = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            _apply(tar, found)
    return found


def _apply(tar: tarfile.TarFile, found: dict[str, str]) -> None:
    fresh: dict[str, str] = {}
    for member in tar:
        path = posixpath.normpath(member.name).lstrip("/")
        parent, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":
            _remove(found, parent, itself=False)
        elif name.startswith(".wh."):
            _remove(found, posixpath.join(parent, name[4:]))
        elif member.islnk():
            target = posixpath.normpath(member.linkname).lstrip("/")
            fresh[path] = fresh.get(target) or found[target]
        else:
            fresh[path] = _said(tar, member)
            if not member.isdir():
                _remove(found, path)
    found.update(fresh)
    found.pop(".", None)


def _remove(found: dict[str, str], path: str, *, itself: bool = True) -> None:
    for name in [name for name in found if name.startswith(f"{path}/")]:
        del found[name]
    if itself:
        found.pop(path, None)


def _said(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    kind = member.type.decode()
    mode = "" if member.issym() else f" {member.mode & 0o7777:o}"
    text = f"{kind}{mode} {member.uid}:{member.gid}"
    if member.issym():
        text += f" -> {member.linkname}"
    if member.isreg():
        content = tar.extractfile(member)
        assert content is not None
        text += f" {hashlib.sha256(content.read()).hexdigest()[:12]}"
    if member.ischr() or member.isblk():
        text += f" {member.devmajor},{member.devminor}"
    xattrs = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    return text + "".join(f" {key[13:]}={value}" for key, value in sorted(xattrs.items()))


_CONFIG = (
    "User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "ExposedPorts", "Volumes",
    "StopSignal", "Shell", "Healthcheck", "OnBuild",
)  # fmt: skip


def configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of *config* that say how a container starts; empty counts as absent."""
    fields = config.get("config") or {}
    said = {name: fields[name] for name in _CONFIG if fields.get(name)}
    if "Env" in said:
        said["Env"] = sorted(said["Env"])
    return said
