"""Whoever may write to a context may change it between any two system calls of a build.

So a directory becomes a link that leads out of it at each of them, one after the other.
"""

from __future__ import annotations

import os

import pytest

from ocitool.builder.context.context import Context
from ocitool.builder.context.ignore.files import read_text
from ocitool.builder.context.ignore.inside import inside
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.copy.archive import Spooled
from ocitool.builder.copy.sources import FromContext
from ocitool.builder.definition import Copy, LocalContext
from ocitool.builder.solver.copy_digests import CopySource
from ocitool.errors import OcitoolError
from ocitool.layer import beneath
from ocitool.layer.entry import Kind
from tests.unit.layer import tars

TAR = {name: tars.tar(tars.file("member", name.encode())) for name in ("context", "outside")}
READLINK = os.readlink
CALLS = ("open", "lstat", "stat", "fstat", "scandir", "listdir", "readlink", "listxattr", "read")
SOURCES = ("", "a/b", "a/b/f", "a/b/t.tar", "a/*", "a/*/f")


@pytest.fixture
def trees(tmp_path):
    """A context, and the same files outside of it, with other content."""
    for name in ("context", "outside"):
        inner = tmp_path / name / "a/b/c"
        inner.mkdir(parents=True)
        (inner / "deep").write_text(name)
        (inner.parent / "f").write_text(name)
        (inner.parent / "link").symlink_to(name)
        (inner.parent / "t.tar").write_bytes(TAR[name])
        (inner.parent / name).write_text("")  # its name says where it is
    return tmp_path


class Swap:
    """Puts a link where the directory *path* was, at the call number *at*."""

    def __init__(self, trees, path, at, monkeypatch):
        self.count, self._trees, self._path, self._at = 0, trees, path, at
        self.opened = []  # paths
        for name in CALLS:
            self._watch(monkeypatch, os, name)
        self._watch(monkeypatch, beneath, "_openat2")

    def _watch(self, monkeypatch, module, name):
        real = getattr(module, name)

        def watched(*args, **kwargs):
            if self.count == self._at:
                self.count += 1
                self.swap()
            self.count += 1
            result = real(*args, **kwargs)
            if "open" in name:
                self.opened.append(READLINK(f"/proc/self/fd/{result}"))
            return result

        monkeypatch.setattr(module, name, watched)

    def swap(self):
        there = self._trees / "context" / self._path
        there.rename(self._trees / "gone")
        there.symlink_to(self._trees / "outside" / self._path)


def taken(top):
    """Return the names, links and contents that a build takes of the context and its archives."""
    context = Context(str(top), IgnoreRules(), None)
    found = []
    files = FromContext(context)
    for source in SOURCES:
        try:
            items = context.find(source)
            for item in items:
                context.digest(item)
                entries = files.walk(item) if item.is_directory else [files.file(item)]
                with files.contents([]) as content:
                    for entry, handle in entries:
                        found += [entry.path, entry.link]
                        if entry.kind == Kind.FILE:
                            found.append(b"".join(content(handle, entry.size)))
                found += added(context, item)
        except (OcitoolError, OSError):
            continue
    context.close()
    return found


def added(context, item):
    """Return what ADD unpacks of *item*."""
    step = Copy(base=LocalContext(), platform="", source=LocalContext(), paths=(), dest="/",
                unpack=True)  # fmt: skip
    source = CopySource(step=step, store=None, context=context, layers=())
    with source.archive(item) as file:
        if file is None:
            return []
        spooled = Spooled(file, context.top)
    content = [b"".join(spooled.content(each.offset, each.entry.size)) for each in spooled.members]
    spooled.close()
    return content


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "resolution"),
    [
        ("a/b", "openat2"),
        pytest.param("a", "openat2", marks=pytest.mark.campaign),
        pytest.param("a/b/c", "openat2", marks=pytest.mark.campaign),
        pytest.param("a/b", "walk", marks=pytest.mark.campaign),
    ],
)
def test_no_swapped_directory_leads_out_of_the_context(trees, monkeypatch, path, resolution):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    top, at = trees / "context", 0
    found = taken(top)
    assert {"context", b"context"} <= set(found)
    there = top / path
    while True:
        if (trees / "gone").exists():
            there.unlink()
            (trees / "gone").rename(there)
        with monkeypatch.context() as patches:
            if resolution == "walk":
                patches.setattr(beneath, "_openat2", refuse)
            swap = Swap(trees, path, at, patches)
            found = taken(top)
        assert not {"outside", b"outside"} & set(found), f"at call {at}"
        opened = [each for each in swap.opened if each.startswith(str(trees / "outside"))]
        assert opened == [], f"at call {at}"
        if swap.count <= at:
            return
        at += 1


@pytest.mark.parametrize("becomes", ["a", "a/b", "a/b/Dockerfile"])
def test_no_file_that_a_build_reads_itself_leads_out_of_the_context(tmp_path, becomes):
    for name in ("context", "outside"):
        (tmp_path / name / "a/b").mkdir(parents=True)
        (tmp_path / name / "a/b/Dockerfile").write_text(name)
    file = inside(str(tmp_path / "context"), "a/b/Dockerfile")
    assert read_text(file, "x") == b"context"
    there = tmp_path / "context" / becomes
    there.rename(tmp_path / "gone")
    there.symlink_to(tmp_path / "outside" / becomes)
    with pytest.raises(OSError):
        read_text(file, "x")
