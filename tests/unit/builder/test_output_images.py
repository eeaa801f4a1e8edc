"""Images as outputs: archives, layouts, names in the store, registries; and their form."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from ocitool import BuildOptions, build, pull, push
from ocitool.builder.options import OutputsFailed
from ocitool.errors import BuildError, OcitoolError
from ocitool.image.archive.archive import load
from ocitool.image.transfer import tags_of
from ocitool.oci.mediatypes import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST
from tests.fixtures import images
from tests.fixtures.servers import served
from tests.unit.builder.conftest import RecordedEvents, scratch

TWO = scratch("COPY d /d/", "COPY f run.sh /bin/", 'CMD ["run.sh"]')


def run(project, *outputs, dockerfile=TWO, **options):
    """Build with *outputs*; returns the result and what was written to standard output."""
    out = io.BytesIO()
    given = BuildOptions(
        context=str(project.top), dockerfile=dockerfile, outputs=outputs, **options
    )
    return build(given, store=project.store, stdout=out.write), out.getvalue()


def blob(top: Path, digest: str) -> bytes:
    return (top / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def manifest_of(top: Path, number: int = 0):
    """Return an entry of a layout's index, and its manifest."""
    index = json.loads((top / "index.json").read_text())
    entry = index["manifests"][number]
    return entry, json.loads(blob(top, entry["digest"]))


def types_of(top: Path) -> list[str]:
    """Return what the layers' media types end with."""
    return [each["mediaType"].rpartition(".")[2] for each in manifest_of(top)[1]["layers"]]


def stored(project) -> set[str]:
    names = {each.annotations.get("io.containerd.image.name", "") for each in _entries(project)}
    return {name.removeprefix("docker.io/library/") for name in names}


def _entries(project):
    return project.store.refs.all()


def test_a_layout_as_an_archive_and_as_a_directory(sources, tmp_path):
    text = f"type=oci,tar=false,dest={tmp_path}/l,annotation-manifest-descriptor.a=b"
    result, tar = run(sources, "type=oci", text, tags=("a/b:1", "c"))
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        names = opened.getnames()
        for member in filter(tarfile.TarInfo.isfile, opened):
            path = tmp_path / "t" / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(opened.extractfile(member).read())
    assert "manifest.json" not in names and "oci-layout" in names
    entry, manifest = manifest_of(tmp_path / "l")
    assert entry["digest"] == str(result.digest)
    assert entry["annotations"] == {
        "a": "b",
        "io.containerd.image.name": "docker.io/a/b:1",
        "org.opencontainers.image.ref.name": "1",
    }
    assert manifest_of(tmp_path / "t")[1] == manifest
    document, tars = images.layout_image(tmp_path / "l", entry["digest"])
    assert images.tree(tars)["bin/f"] and document["config"]["Cmd"]
    assert stored(sources) == set()  # as with buildx: no output keeps it
    assert {name for each in result.exports for name in each.names} == {
        "docker.io/a/b:1",
        "docker.io/library/c:latest",
    }


def test_a_layout_keeps_its_other_images(sources, tmp_path):
    text = f"type=oci,tar=false,dest={tmp_path}/l"
    run(sources, text, tags=("a:1",))
    run(sources, text, dockerfile=TWO + "\nLABEL a=1", tags=("a:2",))
    run(sources, text, dockerfile=TWO + "\nLABEL a=2", tags=("a:1",))
    index = json.loads((tmp_path / "l/index.json").read_text())
    names = [each["annotations"]["io.containerd.image.name"] for each in index["manifests"]]
    assert names == ["docker.io/library/a:2", "docker.io/library/a:1"]
    for at in range(2):
        _, manifest = manifest_of(tmp_path / "l", at)
        for part in (manifest["config"], *manifest["layers"]):
            assert len(blob(tmp_path / "l", part["digest"])) == part["size"]


