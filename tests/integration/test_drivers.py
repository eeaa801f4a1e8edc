"""Drivers of one kind build the same image, byte for byte, and with each of all it runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from ocitool.drivers import select
from ocitool.plugins import BUILT_IN

DOCKERFILE = """
FROM scratch
COPY tree/ /
ENV PATH=/bin
RUN mkdir /d /d/e && echo one > /d/f && echo two > /d/e/f && ln /d/f /g && chmod 4755 /d/f
RUN rm -r /d/e && mkdir /d/e && echo three > /d/e/g && rm /g && ln -s d/f /link && mkdir /tmp/x
RUN echo more >> /d/f && touch /d/new && rmdir /tmp/x && mkdir /again && rm -r /again
CMD ["sh", "-c", "cat /link /d/e/g; ls /d /d/e"]
"""
WHOLE = ("btrfs", "vfs")
SAID = "one\nmore\nthree\n/d:\ne\nf\nnew\n\n/d/e:\ng\n"


@pytest.fixture(scope="module")
def context(tools_context):
    path = tools_context / "Dockerfile.drivers"
    path.write_text(DOCKERFILE)
    yield tools_context
    path.unlink()


@pytest.fixture(scope="module")
def built(session_tree, context, run_cli, containers):
    """Return a function that builds with a driver: the id of the image, and what it says."""
    known = {}

    def build(name, parent=session_tree):
        if name not in known:
            root = Path(tempfile.mkdtemp(prefix="d", dir=parent))
            support = select.probe(name, str(root / "drivers" / name))
            (root / "drivers" / name).rmdir()
            (root / "drivers").rmdir()
            if not support.ok:
                pytest.skip(f"needs {name}: {support.reason}")
            words = ("--driver", name, "build", "-q", "-f", context / "Dockerfile.drivers", context)
            image = run_cli(*words, root=root, env={"SOURCE_DATE_EPOCH": "1700000000"}).ok()
            found = image.stdout.strip()
            said = run_cli("run", "--rm", found, root=root).ok().stdout
            assert run_cli("system", "check", root=root).ok()
            known[name] = (found, said)
        return known[name]

    return build


@pytest.mark.parametrize("name", BUILT_IN["ocitool.drivers"])
def test_every_driver_builds_the_same_image(built, request, name):
    """Overlays and whole trees have their own way to say that a directory was made anew."""
    parent = [request.getfixturevalue("btrfs")] if name == "btrfs" else []
    like = "vfs" if name in WHOLE else "overlay"
    assert built(name, *parent) == (built(like)[0], SAID)
