"""Layers are compressed when an image gets them, and never twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocitool import BuildOptions, Store, build
from ocitool.drivers.conformance.layers import file
from ocitool.errors import DriverUnavailable
from ocitool.image.compress import Compression, recompress
from ocitool.image.image_fs import LayeredTree
from ocitool.image.store_content import local_image
from ocitool.layer.compression.codecs import sniff
from ocitool.oci.digest import Digest
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune
from tests.fixtures.stores import age, put_image
from tests.unit.builder.conftest import BuildFixture

STAGES = """\
FROM scratch AS base
COPY f /base
FROM base AS tools
COPY d /tools
FROM base
COPY --from=tools /tools /out
"""


def forms(project):
    """How many blobs are gzip, and how many plain tars."""
    found = {"gzip": 0, "plain": 0}
    for digest in project.store.blobs.all():
        with project.store.blobs.open(digest) as file:
            head = file.read(512)
        if not head.startswith(b"{"):
            codec = sniff(head)
            found["plain" if codec is None else codec.name] += 1
    return found


def test_what_no_image_gets_stays_as_it_is(sources):
    built = sources.build(STAGES)
    assert forms(sources) == {"gzip": 2, "plain": 1}  # base and out; tools
    assert "out/sub/c" in built.tree
    assert list(check(sources.store)) == []


def test_layers_of_which_only_files_are_written_are_compressed_by_a_later_build(sources, tmp_path):
    epoch = {"source_date_epoch": 0}
    files = sources.build(STAGES, outputs=(str(tmp_path / "out"), "type=cacheonly"), **epoch)
    assert forms(sources) == {"gzip": 0, "plain": 3}
    image = sources.build(STAGES, **epoch)
    assert image.executed == [] and image.document == files.document
    assert forms(sources) == {"gzip": 2, "plain": 3}


@pytest.mark.slow
def test_a_stage_that_an_image_gets_later_is_compressed_then_once(sources, tmp_path):
    epoch = {"source_date_epoch": 0}
    sources.build(STAGES, **epoch)
    late = sources.build(STAGES, target="tools", **epoch)
    assert late.executed == []
    assert forms(sources) == {"gzip": 3, "plain": 1}
    before = {digest: sources.store.blobs.size(digest) for digest in sources.store.blobs.all()}
    assert sources.build(STAGES, target="tools", **epoch).digest == late.digest
    assert {
        digest: sources.store.blobs.size(digest) for digest in sources.store.blobs.all()
    } == before
    with Store.open(str(tmp_path / "other")) as store:  # the digest does not say how it came to be
        assert (
            BuildFixture(sources.top, store).build(STAGES, target="tools", **epoch).digest
            == late.digest
        )


@pytest.mark.slow
def test_after_a_prune_a_plain_tar_is_a_drivers_or_not_there(sources):
    sources.build(STAGES)
    sources.build(STAGES, "kept:1", target="tools")
    try:
        sources.store.layers.ensure(local_image(sources.store, "kept:1").layers)
    except DriverUnavailable as error:
        pytest.skip(str(error))
    age(sources.store)
    prune(sources.store, cache=True)
    for path in Path(sources.store.layout.blobs, "sha256").iterdir():
        head = path.read_bytes()[:2]
        assert head in (b"\x1f\x8b", b'{"') or path.stat().st_nlink == 2
    assert list(check(sources.store)) == []


@pytest.mark.slow
def test_a_compressed_blob_that_is_gone_is_made_again(sources):
    first = sources.build(STAGES, target="tools", source_date_epoch=0)
    sources.build(STAGES, source_date_epoch=0, no_cache=True)  # the step has a plain blob by now
    rows = sources.store.database.rows("SELECT digest FROM packed WHERE codec LIKE 'gzip:%'")
    for (digest,) in rows:
        Path(sources.store.blobs.path(Digest.parse(digest))).unlink()
    again = sources.build(STAGES, target="tools", source_date_epoch=0)
    assert (again.digest, again.tree) == (first.digest, first.tree)


@pytest.mark.usefixtures("zlib_codec")
@pytest.mark.parametrize("line", ["ENV a=b", "COPY f /base/f", "COPY --from=odd:1 /base /again"])
def test_a_base_whose_layers_a_plugin_has_compressed_stays_as_it_is(project, line):
    (project.top / "f").write_text("f")
    image = put_image(project.store, "", [file("base/old", b"old")])
    image = recompress(project.store, image, Compression.parse("zlib"))
    project.store.refs.set("docker.io/library/odd:1", image.descriptor)
    options = BuildOptions(context=str(project.top), dockerfile=f"FROM odd:1\n{line}\n")
    built = local_image(project.store, str(build(options, store=project.store).image_id))
    types = [layer.media_type.rpartition("+")[2] for layer in built.manifest.layers]
    assert types == ["zlib", "gzip"][: len(types)]
    assert built.manifest.layers[0].digest == image.manifest.layers[0].digest
    assert LayeredTree(project.store.layers, built.layers).read("base/old") == b"old"
