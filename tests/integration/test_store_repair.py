"""A corrupt store is repaired from a real registry, and only corrupt content is removed."""

from __future__ import annotations

import os

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import file
from ocitool.errors import DriverUnavailable, StoreError
from ocitool.image.repair import Repaired, repair
from ocitool.image.store_content import local_image
from ocitool.image.transfer import pull, push
from ocitool.oci.manifest import Index
from ocitool.store.maintenance.check.check import check
from ocitool.store.registry_backend import StoreBackend
from ocitool_registry.server.serve import serve
from tests.fixtures.stores import age, files_below, put_image

MEMBERS = ([file("f", os.urandom(50_000))], [file("g", b"2" * 5000)])


@pytest.fixture
def address(tmp_path):
    """The address of a registry."""
    with StoreBackend(str(tmp_path / "served")) as backend, serve(backend) as running:
        yield running.address


@pytest.fixture
def name(address, tmp_path):
    """The name of an image in that registry."""
    name = f"{address}/app:1"
    with Store.open(str(tmp_path / "maker")) as maker:
        put_image(maker, name, *MEMBERS)
        push(name, source=maker)
    return name


@pytest.fixture
def store(store_root, name):
    """A store with that image, unpacked where that is possible."""
    with Store.open(str(store_root)) as opened:
        pull(name, into=opened)
        yield opened


