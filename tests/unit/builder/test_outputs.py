"""Outputs: their syntax, and what is refused before a build."""

from __future__ import annotations

import os

import pytest

from ocitool import BuildOptions
from ocitool.builder.outputs.annotations import select, split_key
from ocitool.builder.outputs.output import Output
from ocitool.builder.outputs.plan import planned
from ocitool.errors import BuildError, FormatError, OcitoolError
from ocitool.image.form import Form
from ocitool.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Output(type="local", dest="out")),
        ("a dir/é", Output(type="local", dest="a dir/é")),
        ("-", Output(type="tar", dest="-")),
        ("type=local,dest=out", Output(type="local", dest="out")),
        ("type=local,dest=o,mode=delete", Output(type="local", dest="o", delete=True)),
        ("type=local,dest=o,mode=copy", Output(type="local", dest="o")),
        (
            "type=tar,dest=o.tar,platform-split=true",
            Output(type="tar", dest="o.tar", platform_split=True),
        ),
        ("type=tar", Output(type="tar", dest="-")),
        ("type=tar,dest=/dev/stdout", Output(type="tar", dest="-")),
        ("type=oci", Output(type="oci", dest="-")),
        ('type=oci,"dest=a,b"', Output(type="oci", dest="a,b")),
        ("type=oci,dest=l,tar=false", Output(type="oci", dest="l", tar=False)),
        ("type=docker", Output(type="docker")),
        ("type=docker,dest=-", Output(type="docker", dest="-")),
        ("Type=image,NAME=a/b:1", Output(type="image", names=("a/b:1",))),
        ('type=image,"name=a,b:2",push=', Output(type="image", names=("a", "b:2"), push=True)),
        ("type=registry,name=a", Output(type="image", names=("a",), push=True)),
        (
            "type=image,push=1,push-by-digest=T,name=a,store=false,unpack=true",
            Output(
                type="image", names=("a",), push=True, push_by_digest=True, store=False, unpack=True
            ),
        ),
        ("type=registry,registry.insecure=true", Output(type="image", push=True, insecure=True)),
        ("type=image,name-canonical=true", Output(type="image")),
        ("type=image,prefer-nondist-layers=false", Output(type="image")),
        ("type=cacheonly", Output(type="cacheonly")),
        ("type=oci,dest=o,compression=zstd", ("zstd", None, None, None)),
        ("type=oci,dest=o,compression=zstd,compression-level=19", ("zstd:19", None, None, None)),
        ("type=oci,dest=o,compression-level=9", ("gzip:9", None, None, None)),
        ("type=oci,dest=o,force-compression=true", ("", True, None, None)),
        ("type=docker,oci-mediatypes=false", ("", None, True, None)),
        ("type=docker,oci-mediatypes=true", ("", None, False, None)),
        ("type=image,rewrite-timestamp=true", ("", None, None, True)),
    ],
)
def test_an_output_is_read(text, expected):
    output = Output.parse(text)
    if isinstance(expected, tuple):
        compression, force, docker, rewrite = expected
        assert output.form == Form(
            compression=compression, force=force, docker=docker, rewrite_timestamp=rewrite
        )
    else:
        fields = {name: getattr(output, name) for name in Output.__dataclass_fields__}
        assert Output(**{**fields, "text": ""}) == expected
        assert output.text == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the output is empty"),
        ("a,b", "invalid field 'a': it must be a key=value pair"),
        ("dest=x", "type is required for output"),
        ("type=imag,dest=x", "unknown output type 'imag' (did you mean image?)"),
        ("type=moby", "unknown output type 'moby'"),
        ("type=local", "dest is required for local output"),
        ("type=local,dest=-", "dest cannot be stdout for local output"),
        ("type=oci,tar=false", "dest is required for oci output"),
        ("type=oci,tar=false,dest=-", "dest cannot be stdout for oci output"),
        ("type=docker,tar=false", "dest is required for docker output"),
        ("type=oci,dst=x", "unknown attribute 'dst' for output type oci (did you mean dest?)"),
        ("type=tar,dest=x,compression=gzip", "unknown attribute 'compression' for output type tar"),
        ("type=tar,annotation.a=b", "unknown attribute 'annotation.a' for output type tar"),
        ("type=oci,push=true", "unknown attribute 'push' for output type oci"),
        ("type=oci,dest=", "the value of dest is empty"),
        ("type=local,dest=x,mode=move", "invalid value 'move' for mode"),
        ("type=image,push=maybe", "invalid value 'maybe' for push: expected true or false"),
        ("type=image,name=A", "invalid repository name 'A'"),
        ("type=image,store=false", "store=false without push=true would keep the image nowhere"),
        ("type=image,push-by-digest=true", "push-by-digest=true requires push=true"),
        ("type=image,prefer-nondist-layers=true", "prefer-nondist-layers=true is not supported"),
        ("type=image,dangling-name-prefix=x", "dangling-name-prefix is not supported"),
        ("type=image,name-canonical=maybe", "invalid value 'maybe' for name-canonical"),
        ("type=oci,compression=zst", "unsupported compression 'zst'"),
        ("type=oci,compression=zstd:chunked", "layers can be read as zstd:chunked, not written"),
        ("type=oci,compression-level=x", "invalid value 'x' for compression-level"),
        ("type=oci,compression-level=10", "invalid compression level 10 for gzip"),
        ("type=oci,compression=uncompressed,compression-level=1", "a level cannot be given"),
        (
            "type=docker,oci-mediatypes=false,compression=zstd",
            "docker's media types do not support layers compressed with zstd",
        ),
        ("type=oci,annotation-index.a=b", "index annotations are not supported for a single"),
        ("type=oci,annotation-index-descriptor[linux/amd64].a=b", "index annotations"),
        ('type=oci,"a', "invalid CSV"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_text(text, said):
    with pytest.raises(FormatError) as error:
        Output.parse(text)
    assert said in str(error.value)
    assert str(error.value).startswith(f"--output {text}: ")


@pytest.mark.parametrize(
    ("key", "kinds", "name"),
    [
        ("a", ("manifest",), "a"),
        ("a:b", ("manifest",), "a:b"),
        ("manifest:a:b", ("manifest",), "a:b"),
        ("manifest-descriptor:a", ("manifest-descriptor",), "a"),
        ("manifest,manifest-descriptor[linux/arm64]:a", ("manifest", "manifest-descriptor"), "a"),
    ],
)
def test_kinds_of_annotations(key, kinds, name):
    assert split_key(key)[::2] == (kinds, name)


def test_annotations_of_another_platform_are_left_out():
    given = {"a": "1", "manifest[linux/arm64]:b": "2", "manifest[linux/amd64]:c": "3",
             "manifest-descriptor:d": "4"}  # fmt: skip
    found = select(given, AMD64)
    assert (found.manifest, found.descriptor) == ({"a": "1", "c": "3"}, {"d": "4"})


def test_attributes_of_annotations_become_their_keys():
    text = "type=oci,annotation.a=1,annotation-manifest[linux/amd64].B.c=2," \
        "annotation-manifest-descriptor.d=3"  # fmt: skip
    found = select(Output.parse(text).annotations, AMD64)
    assert (found.manifest, found.descriptor) == ({"a": "1", "B.c": "2"}, {"d": "3"})


def kinds_of(**options) -> list[tuple[str, bool, tuple[str, ...]]]:
    return [(each.type, each.push, each.names) for each in planned(BuildOptions(**options))]


def test_without_outputs_the_image_is_stored():
    assert kinds_of(tags=("a", "b")) == [("image", False, ("a", "b"))]


def test_push_is_an_output_or_belongs_to_those_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert kinds_of(tags=("a",), push=True) == [("image", True, ("a",))]
    assert kinds_of(tags=("a",), push=True, outputs=("type=image",)) == [("image", True, ("a",))]
    assert kinds_of(tags=("a",), push=True, outputs=("type=image,name=b", "out")) == [
        ("image", True, ("b",)),
        ("local", False, ()),
    ]
    assert kinds_of(tags=("a",), push=True, outputs=("type=oci",)) == [
        ("oci", False, ("a",)),
        ("image", True, ("a",)),
    ]


def test_load_is_an_output_of_docker_beside_the_store():
    stored, loaded = planned(BuildOptions(load=True))
    assert (stored.type, loaded.type, loaded.optional) == ("image", "docker", True)
    (asked, also) = planned(BuildOptions(load=True, outputs=("type=docker",)))
    assert (asked.type, asked.optional, also.type) == ("docker", False, "image")


def test_the_options_of_the_form_are_those_of_every_image():
    first, second = planned(
        BuildOptions(
            outputs=("type=image,compression=gzip", "type=oci"),
            compression_format="zstd",
            compression_level=3,
            force_compression=True,
        )
    )
    assert first.form == Form(compression="gzip", force=True)
    assert second.form == Form(compression="zstd:3", force=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"outputs": ("type=tar,dest=DIR/d",)}, "destination file DIR/d is a directory"),
        ({"outputs": ("type=tar,dest=DIR/new/",)}, "destination file DIR/new/ is a directory"),
        ({"outputs": ("type=local,dest=DIR/f",)}, "destination directory DIR/f is a file"),
        ({"outputs": ("type=local,dest=DIR/f/x/y",)}, "cannot write DIR/f/x/y: DIR/f is not a"),
        ({"outputs": ("type=oci,tar=false,dest=DIR/f",)}, "destination directory DIR/f is a file"),
        ({"outputs": ("type=tar,dest=DIR/no/f",)}, "there is no directory DIR/no"),
        ({"outputs": ("type=local,dest=/,mode=delete",)}, "mode=delete is refused for the root"),
        ({"outputs": ("-", "type=oci")}, "two outputs are written to standard output"),
        ({"outputs": ("DIR/x", "type=tar,dest=DIR/./x")}, "two outputs are written to DIR/./x"),
        ({"push": True}, "--push: a name is needed to push the image"),
        ({"outputs": ("type=registry",)}, "--output type=registry: a name is needed to push"),
        (
            {"outputs": ("type=registry,push-by-digest=true",), "tags": ("a:1",)},
            "cannot push a:1 by digest: it has a tag",
        ),
        ({"format": "oic"}, "unsupported format 'oic'"),
        ({"compression_format": "xz"}, "unsupported compression 'xz'"),
        ({"compression_level": 77}, "invalid compression level 77 for gzip"),
        ({"format": "docker", "compression_format": "zstd"}, "docker's media types do not support"),
        ({"format": "docker", "annotations": {"a": "b"}}, "do not support annotations: a"),
        ({"format": "docker", "outputs": ("type=oci",)}, "an OCI image layout has OCI's media"),
        (
            {"format": "docker", "outputs": ("type=image,compression=estargz",)},
            "docker's media types do not support layers compressed with estargz",
        ),
        ({"annotations": {"manifest-descriptor:a": "b"}}, "nothing has the annotation"),
        (
            {"outputs": ("type=image,annotation-manifest-descriptor.a=b", "type=oci")},
            "nothing has the annotation manifest-descriptor:a",
        ),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_the_build(tmp_path, options, said):
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    outputs = [text.replace("DIR", str(tmp_path)) for text in options.get("outputs", ())]
    with pytest.raises(OcitoolError) as error:
        planned(BuildOptions(**{**options, "outputs": outputs}))
    assert said.replace("DIR", str(tmp_path)) in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("text", ["type=tar,dest=DIR/f", "DIR/new/dir", "type=oci,dest=DIR/old"])
def test_a_destination_without_permission(tmp_path, text):
    (tmp_path / "old").touch(0o400)
    tmp_path.chmod(0o500)
    with pytest.raises(BuildError, match="this user may not write to"):
        planned(BuildOptions(outputs=(text.replace("DIR", str(tmp_path)),)))
