"""What must be true of a store after a crash; each function returns what is not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG

from ocitool import Store
from ocitool.errors import OcitoolError
from ocitool.image.image_fs import LayeredTree
from ocitool.image.store_content import local_image
from ocitool.store.maintenance.check.check import check

Sizes = dict[tuple[str, str], tuple[int, int]]
"""What each unpacked layer of a driver holds: bytes and inodes."""

#: What is in a store that holds nothing.  Directories end with a slash; * is a driver's name.
_SKELETON = frozenset(
    ("format", "oci/", "oci/oci-layout", "oci/index.json", "oci/blobs/", "oci/blobs/sha256/",
     "db.sqlite", "db.sqlite-wal", "db.sqlite-shm", "indexes/", "drivers/", "drivers/choice.json",
     "drivers/*/", "drivers/*/layers/", "drivers/*/trees/", "drivers/*/trash/",
     "drivers/*/empty/", "drivers/*/merged/", "drivers/*/mounts/", "containers/", "tmp/", "locks/",
     "damaged/", "trash/", "reserve")
)  # fmt: skip


class Proof:
    """What is known of the images of a campaign, by which its stores are judged."""

    def __init__(self, driver: str) -> None:
        self._driver = driver
        self._sizes: Sizes = {}

    def recovered(self, root: Path, images: Mapping[str, str], doubtful: str = "") -> list[str]:
        """A crash was survived: the store opens, is clean, and *images* (name: digest) are whole.

        A digest "" stands for any.
        *doubtful* is a name that may be there or not; if it is, with its image.
        """
        wrong: list[str] = []
        try:
            with Store.open(str(root), driver=self._driver) as store:
                lease = store.lease().name
                wrong += [f"after the sweep: {left}" for left in unfinished(root, lease)]
                wrong += [f"check: {problem.what}" for problem in check(store)]
                for name in images:
                    if name != doubtful:
                        wrong += self._image(store, name)
            here = digests(root)
            wrong += [
                f"{name} is {here.get(name, 'gone')}, and should be {digest}"
                for name, digest in images.items()
                if here.get(name) != (digest or here.get(name, "some"))
                and (name != doubtful or name in here)
            ]
        except (OcitoolError, OSError) as error:
            wrong.append(f"the store is not usable: {error!r}")
        return wrong

    def _image(self, store: Store, name: str) -> Iterator[str]:
        try:
            layers = local_image(store, name).layers
            names = store.layers.ensure(layers)
            for layer in names:
                usage = store.driver().usage(layer)
                size = (usage.size, usage.inodes)
                if self._sizes.setdefault((self._driver, layer), size) != size:
                    yield f"{name}: layer {layer[:12]} holds {size}, and held other before"
            tree = LayeredTree(store.layers, layers)
            path = next(f.entry.path for f in tree.tree.walk("") if f.entry.path.endswith("/f2"))
            if not tree.read(path).endswith(b" f2\n"):
                yield f"{name}: {path} holds {tree.read(path)[:40]!r}"
        except (OcitoolError, OSError) as error:
            yield f"{name}: {error!r}"


def digests(root: Path) -> dict[str, str]:
    """Return the names in a store, as short as they are given here, with their digests."""
    try:
        index = json.loads((root / "oci" / "index.json").read_bytes())
    except FileNotFoundError:
        return {}
    pairs = ((entry.get("annotations", {}), entry["digest"]) for entry in index["manifests"])
    found = {notes.get("io.containerd.image.name", ""): digest for notes, digest in pairs}
    return {name.removeprefix("docker.io/library/"): found[name] for name in found if name}


def unfinished(root: Path, lease: str) -> Iterator[str]:
    """Yield what dead processes have left, for one who holds *lease* alone in the store."""
    yield from (f"mount {mount}" for mount in mounts_below(root))
    for place, _, files in os.walk(root):
        inside = os.path.relpath(place, root)
        yield from (f"{inside}/{name}" for name in files if name.endswith(".tmp"))
    for name in set(_names(root / "tmp")) - {lease}:
        yield f"tmp/{name}"
    for place in ("locks", "containers"):
        yield from (f"{place}/{name}" for name in _names(root / place))
    for driver in _names(root / "drivers"):
        for place in ("trees", "mounts"):  # what is in trash, the next removal removes
            names = _names(root / "drivers" / driver / place)
            yield from (f"drivers/{driver}/{place}/{name}" for name in names)


def residue(root: Path) -> Iterator[str]:
    """Yield what is in a store from which everything was removed, except its skeleton."""
    yield from (f"mount {mount}" for mount in mounts_below(root))
    for place, folders, files in os.walk(root):
        for name in (*(f"{folder}/" for folder in folders), *files):
            path = os.path.relpath(f"{place}/{name}", root) + ("/" if name.endswith("/") else "")
            parts = path.split("/")
            if parts[0] == "drivers" and len(parts) > 2:
                parts[1] = "*"
            if "/".join(parts) not in _SKELETON:
                yield path
    with Store.open(str(root)) as store:
        for table in ("layers", "packed", "origins", "cache", "files"):
            ((count,),) = store.database.rows(f"SELECT COUNT(*) FROM {table}")
            if count:
                yield f"{count} rows in the table {table}"


def contents(root: Path) -> set[str]:
    """Return every path in a store with the size of each file, except the database's, and mounts.

    Temporary names are as good as others: nobody works there now.
    """
    found = {f"mount {mount}" for mount in mounts_below(root)}
    for path in root.rglob("*"):
        inside = str(path.relative_to(root))
        if inside.startswith("db.sqlite"):
            continue
        state = path.lstat()
        found.add(f"{inside} {state.st_size}" if S_ISREG(state.st_mode) else inside)
    return found


def mounts_below(root: Path) -> list[str]:
    """Return the mount points in a store."""
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        mounts = [line.split()[4] for line in lines]
    return [mount for mount in mounts if mount.startswith(f"{root}/")]


def _names(place: Path) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except (FileNotFoundError, NotADirectoryError):
        return []
