"""Removing one image by a name."""

from __future__ import annotations

from dataclasses import dataclass

from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.reference import Reference
from ocitool.store.gc import release
from ocitool.store.marks import Marks, mark_image
from ocitool.store.refs import name_of
from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The names that are gone, and the image's id if it is gone, too."""

    untagged: tuple[str, ...]
    deleted: Digest | None


def remove_image(store: Store, name: str, *, force: bool = False) -> Removed:
    """Remove the name *name*, or with an id the image; its content goes with the last name.

    Raises:
        ImageNotFound: there is no such image.
        StoreError: the id has several names, and *force* is not given.
    """
    found = store.find(name)
    image_id = store.image_id(found)
    if not store.refs.pointing(found.digest):
        raise StoreError(
            f"{name!r} is in a shared store, which is never changed",
            hint="its owner can remove it, with --root",
        )
    names = [name_of(e) for e in store.refs.pointing(found.digest) if name_of(e)]
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


def _is_name_of(text: str, name: str) -> bool:
    if not name:
        return False
    try:
        return str(Reference.parse(text)) == name
    except ValueError:
        return False
