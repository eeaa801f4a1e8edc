"""The layer of a RUN is the same, byte for byte, whichever driver shows the step its tree."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ocitool.drivers import select

ENV = {"SOURCE_DATE_EPOCH": "1700000000"}
OTHERS = ("erofs", "fuse-overlayfs", "btrfs")
#: What drivers see in different ways: what overlayfs copies, hides and marks, and copies do not.
STEPS = r"""
RUN rm -rf /tree/remade && mkdir -p /tree/remade/below && echo new > /tree/remade/new
RUN exec 3>>/tree/kept/file; echo x > /tree/kept/other && rm /tree/kept/other
RUN mv /tree/moved /tree/elsewhere && mv /tree/file /tree/kept/moved
RUN ln /tree/kept/file /tree/hard
RUN rm -r /tree/swapped && ln -s kept /tree/swapped
RUN chmod 700 /tree/moded && chmod 755 /tree/moded && chown 5:6 /tree/moded/file
RUN cp -a /tree/kept/file /tree/x && mv /tree/x /tree/kept/file
RUN cp -a /tree/twice /tree/x && rm -r /tree/twice && mv /tree/x /tree/twice
RUN mkdir -p /new/deep && echo 1 > /new/deep/file && mkfifo /new/pipe && ln -s deep /new/link
RUN rm -r /new/deep && mkdir /new/deep && touch /new/deep/another
RUN rm -r /new /tree/remade && echo done > /new
RUN mkdir -p /names/sub && echo same > /names/a && ln /names/a /names/sub/b
RUN rm -r /names && mkdir -p /names/sub && echo same > /names/a && ln /names/a /names/sub/b
"""
TREE = ("remade/old", "remade/below/old", "kept/file", "moved/sub/file", "file", "swapped/file",
        "moded/file", "twice/sub/file", "twice/empty")  # fmt: skip


@pytest.fixture(scope="module")
def built(run_cli, busybox_base):
    """Return a function that builds the steps with a driver, in a directory, and prints the ID."""

    def built(driver, place, user=None):
        context = place / "context"
        for path in TREE:
            (context / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
            (context / "tree" / path).write_text(f"{path}\n" * (path != "twice/empty"))
        (context / "Dockerfile").write_text(f"FROM {busybox_base}\nCOPY tree /tree\n{STEPS}")
        words = ("--driver", driver, "build", "-q", "--no-cache", "-t", "a:1", context)
        return run_cli(*words, root=place / "store", env=ENV, user=user).ok().stdout

    return built


@pytest.fixture(scope="module")
def copies(root_only, containers, built, session_tree):
    """The ID that the image has from a driver that copies whole trees."""
    place = Path(tempfile.mkdtemp(prefix="copies-", dir=session_tree))
    return built("vfs", place)


@pytest.mark.parametrize(
    "driver",
    ["overlay", *(pytest.param(name, marks=pytest.mark.campaign) for name in OTHERS)],
)
def test_it_is_that_of_copies(built, copies, store_root, request, driver):
    top = request.getfixturevalue("btrfs") if driver == "btrfs" else store_root
    support = select.probe(driver, str(top / "probe"))
    if not support.ok:
        pytest.skip(f"needs {driver}: {support.reason}")
    place = Path(tempfile.mkdtemp(prefix="layers-", dir=top))  # a disk goes away as a whole
    assert built(driver, place) == copies


@pytest.mark.campaign
@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_so_it_is_for_users(built, copies, ordinary_user, driver):
    place = Path(tempfile.mkdtemp(prefix="layers-", dir=ordinary_user.home))
    os.chown(place, ordinary_user.uid, ordinary_user.gid)
    assert built(driver, place, ordinary_user) == copies
