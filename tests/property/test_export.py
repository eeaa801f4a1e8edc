"""Random stacks, seen through their indexes alone: a tar of what unpacking them gives."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings

from ocitool import Store
from ocitool.drivers import choose
from ocitool.drivers.inspection import run_inside
from ocitool.drivers.samples import Member
from ocitool.image.exporting import export_tar
from ocitool.layer import entry as kinds
from ocitool.layer.entry import WHITEOUT, order, split
from ocitool.layer.reader import TarReader
from tests.fixtures.looking import LOOK, Facts
from tests.fixtures.stores import put_image
from tests.fixtures.trees import remove_tree
from tests.property.test_driver_stacks import LAYERS, unpack

KINDS = {"-": kinds.FILE, "d": kinds.DIRECTORY, "l": kinds.SYMLINK}


def told(archive: bytes) -> Facts:
    """What the members of a tar are."""
    found: Facts = {}
    reader = TarReader(io.BytesIO(archive))
    for entry in reader:
        data = reader.read()
        if entry.kind == kinds.HARDLINK:
            found[entry.path] = found[entry.link]
            continue
        found[entry.path] = {
            "kind": entry.kind,
            "mode": oct(entry.mode),
            "owner": [entry.uid, entry.gid],
            "link": entry.link,
            "content": hashlib.sha256(data).hexdigest() if entry.kind == kinds.FILE else "",
            "xattrs": {name: value.hex() for name, value in entry.xattrs.items()},
        }
    return found


def seen(facts: Facts) -> Facts:
    """What a sandbox sees, in the words of `told`."""
    return {
        path: {
            "kind": KINDS[each["kind"]],
            "mode": oct(0o777) if each["kind"] == "l" else each["mode"],
            "owner": each["owner"],
            "link": each.get("link", ""),
            "content": each.get("content", ""),
            "xattrs": each.get("xattrs", {}),
        }
        for path, each in facts.items()
        if path != "."
    }


def plain(members: list[Member]) -> list[Member]:
    """Let whiteouts come first, as engines write them, and leave out what leads through own links.

    An index does not say whether a directory was whited out before the layer had something in it or
    after, nor where a link of the layer led before it was made or replaced.
    """
    links = [entry.path for entry, _ in members if entry.kind == kinds.SYMLINK]
    kept = []
    for member in members:
        path = member[0].path
        within = any(path.startswith(f"{link}/") for link in links)
        again = path in links and sum(each.path == path for each, _ in members) > 1
        if not within and not again:
            kept.append(member)
    whiteouts = [each for each in kept if split(each[0].path)[1].startswith(WHITEOUT)]
    rest = [each for each in kept if each not in whiteouts]
    return sorted(whiteouts, key=lambda each: order(each[0].path)) + rest


@settings(max_examples=40, deadline=None)
@given(LAYERS.map(lambda layers: [plain(each) for each in layers]))
def test_what_is_exported_is_the_tree(layers) -> None:
    home = Path(tempfile.mkdtemp(prefix="export-"))
    try:
        driver = choose.make("vfs", str(home / "vfs"))
        names, refused = unpack(driver, layers)
        kept = [members for at, members in enumerate(layers) if at not in refused]
        out = io.BytesIO()
        with Store.open(str(home / "store"), driver="vfs") as store:
            export_tar(put_image(store, "", *kept), store, out.write)
        shown = run_inside(driver.view(names), LOOK) if names else {}
        assert told(out.getvalue()) == seen(shown)
    finally:
        remove_tree(home)
