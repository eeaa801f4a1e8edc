"""What is measured from within: one piece of work of the library, and how long it took.

    python tests/benchmarks/works.py WORK ARGUMENT...

Prints ``inner SECONDS`` last, where the work is less than the whole process.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocitool import Store
    from ocitool.layer.changes.describe import Change

    Sink = Callable[[bytes], object]

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [HERE, f"{HERE}/registry", f"{HERE}/runtime"]

NAME = "docker.io/bench/layer:1"
MANY = "docker.io/bench/many:1"


def put(root: str, archive: str) -> None:
    """Bring an archive of images into the store, packed."""
    from ocitool import Store
    from ocitool.image.archive.archive import load

    with Store.open(root) as store, open(archive, "rb", buffering=0) as file:
        load(file, into=store)


def make(root: str, tree: str, archive: str) -> None:
    """Make the image of one layer that all unpack, and of 20 that all walk; write an archive."""
    from ocitool import Store
    from ocitool.image.archive.save import NamedImage, save
    from ocitool.image.store_content import local_image

    with Store.open(root) as store:
        named(store, NAME, [lambda sink: write(tree, sink, 0, 1)])
        twenty = [lambda sink, n=n: write(tree, sink, n, 20) for n in range(20)]
        named(store, MANY, twenty)
        for name, path in ((NAME, archive), (MANY, f"{archive}.many")):
            with open(path, "wb") as file:
                save([NamedImage(local_image(store, name), name)], file.write)


def named(store: Store, name: str, layers: Sequence[Callable[[Sink], None]]) -> None:
    """Store an image of what *layers* write."""
    from ocitool.oci.config import ImageConfig
    from ocitool.oci.manifest import Descriptor, Manifest
    from ocitool.oci.mediatypes import OCI_CONFIG
    from ocitool.oci.platform import this_platform

    packed = [store.layers.pack(layer) for layer in layers]
    diff_ids = tuple(layer.diff_id for layer in packed)
    config = ImageConfig(platform=this_platform(), diff_ids=diff_ids).dump()
    digest = store.blobs.put(config, store.lease())
    described = Descriptor(media_type=OCI_CONFIG, digest=digest, size=len(config))
    manifest = Manifest.new(described, [layer.blob for layer in packed])
    store.blobs.put(manifest.raw, store.lease())
    store.refs.set(name, manifest.descriptor)


def write(tree: str, sink: Sink, part: int, parts: int) -> None:
    """Write all directories of *tree*, and one in *parts* of its files."""
    from ocitool.layer.changes.diff import changes_since, write_changes

    number = 0

    def chosen() -> Iterator[Change]:
        nonlocal number
        for change in changes_since(tree, "", 0):
            if change.entry.kind == "file":
                number += 1
                if number % parts != part:
                    continue
            yield change

    write_changes(chosen(), sink)


def unpack(root: str, driver: str) -> None:
    """From the compressed blob to a layer that can be used, and that a power cut leaves whole."""
    from ocitool import Store
    from ocitool.image.store_content import local_image
    from ocitool.store.directory.atomic import sync_file_system

    with Store.open(root, driver=driver) as store:
        store.layers.ensure(local_image(store, NAME).layers)
        if not store.driver().durable:
            sync_file_system(root)


def remove(root: str, driver: str) -> None:
    from ocitool import Store
    from ocitool.store.maintenance.remove import remove_image

    with Store.open(root, driver=driver) as store:
        timed(lambda: remove_image(store, NAME))


def commit(root: str, driver: str) -> None:
    """The change of a RUN that touched three files, on the large layer."""
    from ocitool import Store
    from ocitool.drivers.conformance.harness import run_inside
    from ocitool.image.store_content import local_image

    code = "import os\nfor n in 'abc': open('new-' + n, 'w').write(os.urandom(8).hex())"
    with Store.open(root, driver=driver) as store:
        layers = local_image(store, NAME).layers
        with store.layers.prepare(layers) as tree:
            run_inside(tree.mounts, code)
            timed(lambda: store.layers.commit(tree, layers))


def pack(tree: str) -> None:
    """The tar of a directory, with its digest."""
    from ocitool.layer.changes.diff import changes_since, write_changes
    from ocitool.layer.compression.parallel import Lane

    hasher = hashlib.sha256()
    with open("/dev/null", "wb", buffering=0) as sink:
        hashing = Lane(hasher.update)

        def take(data: bytes) -> None:
            hashing.put(data)
            sink.write(data)

        write_changes(changes_since(tree, "", 0), take)
        hashing.close()
    print(hasher.hexdigest())


def pack_tarfile(tree: str) -> None:
    """The same with the standard library."""

    class Sink:
        def __init__(self) -> None:
            self.hasher = hashlib.sha256()

        def write(self, data: bytes) -> int:
            self.hasher.update(data)
            return len(data)

    sink = Sink()
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        tar.add(tree, arcname=".")
    print(sink.hasher.hexdigest())


LOOK = """
import json, os, time
began = time.perf_counter()
count = sum(1 for _ in os.walk("."))
walked = time.perf_counter()
for number in range(20000):
    try:
        os.stat(f"d{number % 97}/absent-{number}")
    except FileNotFoundError:
        pass
