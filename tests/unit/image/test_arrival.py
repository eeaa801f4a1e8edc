"""What cannot be used is refused when it is pulled, loaded or imported, not at its first use."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile

import pytest

from ocitool import BuildOptions, Store, build, plugins, pull
from ocitool.drivers.conformance.layers import file, hardlink, tar
from ocitool.errors import (
    BadReference,
    DigestMismatch,
    DriverUnavailable,
    FormatError,
    LayerError,
    NotAnImage,
    OcitoolError,
    UnsupportedEntry,
)
from ocitool.image.archive.archive import load
from ocitool.image.archive.save import NamedImage, save
from ocitool.image.rootfs_tar import export_tar, import_tar
from ocitool.image.store_content import local_image
from ocitool.image.transfer import push
from ocitool.layer.compression.codecs import NONE
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG, OCI_LAYER
from ocitool.oci.mediatypes import OCI_LAYER_GZIP as GZIP
from ocitool.oci.platform import this_platform
from ocitool.store.registry_backend import StoreBackend
from ocitool_registry.server.serve import serve
from tests.fixtures.stores import put_image

pytestmark = pytest.mark.slow

GOOD = tar([file("good", b"1")]).getvalue()
NAME = "docker.io/library/app:1"


class Events(list):
    emit = list.append

    def warnings(self):
        return [e.text for e in self if getattr(e, "level", "") == "warning"]


class Parts:
    """An image as documents: two layers; the second is *layer*, and says to be *plain*."""

    def __init__(self, layer, *, plain=None, media_type=OCI_LAYER, config=None, kind=""):
        digests = [Digest.of(GOOD), Digest.of(layer if plain is None else plain)]
        given = ImageConfig(platform=this_platform(), diff_ids=tuple(digests)).dump()
        self.config = given if config is None else config
        self.blobs = [self.config, GOOD, layer]
        types = (kind or OCI_CONFIG, OCI_LAYER, media_type)
        parts = [
            Descriptor(media_type=each, digest=Digest.of(blob), size=len(blob))
            for each, blob in zip(types, self.blobs, strict=True)
        ]
        self.manifest = Manifest.new(parts[0], parts[1:])
        self.place = f"layer 2 of app:1 ({parts[2].digest})"

    def put_into(self, store):
        for blob in (*self.blobs, self.manifest.raw):
            store.blobs.put(blob, store.lease())
        store.refs.set(NAME, self.manifest.descriptor)


def members(*pairs):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for path, data in pairs:
            info = tarfile.TarInfo(path)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


def layout(*images):
    """Return a layout of (name, parts) pairs as a tar."""
    entries = [
        parts.manifest.descriptor.annotated(
            **({"org.opencontainers.image.ref.name": name} if name else {})
        )
        for name, parts in images
    ]
    blobs = {Digest.of(b).encoded: b for _, p in images for b in (*p.blobs, p.manifest.raw)}
    files = [(f"blobs/sha256/{digits}", data) for digits, data in blobs.items()]
    return members(*files, ("index.json", Index.new(entries).raw))


class Arrival:
    """Lets an image arrive in a store in one *way*; ``name`` is what it is called there."""

    def __init__(self, way, directory):
        self.way = way
        self.name = "app:1"
        self._directory = directory

    def __call__(self, parts, store):
        if self.way == "docker":
            image = {"Config": "c", "RepoTags": ["app:1"], "Layers": ["0", "1"]}
            files = zip("c01", parts.blobs, strict=True)
            load(members(*files, ("manifest.json", json.dumps([image]).encode())), into=store)
        elif self.way == "layout":
            load(layout(("app:1", parts)), into=store)
        else:
            self._from_registry(parts, store)

    def _from_registry(self, parts, store):
        with StoreBackend(str(self._directory / "served")) as backend, serve(backend) as running:
            self.name = f"{running.address}/app:1"
            with Store.open(str(self._directory / "origin")) as origin:
                parts.put_into(origin)
                push("app:1", source=origin, to=self.name)
            if self.way == "pull":
                pull(self.name, into=store)
            else:
                text = f"FROM {self.name}\nCMD x\n".encode()
                build(BuildOptions(context=str(self._directory), dockerfile=text), store=store)

    def place(self, parts):
        return parts.place.replace("app:1", self.name)


@pytest.fixture(
    params=["docker", pytest.param("layout", marks=pytest.mark.campaign), "pull", "build"]
)
def arrive(request, tmp_path):
    return Arrival(request.param, tmp_path)


@pytest.fixture(params=["default", pytest.param("vfs", marks=pytest.mark.campaign), "none"])
def store(request, store_root, monkeypatch):
    """A store with the driver of this machine, with vfs, or for a user who has none."""
    driver = "vfs" if request.param == "vfs" else None
    with Store.open(str(store_root / "store"), driver=driver) as opened:
        if request.param == "none":
            monkeypatch.setattr(opened, "driver", unavailable)
        yield opened


def unavailable():
    raise DriverUnavailable("no driver")


OTHER = tar([file("f", b"2" * 5000)]).getvalue()
BROKEN = {
    "another diff ID": (Parts(OTHER, plain=b"other"), DigestMismatch, "diff ID mismatch"),
    "not a tar": (Parts(b"no tar at all" * 100), LayerError, "a header"),
    "a tar that is cut": (Parts(OTHER[:2000]), LayerError, "unexpected end"),
    "corrupt gzip": (
        Parts(gzip.compress(OTHER)[:-20], plain=OTHER, media_type=GZIP),
        LayerError,
        "gzip",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_layer_that_cannot_be_read_is_named(store, arrive, case):
    parts, kind, message = BROKEN[case]
    with pytest.raises(kind, match=message) as caught:
        arrive(parts, store)
    assert arrive.place(parts) in str(caught.value)
    assert [entry for entry in store.refs.all() if entry.digest == parts.manifest.digest] == []


@pytest.mark.parametrize(
    ("packed", "media_type"),
    [
        (OTHER, GZIP),
        (OTHER, f"{OCI_LAYER}+zstd"),
        (gzip.compress(OTHER), OCI_LAYER),
        (gzip.compress(OTHER), f"{OCI_LAYER}+zstd"),
    ],
    ids=["plain as gzip", "plain as zstd", "gzip as plain", "gzip as zstd"],
)
def test_a_compression_other_than_the_media_type_says_is_read(
    store_root, arrive, packed, media_type
):
    """As docker and podman do."""
    out = io.BytesIO()
    with Store.open(str(store_root / "store")) as store:
        arrive(Parts(packed, plain=OTHER, media_type=media_type), store)
        if arrive.way == "build":
            return
        export_tar(local_image(store, arrive.name), store, out.write)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as made:
        assert made.getnames() == ["f", "good"]


ARTIFACTS = {
    "helm": {"config": b'{"name":"chart"}', "kind": "application/vnd.cncf.helm.config.v1+json"},
    "empty": {"config": b"{}", "kind": "application/vnd.oci.empty.v1+json"},
    "as an image": {"config": b"{}", "kind": OCI_CONFIG},
    "no JSON": {"config": b"text", "kind": "text/plain"},
}


@pytest.mark.parametrize("case", ARTIFACTS)
@pytest.mark.parametrize("way", ["layout", "pull"])
def test_an_artifact_is_not_an_image(store_root, tmp_path, way, case):
    parts = Parts(OTHER, **ARTIFACTS[case])
    arrive = Arrival(way, tmp_path)
    with Store.open(str(store_root / "store")) as store:
        with pytest.raises(NotAnImage) as caught:
            arrive(parts, store)
        kind = ARTIFACTS[case]["kind"]
        assert f"not an image but an artifact of type {kind!r}" in str(caught.value)
        assert parts.manifest.layers[1].digest not in set(store.blobs.all())  # not even fetched


@pytest.mark.parametrize("way", ["layout", "pull"])
def test_a_layer_of_an_unsupported_type_is_named_before_it_is_fetched(store_root, tmp_path, way):
    parts = Parts(OTHER, media_type=f"{OCI_LAYER}+gzip+encrypted")
    arrive = Arrival(way, tmp_path)
    with Store.open(str(store_root / "store")) as store:
        with pytest.raises(UnsupportedEntry, match="encrypted") as caught:
            arrive(parts, store)
        assert arrive.place(parts) in str(caught.value)
        assert parts.manifest.layers[0].digest not in set(store.blobs.all())


@pytest.mark.parametrize("way", ["layout", "pull"])
def test_a_layer_of_a_plugins_codec_is_taken(store_root, tmp_path, monkeypatch, way):
    class Backwards(type(NONE)):
        name = suffix = "backwards"

        def decompress(self, stream):
            with contextlib.closing(stream):
                return io.BytesIO(stream.read()[::-1])

    names, lookup = plugins.names, plugins.lookup
    monkeypatch.setattr(plugins, "names", lambda group: (*names(group), "backwards"))
    monkeypatch.setattr(
        plugins,
        "lookup",
        lambda group, name: Backwards() if name == "backwards" else lookup(group, name),
    )
    parts = Parts(OTHER[::-1], plain=OTHER, media_type=f"{OCI_LAYER}+backwards")
    arrive = Arrival(way, tmp_path)
    with Store.open(str(store_root / "store")) as store:
        arrive(parts, store)
        assert parts.manifest.layers[1].digest in set(store.blobs.all())


@pytest.mark.parametrize("way", ["layout", "pull", "build"])
def test_a_config_that_names_other_layers_is_refused(store_root, tmp_path, way):
    config = ImageConfig(platform=this_platform(), diff_ids=(Digest.of(GOOD),)).dump()
    with (
        Store.open(str(store_root / "store")) as store,
        pytest.raises(FormatError, match="the config names 1 layers, and the manifest 2"),
    ):
        Arrival(way, tmp_path)(Parts(OTHER, config=config), store)


def test_what_arrives_is_ready_to_run(store_root, tmp_path):
    """The driver has unpacked it: a first use has nothing to do."""
    with Store.open(str(store_root / "store")) as store:
        try:
            store.driver()
        except DriverUnavailable as error:
            pytest.skip(str(error))
        Arrival("docker", tmp_path)(Parts(OTHER), store)
        events = Events()
        store.layers.ensure(local_image(store, "app:1").layers, events)
        assert events == []


def test_an_import_that_cannot_be_unpacked_gets_no_name(store_root):
    link = tar([hardlink("link", "missing")]).getvalue()
    with Store.open(str(store_root / "store")) as store:
        with pytest.raises(LayerError, match="the layer of the archive") as caught:
            import_tar(io.BytesIO(link), into=store, name=NAME)
        assert "link" in str(caught.value)
        assert store.refs.all() == ()


@pytest.mark.parametrize("use", ["export", "view"])
def test_at_its_first_use_a_layer_is_named_too(store_root, use):
    """An image may have come by another way: another tool has written the store's layout."""
    parts = Parts(OTHER, plain=b"other")
    with Store.open(str(store_root / "store")) as store:
        parts.put_into(store)
        image = local_image(store, "app:1")
        with pytest.raises(OcitoolError) as caught:
            if use == "export":
                export_tar(image, store, lambda data: None)
            else:
                store.layers.view(image.layers)
        assert parts.place in str(caught.value)


