"""A store as source and sink of content."""

from __future__ import annotations

from collections.abc import Sequence

from ocitool.errors import ImageNotFound
from ocitool.image.image import Image, image_of, require_platform
from ocitool.layer.codec import CHUNK
from ocitool.oci.content import Opener, Stream
from ocitool.oci.manifest import Descriptor
from ocitool.oci.platform import Platform
from ocitool.oci.streams import VerifiedReader
from ocitool.store.directory.full_disk import full_disk, require_room
from ocitool.store.store import Store


class StoreSource:
    """The content of *store*; *root* is the manifest or index that it stands for."""

    def __init__(self, store: Store, root: Descriptor) -> None:
        self._store = store
        self._root = root

    def resolve(self) -> Descriptor:
        return self._root

    def fetch(self, descriptor: Descriptor) -> bytes:
        return self._store.blobs.read(descriptor)

    def open(self, descriptor: Descriptor) -> Stream:
        file = self._store.blobs.open(descriptor.digest)
        return VerifiedReader(file, descriptor.digest, descriptor.size, where="store")


class StoreSink:
    """Stores an image in *store* under *name* (``""`` for none)."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def has(self, descriptor: Descriptor) -> bool:
        return self._store.blobs.claim(descriptor)

    def expect(self, descriptors: Sequence[Descriptor]) -> None:
        blobs = {each.digest: each.size for each in descriptors}
        missing = {digest for digest in blobs if self._store.blobs.size(digest) is None}
        require_room(self._store.layout.root, sum(blobs[digest] for digest in missing))

    def put_blob(self, descriptor: Descriptor, open: Opener) -> str:
        if self.has(descriptor):
            return "exists"
        # If two processes store the same blob, the second sees that it exists.
        with self._store.layout.work_lock("blob", descriptor.digest.encoded):
            if self.has(descriptor):
                return "exists"
            stream = open()
            try:
                with full_disk(self._store.layout.root):
                    self._take(descriptor, stream)
            finally:
                stream.close()
        return "done"

    def _take(self, descriptor: Descriptor, stream: Stream) -> None:
        with self._store.blobs.writer(self._store.lease()) as writer:
            while data := stream.read(CHUNK):
                writer.write(data)
            writer.commit(descriptor)

    def put_manifest(self, descriptor: Descriptor, raw: bytes, *, root: bool) -> None:
        self._store.blobs.put(raw, self._store.lease())
        if root:
            self._store.refs.set(self._name, descriptor)


def local_image(store: Store, name: str, platform: Platform | None = None) -> Image:
    """Return the image *name* of *store*.

    Raises:
        ImageNotFound: it is not in the store; or *platform* is given, and it is for another one.
    """
    root = store.find(name)
    image = image_of(StoreSource(store, root), platform, name=name)
    if store.blobs.size(image.digest) is None:
        raise ImageNotFound(
            f"no such image for this platform: {name}", hint=f"try `ocitool pull {name}`"
        )
    if platform is not None and image.digest == root.digest:  # not chosen from an index
        require_platform(image, platform, name)
    return image
