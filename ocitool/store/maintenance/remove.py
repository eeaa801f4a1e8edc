"""Removing one image by a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ocitool.errors import ImageNotFound, StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.reference import Reference
from ocitool.store.full_disk import free_reserve
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

    Raises:
        ImageNotFound: there is no such image.
        StoreError: the ID has several names, and *force* is not given; or the store holds the
            content of a registry server (`ocitool.store.maintenance.served_stores`).
    """
    free_reserve(store.layout.reserve)
    require_not_served(store, "rmi")
    found, entries = _found(store, name)
    image_id = id_of(store, found)
    names = [name_of(entry) for entry in entries if name_of(entry)]
    if _is_name_of(name, name_of(found)) and len(names) > 1:
        store.refs.remove(name_of(found))
        return Removed(untagged=(name_of(found),), deleted=None)
    if len(names) > 1 and not force:
        raise StoreError(
            f"image {image_id.short} has several names: {', '.join(names)}",
            hint="remove them one by one, or use --force",
        )
    mine = Marks()
    mark_image(store, found, mine)
    store.refs.drop((found.digest,))
    release(store, mine)
    return Removed(untagged=tuple(names), deleted=image_id)


def _found(store: Store, name: str) -> tuple[Descriptor, Sequence[Descriptor]]:
    """Return the entry of *name*, and the entries of this store that point to the same image."""
    for _ in range(_TRIES):
        found = store.find(name)
        entries = store.refs.pointing(found.digest)
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


def _is_name_of(text: str, name: str) -> bool:
    if not name:
        return False
    try:
        return str(Reference.parse(text)) == name
    except ValueError:
        return False