# -- names of archives ---------------------------------------------------------------------


def test_a_name_that_is_no_reference_does_not_spoil_a_layout(store_root):
    images = [("MyApp:1.0+b2", Parts(OTHER)), ("b:1", Parts(GOOD)), ("1.0", Parts(GOOD + OTHER))]
    events = Events()
    with Store.open(str(store_root / "store")) as store:
        loaded = load(layout(*images), into=store, progress=events)
        ids = [parts.manifest.config.digest for _, parts in images]
        assert loaded == (("", ids[0]), ("docker.io/library/b:1", ids[1]), ("", ids[2]))
        assert local_image(store, str(ids[0])).id == ids[0]
    (warning,) = events.warnings()
    assert warning == "loaded without its name: MyApp:1.0+b2: invalid tag '1.0+b2'"


def test_an_artifact_beside_images_does_not_spoil_a_layout(store_root):
    images = [("sig:1", Parts(OTHER, **ARTIFACTS["helm"])), ("b:1", Parts(GOOD))]
    events = Events()
    with Store.open(str(store_root / "store")) as store:
        (loaded,) = load(layout(*images), into=store, progress=events)
        assert loaded.name == "docker.io/library/b:1"
    assert len(events.warnings()) == 1


@pytest.mark.parametrize("name", [f"a@sha256:{'0' * 64}", "A:1", "sha256:12", "http://h/a"])
def test_a_name_in_dockers_form_must_be_one(store_root, name):
    parts = Parts(GOOD)
    image = {"Config": "c", "RepoTags": ["fine:1", name], "Layers": ["0", "1"]}
    files = [*zip("c01", parts.blobs, strict=True), ("manifest.json", json.dumps([image]).encode())]
    with Store.open(str(store_root / "store")) as store:
        with pytest.raises(BadReference):
            load(members(*files), into=store)
        assert store.refs.all() == ()


def saved(*images):
    out = io.BytesIO()
    save([NamedImage(*each) for each in images], out.write)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as made:
        return json.load(made.extractfile("manifest.json")), json.load(
            made.extractfile("index.json")
        )


def test_an_image_with_several_names_is_saved_once_with_all(store_root):
    with Store.open(str(store_root / "store")) as store:
        image, other = put_image(store, NAME, [file("f", b"1")]), put_image(store, "", [])
        second = NAME.replace(":1", ":2")
        docker, index = saved(
            (image, NAME), (other, ""), (image, second), (image, NAME), (image, "")
        )
    assert [each["RepoTags"] for each in docker] == [["app:1", "app:2"], None]
    assert len(index["manifests"]) == 3
