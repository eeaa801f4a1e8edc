"""Removing one image by a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ocitool.errors import ImageNotFound, StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.reference import Reference
from ocitool.store.directory.full_disk import free_reserve
from ocitool.store.maintenance.mark import Marks, mark_image
from ocitool.store.maintenance.prune import id_of, release
from ocitool.store.maintenance.served_stores import require_not_served
from ocitool.store.refs import name_of
from ocitool.store.store import Store

_TRIES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The names that were removed, and the image's ID if the image was removed, too."""

    untagged: tuple[str, ...]
    deleted: Digest | None


def remove_image(store: Store, name: str, *, force: bool = False) -> Removed:
    """Remove the name *name*, or the image with that ID; content is removed with the last name.

    An image is all manifests that have the same config: pulled, and loaded from an archive, it may
    have two.  With the last tag of a repository its digests (``repository@sha256:...``) go, too.

    Raises:
        ImageNotFound: there is no such image.
        BadReference: *name* is invalid; or it is the beginning of several IDs.
        StoreError: the ID has several names, and *force* is not given; or the store holds the
            content of a registry server (`ocitool.store.maintenance.served_stores`).

    Source: docker's daemon, ImageDelete.
    """
    free_reserve(store.layout.reserve)
    require_not_served(store, "rmi")
    found, entries = _found(store, name)
    image_id = id_of(store, found)
    names = [name_of(entry) for entry in entries if name_of(entry)]
    gone = names
    if _is_name_of(name, name_of(found)):
        gone = _going_with(name_of(found), names)
    elif not force and not _is_single(names):
        raise StoreError(
            f"image {image_id.short} has several names: {', '.join(names)}",
            hint="remove them one by one, or use --force",
        )
    if set(gone) == set(names):
        _drop(store, entries)
        return Removed(untagged=tuple(gone), deleted=image_id)
    for each in gone:
        store.refs.remove(each)
    _drop(store, _unnamed(entries, gone))
    return Removed(untagged=tuple(gone), deleted=None)


def _going_with(name: str, names: Sequence[str]) -> list[str]:
    """Return *name*, and the digests of its repository if it is the repository's last tag."""
    removed = Reference.parse(name)
    left = [Reference.parse(each) for each in names if each != name and _is_valid(each)]
    same = [each for each in left if each.repository == removed.repository]
    if removed.digest is not None or any(each.digest is None for each in same):
        return [name]
    return [name, *map(str, same)]


def _is_single(names: Sequence[str]) -> bool:
    """Say whether *names* are at most one tag, and digests of its repository."""
    references = [Reference.parse(name) for name in names if _is_valid(name)]
    if len(references) < len(names):
        return len(names) == 1
    tags = [each for each in references if each.digest is None]
    return len(tags) <= 1 and len({each.repository for each in references}) <= 1


def _unnamed(entries: Sequence[Descriptor], gone: Sequence[str]) -> list[Descriptor]:
    """Return the entries of manifests that have no name but those of *gone*."""
    named = {entry.digest for entry in entries if name_of(entry) and name_of(entry) not in gone}
    return [entry for entry in entries if entry.digest not in named]


def _drop(store: Store, entries: Sequence[Descriptor]) -> None:
    """Remove all entries of these manifests, and what only they need."""
    if not entries:
        return
    mine = Marks()
    for entry in entries:
        mark_image(store, entry, mine)
    store.refs.drop([entry.digest for entry in entries])
    release(store, mine)


def _found(store: Store, name: str) -> tuple[Descriptor, Sequence[Descriptor]]:
    """Return the entry of *name*, and the entries of this store that point to the same image."""
    for _ in range(_TRIES):
        found = store.find(name)
        same = store.same_image(found)
        entries = [entry for digest in same for entry in store.refs.pointing(digest)]
        wanted = name_of(found)
        named = _is_name_of(name, wanted)
        if entries and not (named and wanted not in map(name_of, entries)):
            return found, entries
        if any(refs.pointing(found.digest) for refs in store.all_refs):
            raise StoreError(
                f"{name!r} is in a shared store, which is never changed",
                hint="its owner can remove it, with --root",
            )
        # Another process has removed or moved the name meanwhile: look again.
    raise ImageNotFound(
        f"{name!r} is no longer in the store", hint="other processes change it: try again"
    )


def _is_valid(name: str) -> bool:
    try:
        return bool(Reference.parse(name))
    except ValueError:
        return False  # another tool wrote it


def _is_name_of(text: str, name: str) -> bool:
    if not name:
        return False
    try:
        return str(Reference.parse(text)) == name
    except ValueError:
        return False