def test_a_directory_with_something_else_is_no_layout(sources, tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l/mine").touch()
    with pytest.raises(OcitoolError, match="is not empty, and no OCI image layout"):
        run(sources, f"type=oci,tar=false,dest={tmp_path}/l")
    assert os.listdir(tmp_path / "l") == ["mine"]


def test_a_layout_that_cannot_be_written_leaves_nothing(sources, tmp_path, monkeypatch):
    written = []

    def full(fd, data):
        written.append(data)
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        os.write(fd, data)

    monkeypatch.setattr("ocitool.image.archive.outfile.write_all", full)
    with pytest.raises(OcitoolError, match="No space left on device"):
        run(sources, f"type=oci,tar=false,dest={tmp_path}/l")
    assert len(written) == 3 and not (tmp_path / "l").exists()


def test_a_docker_archive(sources, tmp_path):
    result, _ = run(sources, f"type=docker,dest={tmp_path}/d.tar", tags=("a:1", "b:2"))
    with tarfile.open(tmp_path / "d.tar") as opened:
        file = opened.extractfile("manifest.json")
        assert file is not None
        (image,) = json.load(file)
        assert image["RepoTags"] == ["a:1", "b:2"]
        assert image["Config"] == f"blobs/sha256/{result.image_id.encoded}"
        assert set(image["Layers"]) < set(opened.getnames())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attributes", "ends", "base_end"),
    [
        ("compression=gzip", "tar+gzip", "tar"),
        ("compression=zstd", "tar+zstd", "tar"),
        ("compression=zstd,force-compression=true", "tar+zstd", "tar+zstd"),
        ("compression=uncompressed", "tar", "tar"),
        ("compression=estargz", "tar+gzip", "tar"),
        ("compression-level=1,force-compression=true", "tar+gzip", "tar+gzip"),
    ],
)
def test_compression_of_new_layers_and_by_force_of_all(
    sources, tmp_path, attributes, ends, base_end
):
    sources.image("base:1", {"base": "b\n"})
    dockerfile = TWO.replace("scratch", "base:1")
    text = f"type=oci,tar=false,dest={tmp_path}/l,{attributes}"
    result, _ = run(sources, text, dockerfile=dockerfile)
    assert types_of(tmp_path / "l") == [base_end, ends, ends]
    entry, manifest = manifest_of(tmp_path / "l")
    assert entry["digest"] == str(result.digest)
    tocs = ["toc.digest" in str(each.get("annotations")) for each in manifest["layers"]]
    assert tocs == [False, *["estargz" in attributes] * 2]
    document, tars = images.layout_image(tmp_path / "l", entry["digest"])
    assert len(document["rootfs"]["diff_ids"]) == 3
    tree = images.tree(tars)
    assert tree.keys() >= {"base", "d/a", "bin/f"}
    again, _ = run(sources, text, dockerfile=dockerfile)
    assert again.digest == result.digest


def test_options_give_every_image_its_form(sources, tmp_path):
    result, _ = run(
        sources, "type=image", f"type=oci,tar=false,dest={tmp_path}/l", tags=("a:1",),
        compression_format="zstd", compression_level=5,
    )  # fmt: skip
    assert types_of(tmp_path / "l") == ["tar+zstd", "tar+zstd"]
    assert sources.store.find("a:1").digest == result.digest
    assert manifest_of(tmp_path / "l")[0]["digest"] == str(result.digest)


@pytest.mark.slow
def test_docker_media_types(sources, tmp_path):
    result, _ = run(sources, tags=("a:1",), format="docker")
    raw = sources.store.blobs.read(result.descriptor)
    manifest = json.loads(raw)
    assert manifest["mediaType"] == result.descriptor.media_type == DOCKER_MANIFEST
    assert manifest["config"]["mediaType"] == DOCKER_CONFIG
    assert {each["mediaType"] for each in manifest["layers"]} == {DOCKER_LAYER_GZIP}
    oci, _ = run(sources, tags=("a:2",))
    assert oci.image_id == result.image_id  # the config has the same bytes
    (project_layer, *_) = manifest["layers"]
    assert set(project_layer) == {"mediaType", "digest", "size"}
    run(sources, f"type=docker,dest={tmp_path}/d.tar", format="docker", tags=("a:3",))
    with open(tmp_path / "d.tar", "rb") as stream:
        (loaded,) = load(stream, into=sources.store)
    assert loaded.id == result.image_id


def test_docker_has_no_media_type_for_a_layer_of_the_base(sources, tmp_path):
    run(sources, tags=("base:1",), compression_format="zstd")
    given = {"dockerfile": "FROM base:1\nCOPY f /x\n", "format": "docker", "pull": "never"}
    for options in ({}, {"compression_format": "gzip"}):
        with pytest.raises(OcitoolError, match="docker's media types do not support a layer of"):
            run(sources, **given, **options)
    run(sources, **given, compression_format="gzip", force_compression=True)


def test_annotations_of_one_output_are_its_own(sources, tmp_path):
    run(
        sources,
        f"type=oci,tar=false,dest={tmp_path}/one,annotation.a=1",
        f"type=oci,tar=false,dest={tmp_path}/two",
        annotations={"b": "2", "manifest-descriptor:c": "3"},
    )
    one, two = (manifest_of(tmp_path / name) for name in ("one", "two"))
    assert one[1]["annotations"] == {"a": "1", "b": "2"} and two[1]["annotations"] == {"b": "2"}
    assert one[0]["annotations"] == two[0]["annotations"] == {"c": "3"}


