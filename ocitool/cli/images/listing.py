"""Images as rows and documents: what `images`, `inspect` and `history` print."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ocitool.cli.gotemplate.values import Nil, NilList, NilMap
from ocitool.cli.output.units import ago, human_size, local_time, rfc3339
from ocitool.errors import FormatError
from ocitool.image.image import Image
from ocitool.oci.reference import Reference
from ocitool.oci.timestamps import parse_time
from ocitool.store.database.image_summaries import ImageSummary
from ocitool.store.refs import NamedDigest, Refs, name_of
from ocitool.store.store import Store

if TYPE_CHECKING:
    from ocitool.cli.images.filters import ImageFilters

NONE = "<none>"


class Listed(NamedTuple):
    """An image under one of its names (``""`` for none)."""

    name: str
    digest: str
    summary: ImageSummary | None  # None if the image is corrupt
    created: int | None  # nanoseconds since the epoch; None if unknown or invalid
    store: str  # the directory of an additional image store, else ""


def listed_images(
    store: Store, pattern: str = "", filters: ImageFilters | None = None
) -> Iterator[Listed]:
    """Yield each name of each image, the image created last first.

    *pattern* limits them to one repository, or to one name, or to those that match it.  Images of
    additional image stores come last, except those whose name exists in the store itself.
    """
    seen: set[str] = set()
    for refs, root in [(store.refs, ""), *((each.refs, each.root) for each in store.shared)]:
        names = [known for known in _names(refs, pattern) if known.name not in seen]
        summaries = store.summaries.of(digest for _, digest in names)
        created = {digest: _created(summary) for digest, summary in summaries.items()}
        tagged = {summaries[digest].id for name, digest in names if name and digest in summaries}
        # Of images of the same time the name given last comes first.
        names.reverse()
        names.sort(key=lambda known: created.get(known.digest) or 0, reverse=True)
        for name, digest in names:
            summary, when = summaries.get(digest), created.get(digest)
            if not name and summary is not None and summary.id in tagged:
                continue  # another manifest of an image that has a name
            if filters is None or filters.take(store, name, digest, when):
                yield Listed(name, digest, summary, when, root)
        if store.shared:
            seen.update(name for name, _ in names if name)


def image_row(image: Listed, *, timestamps: bool = True) -> dict[str, Any]:
    """Return the row of one image.

    Without *timestamps* it has no ``CreatedAt``, which saves a third of the time.
    """
    repository, tag = _shown(image.name)
    summary, created = image.summary, image.created
    return {
        "Repository": repository,
        "Tag": tag,
        "Digest": image.digest,
        "ID": summary.id if summary else image.digest,
        "CreatedAt": local_time(created) if timestamps and created is not None else "",
        "CreatedSince": "N/A" if created is None else ago(created),
        "Size": human_size(summary.size, 3) if summary else "corrupt",
        "Platform": summary.platform if summary else "",
        "Store": image.store,
    }


def _names(refs: Refs, pattern: str) -> list[NamedDigest]:
    if not pattern:
        return refs.names()
    try:
        wanted = Reference.parse(pattern)
    except FormatError:  # a pattern with stars, or what no name is
        from ocitool.cli.images.filters import matches

        return [known for known in refs.names() if matches(pattern, known.name)]
    has_tag = ":" in pattern.rpartition("/")[2]
    found = refs.beginning(str(wanted) if has_tag else f"{wanted.repository}:")
    if has_tag:
        found = tuple(entry for entry in found if name_of(entry) == str(wanted))
    return [NamedDigest(name_of(entry), str(entry.digest)) for entry in found]


def _created(summary: ImageSummary) -> int | None:
    """Return the time of creation in nanoseconds; None if it is unknown or invalid."""
    with contextlib.suppress(FormatError):
        return parse_time(summary.created) if summary.created else None
    return None


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
    entries = [e for digest in store.same_image(image.descriptor) for e in store.pointing(digest)]
    named = [(Reference.parse(name_of(e)), e.digest) for e in entries if name_of(e)]
    digests = sorted({f"{r.familiar_repository}@{digest}" for r, digest in named})
    return {
        "Id": str(image.id),
        "RepoTags": list(dict.fromkeys(r.familiar for r, _ in named if r.digest is None)),
        "RepoDigests": digests,
        "Parent": "",
        "Comment": config.history[-1].comment if config.history else "",
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
    # Scripts expect these fields to exist; templates print Go's value of what there is not.
    return {
        "User": "", "Env": NilList(), "Cmd": NilList(), "Entrypoint": NilList(),
        "WorkingDir": "", "Labels": NilMap(), "ExposedPorts": NilMap(), "Volumes": NilMap(),
        "OnBuild": NilList(), "Shell": NilList(), "Healthcheck": Nil(), "StopSignal": "",
        "ArgsEscaped": False,
        **{name: value for name, value in fields.items() if value is not None},
    }  # fmt: skip


def history_rows(image: Image, *, human: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for each step of an image's history, the newest first.

    Without *human*, sizes are in bytes.
    """
    sizes = iter([layer.size for layer in image.manifest.layers])
    rows = []
    for entry in image.config.aligned_history:
        size = 0 if entry.empty_layer else next(sizes, 0)
        timestamp = parse_time(entry.created) if entry.created else None
        rows.append(
            {
                "ID": "<missing>",
                "CreatedAt": rfc3339(timestamp) if timestamp is not None else "",
                "CreatedSince": ago(timestamp) if timestamp is not None else "N/A",
                "CreatedBy": entry.created_by.replace("\t", " "),
                "Size": human_size(size, 3) if human else str(size),
                "Comment": entry.comment,
            }
        )
    if rows:
        rows[-1]["ID"] = str(image.id)
    yield from reversed(rows)
