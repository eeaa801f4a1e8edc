"""Images as rows: what `images`, `inspect` and `history` print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ocitool.cli.units import ago, human_size, local_time, parse_time
from ocitool.errors import OcitoolError
from ocitool.image.image import Image
from ocitool.image.local import StoreSource
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import INDEXES
from ocitool.oci.reference import Reference
from ocitool.store.refs import name_of
from ocitool.store.store import Store

NONE = "<none>"


def image_rows(store: Store, pattern: str = "") -> Iterator[dict[str, Any]]:
    """Yield a row for each name of each image, the newest first; *pattern* is a name or none."""
    for entry in reversed(store.refs.all()):
        name = name_of(entry)
        reference = Reference.parse(name) if name else None
        if pattern and not (reference and _suits(reference, pattern)):
            continue
        yield _row(store, entry, reference)


def _suits(reference: Reference, pattern: str) -> bool:
    wanted = Reference.parse(pattern)
    if reference.repository != wanted.repository:
        return False
    has_tag = ":" in pattern.rpartition("/")[2]
    return reference.tag == wanted.tag or not has_tag


def _row(store: Store, entry: Descriptor, reference: Reference | None) -> dict[str, Any]:
    image = Image(StoreSource(store, entry), entry)
    row = {
        "Repository": reference.familiar_repository if reference else NONE,
        "Tag": (reference.tag or NONE) if reference else NONE,
        "Digest": str(entry.digest),
        "ID": str(entry.digest),
        "CreatedAt": "",
        "CreatedSince": "N/A",
        "Size": "0B",
        "Platform": str(entry.platform or ""),
    }
    if entry.media_type in INDEXES:
        return row
    try:
        created = image.config.created
        row |= {
            "ID": str(image.id),
            "Size": human_size(image.size, 3),
            "Platform": str(image.config.platform),
        }
        if created:
            moment = parse_time(created)
            row |= {"CreatedAt": local_time(moment), "CreatedSince": ago(moment)}
    except OcitoolError:
        row["Size"] = "damaged"
    return row


def inspect_document(store: Store, image: Image) -> dict[str, Any]:
    """Return an image as ``docker image inspect`` shows it."""
    config = image.config
    names = [name_of(e) for e in store.refs.all() if e.digest == image.digest and name_of(e)]
    references = [Reference.parse(name) for name in names]
    digests = sorted({f"{r.familiar_repository}@{image.digest}" for r in references})
    return {
        "Id": str(image.id),
        "RepoTags": [r.familiar for r in references if r.tag],
        "RepoDigests": digests,
        "Created": config.created,
        "Author": config.author,
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant,
        "Os": config.platform.os,
        "Size": image.size,
        "Config": _config(config.run.to_json()),
        "RootFS": {"Type": "layers", "Layers": [str(d) for d in config.diff_ids]},
        "Digest": str(image.digest),
        "MediaType": image.manifest.media_type,
        "Manifest": {
            "Config": image.manifest.config.to_json(),
            "Layers": [layer.to_json() for layer in image.manifest.layers],
        },
        "History": [entry.to_json() for entry in config.history],
    }


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    # Scripts read these without asking whether they are there.
    return {
        "User": "", "Env": [], "Cmd": None, "Entrypoint": None, "WorkingDir": "",
        "Labels": None, "ExposedPorts": None, "Volumes": None, **fields,
    }  # fmt: skip


def history_rows(image: Image) -> Iterator[dict[str, Any]]:
    """Yield a row for each step of an image's history, the newest first."""
    sizes = iter([layer.size for layer in image.manifest.layers])
    rows = []
    for entry in image.config.history:
        size = 0 if entry.empty_layer else next(sizes, 0)
        moment = parse_time(entry.created) if entry.created else None
        rows.append(
            {
                "ID": "<missing>",
                "CreatedAt": local_time(moment) if moment is not None else "",
                "CreatedSince": ago(moment) if moment is not None else "N/A",
                "CreatedBy": entry.created_by.replace("\t", " "),
                "Size": human_size(size, 3),
                "Comment": entry.comment,
            }
        )
    if rows:
        rows[-1]["ID"] = str(image.id)
    yield from reversed(rows)
