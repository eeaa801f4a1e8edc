"""Stacks of unpacked layers, as either kind of driver keeps them, and what they show."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from pathlib import Path
from typing import ClassVar

import pytest

from ocitool.layer import beneath as root_module
from ocitool.layer.entry import DEFAULT_LIMITS
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import OverlayWhiteouts, Removal
from tests.fixtures.erofs import Images, shown, unmountable
from tests.unit.layer.tars import mine

OPAQUE = "user.overlay.opaque"


class Stack:
    """Layers unpacked one on the other; ``overlay`` says whether each is a directory of its own."""

    erofs = False

    def __init__(self, top: Path, *, overlay: bool) -> None:
        self.top, self.overlay = top, overlay
        self.trees: list[Path] = []  # the lowest first
        self.notes: tuple[str, ...] = ()

    def apply(self, *members, limits=DEFAULT_LIMITS):
        """Unpack one layer of *members* on top, and return this."""
        return self.apply_tar(mine(*members), limits)

    def apply_tar(self, data, limits=DEFAULT_LIMITS):
        """Unpack one layer on top, and return this."""
        stream = io.BytesIO(data)
        if self.overlay:
            lower = [str(tree) for tree in reversed(self.trees)]
            tree = self.top / str(len(self.trees))
            tree.mkdir()
            self.trees.append(tree)
            done = apply(stream, str(tree), OverlayWhiteouts("user"), lower=lower, limits=limits)
        else:
            self.trees = [self.top / "tree"]
            self.trees[0].mkdir(exist_ok=True)
            done = apply(stream, str(self.trees[0]), Removal(), limits=limits)
        assert stream.read() == b""
        self.notes = done.notes
        return self

    def place(self, path: str) -> Path:
        """Where *path* is on disk."""
        return merged(self.trees)[path]

    def shows(self):
        """Each path with its kind and mode, and its content or target."""
        return {path: describe(place) for path, place in merged(self.trees).items()}

    def names(self):
        """Every path, sorted."""
        return sorted(merged(self.trees))


class ErofsStack(Stack):
    """Layers that are not unpacked: the kernel shows one image of all of them."""

    erofs = True
    every: ClassVar[list[contextlib.ExitStack]] = []  # what is mounted

    def __init__(self, top: Path, *, overlay: bool = False) -> None:
        super().__init__(top, overlay=overlay)
        self.images = Images(top)
        self.mounted = contextlib.ExitStack()
        self.every.append(self.mounted)

    def apply_tar(self, data, limits=DEFAULT_LIMITS):
        self.mounted.close()
        self.notes = self.images.add(data, limits).applied.notes
        target = self.top / "shown"
        target.mkdir(exist_ok=True)
        self.trees = [self.mounted.enter_context(shown(*self.images.merge(), target))]
        return self


def merged(trees):
    """Merge *trees* (lowest first) as overlayfs does: each path shown, and where it is."""
    shown: dict[str, Path] = {}
    for tree in trees:
        for folder, directories, files in os.walk(tree):
            here = Path(folder)
            inside = here.relative_to(tree).as_posix()
            inside = "" if inside == "." else inside
            if inside and OPAQUE in os.listxattr(here):
                hide(shown, inside, itself=False)
            for name in [*directories, *files]:
                path = f"{inside}/{name}" if inside else name
                state = os.lstat(here / name)
                was = shown.get(path)
                both = was is not None and was.is_dir() and not was.is_symlink()
                if not (both and stat.S_ISDIR(state.st_mode)):
                    hide(shown, path, itself=True)
                if not (stat.S_ISCHR(state.st_mode) and state.st_rdev == 0):
                    shown[path] = here / name
    return shown


def hide(shown, path, *, itself):
    for known in [known for known in shown if known.startswith(path + "/")]:
        del shown[known]
    if itself:
        shown.pop(path, None)


def describe(place):
    state = os.lstat(place)
    kind = {
        stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
        stat.S_IFCHR: "char", stat.S_IFBLK: "block",
    }[stat.S_IFMT(state.st_mode)]  # fmt: skip
    if kind == "symlink":
        return (kind, os.readlink(place))
    mode = oct(stat.S_IMODE(state.st_mode))
    return (kind, mode, place.read_bytes()) if kind == "file" else (kind, mode)


@pytest.fixture(params=["openat2", "walk"])
def resolution(request, monkeypatch):
    """As on a kernel with openat2, and as on one without."""
    if request.param == "walk":

        def refuse(*_):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(root_module, "_openat2", refuse)
    return request.param


@pytest.fixture(params=["overlay", "removal", "erofs"])
def stack(request, tmp_path):
    """An empty stack, of each kind."""
    top = tmp_path / "stack"
    top.mkdir()
    if request.param == "erofs":
        if reason := unmountable(str(tmp_path.parent)):
            pytest.skip(reason)
        request.addfinalizer(lambda: [stack.close() for stack in ErofsStack.every])
        return ErofsStack(top)
    built = Stack(top, overlay=request.param == "overlay")
    if built.overlay:
        try:
            os.setxattr(top, OPAQUE, b"y")
            os.removexattr(top, OPAQUE)
        except OSError as error:
            pytest.skip(f"needs a file system with user attributes: {error}")
    return built
