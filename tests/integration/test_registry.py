"""Our server under real clients, and our client against a real registry."""

from __future__ import annotations

import io
import os
import uuid

import pytest

from ocitool import Store, pull, push
from ocitool.errors import BlobNotFound, ImageNotFound
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, parse_any
from ocitool.oci.reference import Reference
from ocitool.store.registry_backend import StoreBackend
from ocitool_registry import RegistrySink, RegistrySource, connect
from ocitool_registry.server.serve import serve


@pytest.fixture
def ours(tmp_path):
    """The address of a server of ours, over an empty store."""
    with StoreBackend(str(tmp_path / "served")) as backend, serve(backend) as running:
        yield running.address


def copy(source: str, target: str) -> Descriptor:
    """Copy an image by our client; returns its descriptor."""
    here, there = Reference.parse(source), Reference.parse(target)
    pulled = RegistrySource(connect(here), here)
    pushed = RegistrySink(connect(there), there)
    root = pulled.resolve()
    raw = pulled.fetch(root)
    manifest = parse_any(raw, root.media_type)
    for blob in (manifest.config, *manifest.layers):
        assert pushed.put_blob(blob, lambda blob=blob: pulled.open(blob)) == "done"
        assert pushed.put_blob(blob, lambda: io.BytesIO(b"never read")) == "exists"
    pushed.put_manifest(root, raw, root=True)
    return root


def test_our_client_takes_an_image_from_a_real_registry_to_ours(debian_base, ours):
    root = copy(debian_base, f"{ours}/debian:1")
    there = Reference.parse(f"{ours}/debian:1")
    assert RegistrySource(connect(there), there).resolve() == root
    assert list(connect(ours).repositories()) == ["debian"]


def test_our_client_and_a_real_registry(registry, busybox_base):
    name = f"ocitool-test/{uuid.uuid4().hex[:8]}"
    root = copy(busybox_base, f"{registry}/{name}:1")
    client = connect(registry)
    assert list(client.tags(name)) == ["1"]
    assert client.head_manifest(name, root.digest) == root
    assert client.get_manifest(name, "1")[0] == root
    mounted = Digest.of(data := os.urandom(100_000))
    blob = Descriptor(media_type="application/x", digest=mounted, size=len(data))
    there = Reference.parse(f"{registry}/{name}:1")
    assert RegistrySink(client, there).put_blob(blob, lambda: io.BytesIO(data)) == "done"
    beside = Reference.parse(f"{registry}/{name}-beside:1")
    sink = RegistrySink(client, beside, origins=lambda _: [name])
    assert sink.put_blob(blob, lambda: io.BytesIO(b"never read")) == "mounted"
    with client.get_blob(name, mounted, 99_990) as response:
        assert (response.status, response.stream.read()) == (206, data[-10:])
    with pytest.raises(ImageNotFound):
        client.head_manifest(name, "absent")
    with pytest.raises(BlobNotFound):
        client.head_blob(name, Digest.of(b"absent"))


@pytest.mark.parametrize("compression", ["zstd", "estargz", "uncompressed", "gzip:9"])
def test_skopeo_reads_what_was_compressed_for_a_push(
    skopeo, registry, busybox_base, compression, tmp_path
):
    """skopeo verifies each blob, and the diff IDs of what it decompresses."""
    target = f"{registry}/ocitool-test/{uuid.uuid4().hex[:8]}:1"
    with Store.open(str(tmp_path / "store")) as store:
        pull(busybox_base, into=store, unpack=False)
        pushed = push(busybox_base, source=store, to=target, compression=compression)
    place = f"dir:{tmp_path / 'image'}"
    skopeo("copy", "--src-tls-verify=false", "--dest-decompress", f"docker://{target}", place)
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{target}").stdout
    assert Digest.of(raw.encode()) == pushed.digest


def test_skopeo_copies_to_and_from_our_server(skopeo, debian_base, ours, tmp_path):
    plain = "--src-tls-verify=false", "--dest-tls-verify=false"
    skopeo("copy", *plain, f"docker://{debian_base}", f"docker://{ours}/a/debian:1")
    skopeo("copy", *plain, f"docker://{ours}/a/debian:1", f"docker://{ours}/b/debian:1")
    skopeo("copy", plain[0], f"docker://{ours}/b/debian:1", f"dir:{tmp_path / 'image'}")
    there = Reference.parse(f"{ours}/a/debian:1")
    root = RegistrySource(connect(there), there).resolve()
    manifest = (tmp_path / "image" / "manifest.json").read_bytes()
    assert Digest.of(manifest) == root.digest
    assert "1" in skopeo("list-tags", "--tls-verify=false", f"docker://{ours}/a/debian").stdout
    skopeo("delete", "--tls-verify=false", f"docker://{ours}/a/debian:1")
    assert list(connect(ours).tags("a/debian")) == []


def test_docker_pushes_to_and_pulls_from_our_server(docker, busybox_base, ours):
    name = f"{ours}/docker/busybox:1"
    docker("pull", busybox_base)
    docker("tag", busybox_base, name)
    try:
        docker("push", name)
        docker("image", "rm", name)
        docker("pull", name)
        assert docker("run", "--rm", name, "echo", "out").stdout == "out\n"
    finally:
        docker("image", "rm", "-f", name, check=False)


def test_podman_pushes_to_and_pulls_from_our_server(podman, busybox_base, ours):
    name = f"{ours}/podman/busybox:1"
    podman("pull", "--tls-verify=false", busybox_base)
    try:
        podman("push", "--tls-verify=false", busybox_base, name)
        podman("pull", "--tls-verify=false", name)
        assert podman("run", "--rm", name, "echo", "out").stdout == "out\n"
    finally:
        podman("image", "rm", "-f", name, check=False)
