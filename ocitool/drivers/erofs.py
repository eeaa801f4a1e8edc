"""Layers that are never unpacked: an EROFS image has the inodes, and the plain tar the content.

HOME/layers/<chain id>/tar     the layer's tar, byte for byte
HOME/layers/<chain id>/image   inodes and directories; the content of files is read from the tar
HOME/layers/<chain id>/holes   content of sparse files, if there are any
HOME/merged/<chain id>         an image of all layers up to this one, over their tars
HOME/mounts/                   images mounted by the runtime (`sandbox.rootfs.image_mounts`)
HOME/trees/<key>/fs, work      the upper and work directory of an active snapshot

For root only: the kernel mounts no image in a user namespace.  Only images that were written here,
from tars whose digest was verified, are mounted; never one that came from outside.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from ocitool.drivers import probes
from ocitool.drivers.directory_driver import FS, DirectoryDriver
from ocitool.drivers.driver import Support, Usage
from ocitool.drivers.erofs_files import LayerImage, merged_image, opened
from ocitool.errors import DriverError
from ocitool.layer import xattrs
from ocitool.layer.erofs.node import device_of
from ocitool.layer.erofs.reader import ErofsImage
from ocitool_runtime.spec import Mount, SharedImage

if TYPE_CHECKING:
    from ocitool.layer.apply_changeset import Applied
    from ocitool.layer.erofs.lower_layers import Stack
    from ocitool.oci.content import Stream

IMAGE: Final = "image"
TAR: Final = "tar"
HOLES: Final = "holes"
_PARENTS: Final = "parents"  # of a snapshot: the names of its parents, as JSON
_OPTIONS: Final = ("index=off",)
#: More images than this are merged into one.  The lookup of a missing name asks every layer of a
#: stack, and merging costs as much as indexing all the layers: 30 build steps merge three times.
_MOST_STACKED: Final = 8


class ErofsDriver(DirectoryDriver):
    """One tar and one image a layer; a snapshot is an upper directory on mounted images."""

    name: ClassVar[str] = "erofs"
    mapped: ClassVar[frozenset[str]] = frozenset()
    durable: ClassVar[bool] = True
    _content: ClassVar[tuple[str, ...]] = (IMAGE, TAR, HOLES)

    def probe(self) -> Support:
        return probes.try_erofs(self._home, _OPTIONS)

    # -- snapshots --------------------------------------------------------------------------

    def begin(self, key: str, parents: Sequence[str]) -> None:
        top = self._make_root(key, parents)
        directory = self._snapshot(key)
        os.mkdir(f"{directory}/work", 0o700)
        with open(f"{directory}/{_PARENTS}", "w", encoding="ascii") as file:
            json.dump(list(parents), file)
        if parents:
            with ErofsImage(self._layer(parents[-1])) as image:
                like = image.node(image.root)
            os.chown(top, like.uid, like.gid)
            os.chmod(top, like.mode & 0o7777)
            xattrs.write(top, like.xattrs)
            os.utime(top, ns=(like.mtime, like.mtime))

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        from ocitool.drivers.erofs_files import CopiedStream, HolesFile, write_durably
        from ocitool.layer.erofs.convert import index

        directory = self._snapshot(key)
        with (
            contextlib.closing(CopiedStream(tar, f"{directory}/{TAR}")) as kept,
            contextlib.closing(HolesFile(f"{directory}/{HOLES}")) as holes,
            self._opened(parents) as lower,
        ):
            done = index(kept, lower, holes)
            kept.finish()
            holes.finish()
        write_durably(f"{directory}/{IMAGE}", done.image)
        os.rmdir(f"{directory}/{FS}")  # the snapshot can no longer be written to
        return done.applied

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        upper = self._upper(key)
        shared = self._shared(parents)
        return (
            Mount(
                type="overlay",
                target="/",
                # After a crash snapshots are discarded, so nothing needs to be synced.
                options=(*_OPTIONS, "volatile"),
                lower=tuple(image.target for image in shared) or (self._empty(),),
                upper=upper,
                work=f"{self._snapshot(key)}/work",
                shared=shared,
            ),
        )

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        shared = self._shared(parents)
        empty = self._empty()
        if not shared:
            return (Mount(type="bind", source=empty, target="/", options=("ro",)),)
        # A single image would show its whiteouts: the kernel hides them only in a stack.
        lower = (*(image.target for image in shared), empty)
        return (Mount(type="overlay", target="/", options=_OPTIONS, lower=lower, shared=shared),)

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        from ocitool.drivers.erofs_files import BeforeInImages, copy_tar
        from ocitool.layer.changes.diff import changes_in_upper, write_changes
        from ocitool.layer.erofs.node import OPAQUE

        directory = self._snapshot(key)
        if not os.path.isdir(f"{directory}/{FS}"):  # `apply` has kept the tar
            return copy_tar(f"{directory}/{TAR}", sink)
        with self._opened(parents) as lower, open(f"{directory}/{TAR}", "wb") as tar:

            def both(data: bytes) -> None:
                tar.write(data)
                sink(data)

            before = BeforeInImages(lower, self._device)
            changes = changes_in_upper(f"{directory}/{FS}", OPAQUE, before)
            count = write_changes(changes, both, clamp=clamp)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{directory}/{IMAGE}")  # of an earlier call
        return count

    def commit(self, key: str, layer: str) -> None:
        directory = self._snapshot(key)
        if os.path.isdir(directory) and not os.path.exists(f"{directory}/{IMAGE}"):
            self._freeze(key)
        super().commit(key, layer)
        self._sync(layer)

    def _freeze(self, key: str) -> None:
        """Write the image of the tar that `diff` has written, or writes now."""
        from ocitool.drivers.erofs_files import HolesFile, write_durably
        from ocitool.layer.erofs.convert import index

        directory = self._snapshot(key)
        with open(f"{directory}/{_PARENTS}", encoding="ascii") as file:
            parents = json.load(file)
        if not os.path.exists(f"{directory}/{TAR}"):
            self.diff(key, parents, len)
        with open(f"{directory}/{TAR}", "rb", buffering=0) as tar, self._opened(parents) as lower:
            done = index(tar, lower, HolesFile(f"{directory}/{HOLES}"))  # `diff` writes none
            os.fdatasync(tar.fileno())
        write_durably(f"{directory}/{IMAGE}", done.image)

    # -- layers -----------------------------------------------------------------------------

    def remove(self, layer: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._merged(layer))
        super().remove(layer)

    def has(self, layer: str) -> bool:
        directory = f"{self._home}/layers/{layer}"
        return os.path.exists(f"{directory}/{IMAGE}") and os.path.exists(f"{directory}/{TAR}")

    def tar(self, layer: str) -> str:
        directory = os.path.dirname(self._layer(layer))
        if os.path.islink(directory):  # an additional store's, which may not be linked
            return ""
        return f"{directory}/{TAR}"

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        from ocitool.drivers.erofs_files import ComparedHoles, ComparedStream
        from ocitool.layer.erofs.convert import index
        from ocitool.layer.fileio import read_noatime

        path = self._layer(layer)
        directory = os.path.dirname(path)
        holes = ComparedHoles(f"{directory}/{HOLES}")
        with (
            contextlib.closing(ComparedStream(tar, f"{directory}/{TAR}")) as kept,
            self._opened(parents) as lower,
        ):
            wanted = index(kept, lower, holes).image
        for name, differs in ((TAR, kept.differs), (HOLES, holes.differs)):
            if differs:
                yield f"its file {name} {differs}"
        if read_noatime(path) != wanted:
            yield "its EROFS image differs from the tar"
        try:
            kept_merged = read_noatime(self._merged(layer))
        except FileNotFoundError:
            return
        if kept_merged != self._merged_image([*parents, layer]):
            yield "the merged EROFS image of the layers up to it differs from their tars"

    def usage(self, layer: str) -> Usage:
        path = self._layer(layer)
        directory = os.path.dirname(path)
        with ErofsImage(path) as image:
            inodes = image.inodes
        files = [self._merged(layer)]
        if not os.path.islink(directory):  # an additional store's take no space here
            files += [f"{directory}/{name}" for name in (IMAGE, TAR, HOLES)]
        size = 0
        for each in files:
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(each).st_size
        return Usage(size=size, inodes=inodes)

    # -- images -----------------------------------------------------------------------------

    def _upper(self, key: str) -> str:
        upper = f"{self._snapshot(key)}/{FS}"
        if not os.path.isdir(upper):
            raise DriverError(f"snapshot {key!r} does not exist, or has been unpacked already")
        return upper

    def _shared(self, parents: Sequence[str]) -> tuple[SharedImage, ...]:
        """Return the images that show *parents*, the topmost first."""
        images = self._images(parents)
        if len(images) > _MOST_STACKED:
            self._merge(parents, images)
            images = self._images(parents)
        if images:
            os.makedirs(f"{self._home}/mounts", mode=0o700, exist_ok=True)
        return tuple(map(self._describe, images))

    def _images(self, parents: Sequence[str]) -> list[LayerImage]:
        """Return the images that show *parents*, the topmost first; a merged one is the last."""
        for name in parents:
            self._layer(name)
        found: list[LayerImage] = []
        for name in reversed(parents):
            merged = self._merged(name)
            if os.path.exists(merged):
                return [*found, LayerImage(name, merged)]
            found.append(LayerImage(name, self._layer(name)))
        return found

    def _describe(self, one: LayerImage) -> SharedImage:
        with ErofsImage(one.path) as image:
            devices = tuple(self._device(device.tag, one.name) for device in image.devices)
        merged = one.path == self._merged(one.name)
        target = f"{self._home}/mounts/{'m-' if merged else ''}{one.name}"
        return SharedImage(source=one.path, target=target, devices=devices)

    def _device(self, tag: str, name: str) -> str:
        """Return the file that an image of the layer *name* calls *tag*."""
        layer, holes = device_of(tag, name)
        return f"{self._home}/layers/{layer}/{HOLES if holes else TAR}"

    def _merge(self, parents: Sequence[str], images: Sequence[LayerImage]) -> None:
        """Write the merged image of *parents*, made of *images*."""
        from ocitool.drivers.erofs_files import write_whole

        data = merged_image(images)
        os.makedirs(f"{self._home}/merged", mode=0o700, exist_ok=True)
        write_whole(f"{self._home}/merged", parents[-1], data)

    def _merged_image(self, layers: Sequence[str]) -> bytes:
        """Return the image of all *layers*, made of the images of each.

        It would be the same if it was made of another merged image.
        """
        return merged_image([LayerImage(name, self._layer(name)) for name in reversed(layers)])

    def _merged(self, name: str) -> str:
        return f"{self._home}/merged/{name}"

    def _opened(self, parents: Sequence[str]) -> contextlib.AbstractContextManager[Stack]:
        return opened(self._images(parents))
