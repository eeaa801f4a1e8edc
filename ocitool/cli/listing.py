"""Images as rows and documents: what `images`, `inspect` and `history` print."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ocitool.cli.units import ago, human_size, local_time
from ocitool.errors import FormatError
from ocitool.image.image import Image
from ocitool.oci.reference import Reference
from ocitool.oci.timestamps import parse_time
from ocitool.store.image_summaries import ImageSummary
from ocitool.store.refs import NamedDigest, Refs, name_of
from ocitool.store.store import Store

NONE = "<none>"


def image_rows(
    store: Store, pattern: str = "", *, timestamps: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield a row for each name of each image, the newest first.

    *pattern* limits the rows to one repository, or to one name.  Images of additional image
    stores come last, except those whose name exists in the store itself.  Without *timestamps*
    the rows have no ``CreatedAt``, which saves a third of the time.
    """
    seen: set[str] = set()
    for refs, root in [(store.refs, ""), *((each.refs, each.root) for each in store.shared)]:
        names = [known for known in _names(refs, pattern) if known.name not in seen]
        summaries = store.summaries.of(digest for _, digest in names)
        for name, digest in reversed(names):
            yield {**_row(name, digest, summaries.get(digest), timestamps), "Store": root}
        if store.shared:
            seen.update(name for name, _ in names if name)


def _names(refs: Refs, pattern: str) -> list[NamedDigest]:
    if not pattern:
        return refs.names()
    wanted = Reference.parse(pattern)
    has_tag = ":" in pattern.rpartition("/")[2]
    found = refs.beginning(str(wanted) if has_tag else f"{wanted.repository}:")
    if has_tag:
        found = tuple(entry for entry in found if name_of(entry) == str(wanted))
    return [NamedDigest(name_of(entry), str(entry.digest)) for entry in found]


def _row(name: str, digest: str, summary: ImageSummary | None, timestamps: bool) -> dict[str, Any]:
    repository, tag = _shown(name)
    row = {
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
        "ID": summary.id if summary else digest,
        "CreatedAt": "",
        "CreatedSince": "N/A",
        "Size": human_size(summary.size, 3) if summary else "corrupt",
        "Platform": summary.platform if summary else "",
    }
    if summary and summary.created:
        with contextlib.suppress(FormatError):  # an invalid time: "N/A"
            timestamp = parse_time(summary.created)
            row["CreatedSince"] = ago(timestamp)
            if timestamps:
                row["CreatedAt"] = local_time(timestamp)
    return row


def familiar(name: str) -> str:
    """Return the short form of a name, or *name* itself if another tool wrote an invalid one."""
    with contextlib.suppress(FormatError):
        return Reference.parse(name).familiar
    return name


def _shown(name: str) -> tuple[str, str]:
    """Return repository and tag in short form."""
    try:
        reference = Reference.parse(name)
    except FormatError:  # no name, or an invalid one of another tool
        return name or NONE, NONE
    return reference.familiar_repository, reference.tag or NONE


def inspect_document(store: Store, image: Image) -> dict[str, Any]:
    """Return an image as ``docker image inspect`` shows it."""
    config = image.config
    names = [name_of(e) for e in store.pointing(image.digest) if name_of(e)]
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
    # Scripts expect these fields to exist.
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
        timestamp = parse_time(entry.created) if entry.created else None
        rows.append(
            {
                "ID": "<missing>",
                "CreatedAt": local_time(timestamp) if timestamp is not None else "",
                "CreatedSince": ago(timestamp) if timestamp is not None else "N/A",
                "CreatedBy": entry.created_by.replace("\t", " "),
                "Size": human_size(size, 3),
                "Comment": entry.comment,
            }
        )
    if rows:
        rows[-1]["ID"] = str(image.id)
    yield from reversed(rows)
