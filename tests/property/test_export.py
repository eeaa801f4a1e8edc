"""Random stacks, seen through their indexes alone: a tar of what unpacking them gives."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path

from hypothesis import given

from ocitool import Store
from ocitool.drivers.conformance.harness import run_inside
from ocitool.image.rootfs_tar import export_tar
from ocitool.layer.entry import Kind
from ocitool.layer.tar.reader import TarReader
from tests.fixtures.examples import examples
from tests.fixtures.stores import put_image
from tests.fixtures.tree_listing import LOOK, Listing
from tests.fixtures.trees import remove_tree
from tests.property.test_driver_stacks import LAYERS, unpack

KINDS = {"-": Kind.FILE, "d": Kind.DIRECTORY, "l": Kind.SYMLINK}


def archived(archive: bytes) -> Listing:
    """What the members of a tar are."""
    found: Listing = {}
    reader = TarReader(io.BytesIO(archive))
    for entry in reader:
        data = reader.read()
        if entry.kind == Kind.HARDLINK:
            found[entry.path] = found[entry.link]
            continue
        found[entry.path] = {
            "kind": entry.kind,
            "mode": oct(entry.mode),
            "owner": [entry.uid, entry.gid],
            "link": entry.link,
            "content": hashlib.sha256(data).hexdigest() if entry.kind == Kind.FILE else "",
            "xattrs": {name: value.hex() for name, value in entry.xattrs.items()},
        }
    return found


def seen(listing: Listing) -> Listing:
    """What a sandbox sees, in the words of `archived`."""
    return {
        path: {
            "kind": KINDS[each["kind"]],
            "mode": oct(0o777) if each["kind"] == "l" else each["mode"],
            "owner": each["owner"],
            "link": each.get("link", ""),
            "content": each.get("content", ""),
            "xattrs": each.get("xattrs", {}),
        }
        for path, each in listing.items()
        if path != "."
    }


@examples(40)
@given(LAYERS)
def test_what_is_exported_is_the_tree(layers) -> None:
    home = Path(tempfile.mkdtemp(prefix="export-"))
    try:
        out = io.BytesIO()
        with Store.open(str(home / "store"), driver="vfs") as store:
            names, refused = unpack(store.driver(), layers)
            kept = [members for at, members in enumerate(layers) if at not in refused]
            export_tar(put_image(store, "", *kept), store, out.write)
            shown = run_inside(store.driver().view(names), LOOK) if names else {}
        assert archived(out.getvalue()) == seen(shown)
    finally:
        remove_tree(home)