print(json.dumps([walked - began, time.perf_counter() - walked]))
"""


def walk(root: str, driver: str, name: str) -> None:
    """Walk an image of many layers, and look for 20,000 names that are not there."""
    from ocitool import Store
    from ocitool.drivers.conformance.harness import run_inside
    from ocitool.image.store_content import local_image

    with Store.open(root, driver=driver) as store:
        mounts = store.layers.view(local_image(store, name).layers)
        walked, looked = run_inside(mounts, LOOK)
        print(f"walk {walked:.3f} look-ups {looked:.3f}")
        print(f"inner {walked + looked:.6f}")


def together(root: str, image: str) -> None:
    """Sixteen containers at once, from one process."""
    from ocitool import RunOptions, Store, run

    with Store.open(root) as store:
        run(RunOptions(image=image, network="none", args=("true",)), store=store)

        def many() -> None:
            threads = [threading.Thread(target=one) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        def one() -> None:
            done = run(RunOptions(image=image, network="none", args=("true",)), store=store)
            assert done.code == 0

        timed(many)


def crowd(root: str, count: str) -> None:
    """Fill a store with small images of one name each."""
    from ocitool import Store
    from ocitool.oci.config import ImageConfig
    from ocitool.oci.manifest import Descriptor, Manifest
    from ocitool.oci.mediatypes import OCI_CONFIG, OCI_INDEX
    from ocitool.oci.platform import this_platform

    with Store.open(root) as store:
        entries = []
        for number in range(int(count)):
            labels = {"number": str(number)}
            config = json.loads(ImageConfig(platform=this_platform(), diff_ids=()).dump())
            config.setdefault("config", {})["Labels"] = labels
            data = json.dumps(config).encode()
            digest = store.blobs.put(data, store.lease())
            manifest = Manifest.new(
                Descriptor(media_type=OCI_CONFIG, digest=digest, size=len(data)), []
            )
            store.blobs.put(manifest.raw, store.lease())
            name = f"docker.io/library/crowd-{number}:1"
            entries.append(
                {
                    "mediaType": manifest.descriptor.media_type,
                    "digest": str(manifest.descriptor.digest),
                    "size": manifest.descriptor.size,
                    "annotations": {"org.opencontainers.image.ref.name": name},
                }
            )
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        with open(f"{store.layout.oci}/index.json", "w", encoding="utf-8") as file:
            json.dump(index, file)
        # As our own commands leave it.
        store.refs.set("docker.io/library/crowd:last", manifest.descriptor)


def timed(work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    print(f"inner {time.perf_counter() - began:.6f}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