def test_names_of_an_output_are_used_instead_of_the_tags(sources):
    result, _ = run(sources, "type=image,name=b:1", 'type=image,"name=c:1,d:1"', tags=("a:1",))
    assert stored(sources) == {"b:1", "c:1", "d:1"}
    assert result.tags == tuple(f"docker.io/library/{name}:1" for name in "bcd")


@pytest.mark.parametrize(
    ("outputs", "unused"),
    [
        (("type=image,name=b",), True),
        (("type=cacheonly",), True),
        (("type=image,name=b", "type=oci"), False),
    ],
)
def test_tags_that_no_image_gets_are_a_warning(sources, outputs, unused):
    result, _ = run(sources, *outputs, tags=("a:1",))
    assert ("the tags are not used" in " ".join(result.warnings)) == unused


@pytest.mark.slow
def test_an_unpacked_image(sources):
    result, _ = run(sources, "type=image,name=a,unpack=true")
    assert len(sources.store.layers.unpacked) == 2 and result.tags


@pytest.mark.slow
def test_a_push_without_the_store_and_one_by_digest(sources, tmp_path):
    with served(tmp_path / "served") as (_, address):
        name = f"{address}/app"
        result, _ = run(
            sources,
            f'type=image,"name={name}:1,{name}:2",push=true,store=false',
            f"type=registry,name={name},push-by-digest=true,annotation.a=b,store=false",
        )
        assert stored(sources) == set()
        pushed = [each.names for each in result.exports]
        assert pushed[:2] == [(f"{name}:1",), (f"{name}:2",)]
        digest = pushed[2][0].partition("@")[2]
        assert digest.startswith("sha256:") and digest != str(result.digest)
        assert tags_of(name) == [f"{name}:1", f"{name}:2"]
        assert str(pull(f"{name}@{digest}", into=sources.store).digest) == digest


@pytest.mark.slow
def test_an_image_that_is_pushed_by_digest_is_stored_without_a_name(sources, tmp_path):
    with served(tmp_path / "served") as (_, address):
        text = f"type=registry,name={address}/app,push-by-digest=true"
        result, _ = run(sources, text)
    assert stored(sources) == {""} and result.tags == ()
    assert sources.store.find(str(result.image_id)).digest == result.digest


@pytest.mark.slow
def test_one_output_that_fails_stops_no_other(sources, tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l/mine").touch()
    with pytest.raises(OutputsFailed) as error:
        run(
            sources,
            f"type=oci,tar=false,dest={tmp_path}/l",
            "type=image,name=127.0.0.1:1/a:1,push=true",
            f"type=tar,dest={tmp_path}/t.tar",
        )
    layout, registry = error.value.errors
    assert "no OCI image layout" in str(layout)
    assert str(registry).startswith("pushing 127.0.0.1:1/a:1: ")
    actions = [(each.action, each.where) for each in error.value.result.exports]
    assert actions == [("stored", ""), ("wrote", f"{tmp_path}/t.tar")]
    assert stored(sources) == {"127.0.0.1:1/a:1"} and (tmp_path / "t.tar").exists()


def test_the_only_output_that_fails_is_the_error(sources, tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l/mine").touch()
    with pytest.raises(OcitoolError) as error:
        run(sources, f"type=oci,tar=false,dest={tmp_path}/l")
    assert not isinstance(error.value, BuildError)


def test_rewrite_timestamp_is_what_is_always_done(sources, tmp_path):
    events = RecordedEvents()
    text = f"type=oci,tar=false,dest={tmp_path}/l,rewrite-timestamp=true"
    given = BuildOptions(context=str(sources.top), dockerfile=TWO, outputs=(text,))
    result = build(given, store=sources.store, progress=events)
    assert result.warnings == (
        "rewrite-timestamp has no effect without SOURCE_DATE_EPOCH: files keep their times",
    )
    with_epoch, _ = run(sources, text, source_date_epoch=5)
    assert with_epoch.warnings == ()
    _, tars = images.layout_image(tmp_path / "l", str(with_epoch.digest))
    assert {m.mtime for t in tars for m in tarfile.open(fileobj=io.BytesIO(t))} == {5}
    with pytest.raises(BuildError, match="rewrite-timestamp=false is not supported with"):
        run(sources, text.replace("true", "false"), source_date_epoch=5)


@pytest.mark.slow
def test_push_still_takes_a_name_of_the_store(sources, tmp_path):
    with served(tmp_path / "served") as (_, address):
        result, _ = run(sources, tags=(f"{address}/app:1",))
        assert push(f"{address}/app:1", source=sources.store).digest == result.digest
