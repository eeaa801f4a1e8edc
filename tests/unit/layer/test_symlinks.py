"""Following symbolic links inside a tree."""

from __future__ import annotations

import pytest

from ocitool.errors import LayerError
from ocitool.layer.symlinks import MAX_SYMLINKS, resolve

LINKS = {
    "run": "var/run",
    "var/run": "/tmp",
    "up": "..",
    "a/up": "../../../b",
    "loop": "loop",
    "one": "two",
    "two": "./one/",
    **{f"l{n}": f"l{n - 1}" for n in range(1, MAX_SYMLINKS + 2)},
}


def readlink(path):
    return LINKS.get(path, "")


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("", ""),
        ("/", ""),
        ("etc//./passwd", "etc/passwd"),
        ("run/x", "tmp/x"),
        ("a/../run/x/../y", "tmp/y"),
        ("a/up/c", "b/c"),
        ("up/up/up", ""),
        ("../..", ""),
        (f"l{MAX_SYMLINKS}/x", "l0/x"),
    ],
)
def test_links_lead_where_they_do_in_a_chroot(path, resolved):
    assert resolve(path, readlink) == resolved


def test_the_last_link_may_be_left():
    assert resolve("run/run", readlink, last=False) == "tmp/run"
    assert resolve("run", readlink, last=False) == "run"


@pytest.mark.parametrize("path", ["loop", "one/x", f"l{MAX_SYMLINKS + 1}"])
def test_there_may_be_40_links(path):
    with pytest.raises(LayerError, match="too many levels of symbolic links") as caught:
        resolve(path, readlink)
    assert caught.value.where == f"/{path}"