def corrupt(store, digest):
    with open(store.blobs.path(digest), "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))


def repaired(store):
    """Repair; returns how many problems were repaired.  There were no others."""
    results = list(repair(store))
    assert [result for result in results if not isinstance(result, Repaired)] == []
    assert list(check(store)) == []
    return len(results)


def parts(store, name):
    image = local_image(store, name)
    return [image.descriptor, image.manifest.config, *image.manifest.layers]


@pytest.mark.parametrize(
    "act",
    [
        "corrupt",
        pytest.param("remove", marks=pytest.mark.campaign),
        pytest.param("cut", marks=pytest.mark.campaign),
    ],
)
@pytest.mark.parametrize("which", range(4))
def test_any_blob_is_fetched_again(store, name, act, which):
    part = parts(store, name)[which]
    before = files_below(store.layout.oci)
    if act == "corrupt":
        corrupt(store, part.digest)
    elif act == "remove":
        os.unlink(store.blobs.path(part.digest))
    else:
        os.truncate(store.blobs.path(part.digest), part.size // 2)
    assert repaired(store) == 1
    assert files_below(store.layout.oci) == before
    assert not os.path.exists(store.layout.quarantine) or os.listdir(store.layout.quarantine) == []


def test_all_of_them_at_once(store, name):
    """What a lost manifest names is known only when that is there again."""
    for part in parts(store, name):
        os.unlink(store.blobs.path(part.digest))
    assert repaired(store) == 4


def test_the_tag_may_have_moved_meanwhile(store, name, tmp_path):
    part = parts(store, name)[0]
    with Store.open(str(tmp_path / "maker")) as maker:
        put_image(maker, name, [file("other", b"o")])
        push(name, source=maker)
    corrupt(store, part.digest)
    assert repaired(store) == 1
    assert local_image(store, name).digest == part.digest


def test_what_cannot_be_fetched_is_kept_and_reported(store, name, run_cli):
    image = put_image(store, f"{name.partition('/')[0]}/only-here:1", [file("x", os.urandom(999))])
    digest = image.manifest.layers[0].digest
    corrupt(store, digest)
    with open(store.blobs.path(digest), "rb") as blob:
        wrong = blob.read()
    done = run_cli("system", "check", "--repair", "--progress=quiet", root=store.layout.root)
    assert done.code == 1, done
    assert f"blob {digest} is corrupt" in done.stdout
    assert "could not be repaired" in done.stdout
    (aside,) = os.listdir(store.layout.quarantine)
    with open(f"{store.layout.quarantine}/{aside}", "rb") as blob:
        assert blob.read() == wrong
    done = run_cli("system", "check", "--progress=quiet", root=store.layout.root)
    assert (done.code, f"blob {digest} is missing" in done.stdout) == (1, True)
    run_cli("rmi", f"{name.partition('/')[0]}/only-here:1", root=store.layout.root).ok()
    done = run_cli("system", "check", "--repair", "--progress=quiet", root=store.layout.root)
    assert done.ok().stdout.endswith("No problems found\n")
    assert os.listdir(store.layout.quarantine) == []


def test_what_a_registry_of_ours_holds_is_asked_of_nobody(tmp_path, address, name):
    """Its names have no domain: they must not be taken for those of a registry far away."""
    with Store.open(str(tmp_path / "served")) as served:
        (entry,) = served.refs.all()
        corrupt(served, entry.digest)
        (result,) = repair(served)
        assert "no source registry is recorded for sha256:" in result.remedy


def test_nothing_goes_that_is_not_corrupt(store, name):
    """Without its manifest an image's layers look like those of none."""
    only = f"{name.partition('/')[0]}/only-here:1"
    image = put_image(store, only, [file("x", os.urandom(999))])
    layer, index = image.layers[0], store.layout.indexes
    store.layers.index(layer)
    age(store)
    corrupt(store, image.digest)
    root = store.layout.root
    store.close()
    with Store.open(root) as again:
        (result,) = repair(again)
        assert not isinstance(result, Repaired)
        assert again.blobs.hash(layer.blob.digest) == layer.blob.digest
        assert layer.diff_id.encoded in os.listdir(index)


def content(store, layer):
    """Return a file that has content of an unpacked layer."""
    place = f"{store.layout.drivers}/{store.driver().name}/layers/{layer}/fs/f"
    return store.driver().tar(layer) or place


def test_a_corrupt_layer_is_unpacked_again(store, name):
    try:
        driver = store.driver()
    except DriverUnavailable as error:
        pytest.skip(str(error))
    layers = local_image(store, name).layers
    names = store.layers.ensure(layers)
    place = content(store, names[0])
    size = os.stat(place).st_size
    os.truncate(place, 7)
    *blobs, problem, above = check(store)
    assert f"layer {names[0][:12]} of driver {driver.name} differs from its tar" in problem.what
    if driver.tar(names[0]):
        assert [each.fault.digest for each in blobs] == [layers[0].diff_id]
        assert "its file tar differs between byte 0 and" in problem.what
    else:
        assert blobs == []
        assert "/f: has 7 bytes instead of 50000" in problem.what
    assert f"{names[1][:12]} of driver {driver.name} has the parent {names[0][:12]}" in above.what
    age(store)
    assert repaired(store) == 2 + len(blobs)
    assert list(driver.layers()) == []
    assert store.layers.ensure(layers) == names
    assert os.stat(place).st_size == size
    assert list(check(store)) == []


def test_a_layer_in_use_is_reported_and_spared(store, name):
    try:
        names = store.layers.ensure(local_image(store, name).layers)
    except DriverUnavailable as error:
        pytest.skip(str(error))
    place = content(store, names[0])
    os.truncate(place, 7)
    with Store.open(store.layout.root, driver=store.driver().name) as other:
        *_, result = repair(other)
    assert "may be in use by a process" in result.remedy
    assert os.stat(place).st_size == 7


def test_a_corrupt_index_and_database_are_made_again(store, name):
    layer = local_image(store, name).layers[0]
    store.layers.index(layer)
    (index,) = os.listdir(store.layout.indexes)
    with open(f"{store.layout.indexes}/{index}", "r+b") as file:
        file.seek(-4, os.SEEK_END)  # the beginning says which version it is of
        file.write(b'["x"')
    assert repaired(store) == 1
    assert os.listdir(store.layout.indexes) == []
    store.close()
    with open(store.layout.database, "r+b") as file:
        file.write(bytes(4096))
    with Store.open(store.layout.root) as again:
        assert repaired(again) == 1
        assert "f" in {each.entry.path for each in again.layers.index(layer).entries()}


@pytest.mark.parametrize("words", [(), ("--repair",)])
def test_corrupt_names_are_reported_and_kept(store, run_cli, words):
    path = f"{store.layout.oci}/index.json"
    with open(path, "w") as file:
        file.write("{")
    before = files_below(store.layout.oci)
    done = run_cli("system", "check", "--progress=quiet", *words, root=store.layout.root)
    assert (done.code, done.stderr) == (1, "")
    assert f"{path}: index.json is corrupt" in done.stdout
    assert '{"schemaVersion":2,"manifests":[]}' in done.stdout
    assert files_below(store.layout.oci) == before


def test_a_corrupt_blob_is_named_when_its_layer_is_unpacked(store, name):
    layer = local_image(store, name).layers[0]
    if store.blobs.size(layer.diff_id) is not None:  # the plain tar would be read instead
        os.unlink(store.blobs.path(layer.diff_id))
    with open(store.blobs.path(layer.blob.digest), "r+b") as file:
        file.seek(20_000)
        file.write(b"corruption")
    with pytest.raises(StoreError, match=f"blob {layer.blob.digest} is corrupt") as caught:
        store.layers.index(layer)
    assert "system check --repair" in caught.value.hint


def test_a_corrupt_plain_tar_is_named_and_done_without(store, name):
    layer = local_image(store, name).layers[0]
    if store.blobs.size(layer.diff_id) is None:
        os.link(store.blobs.path(layer.blob.digest), store.blobs.path(layer.diff_id))  # as if kept
    else:
        corrupt(store, layer.diff_id)
    with pytest.raises(StoreError, match=f"blob {layer.diff_id} is corrupt"):
        store.layers.index(layer)
    age(store)
    assert repaired(store) >= 1
    assert "f" in {each.entry.path for each in store.layers.index(layer).entries()}


def test_an_image_of_another_platform_need_not_be_here(store, name):
    image = local_image(store, name)
    absent = image.descriptor.annotated(x="y")
    index = Index.new([image.descriptor, absent])
    store.blobs.put(index.raw, store.lease())
    store.refs.set("r/index:1", index.descriptor)
    assert list(check(store)) == []
