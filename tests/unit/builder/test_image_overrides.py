"""Options that change the finished image: variables, labels, history and annotations."""

from __future__ import annotations

import pytest

from ocitool import BuildOptions, build
from ocitool.oci.config import ImageConfig
from ocitool.oci.manifest import Manifest

pytestmark = pytest.mark.slow

TEXT = "FROM base:1\nENV B=2 C=3\nLABEL m=2 n=3\nCOPY f /\n"


@pytest.fixture
def based(project):
    project.put({"f": "1"})
    project.image(
        "base:1",
        {"a": "1"},
        config={"Env": ["A=1", "PATH=/p"], "Labels": {"l": "1"}},
        history=[{"created_by": "theirs"}],
    )
    return project


def made(project, **options) -> tuple[Manifest, ImageConfig]:
    given = BuildOptions(context=project.top, dockerfile=TEXT, **options)
    result = build(given, store=project.store)
    with project.store.blobs.open(result.digest) as blob:
        manifest = Manifest.parse(blob.read())
    with project.store.blobs.open(result.image_id) as blob:
        return manifest, ImageConfig.parse(blob.read())


def test_variables_of_the_base_and_of_the_dockerfile_are_unset(based):
    built = based.build(TEXT, unset_env=("A", "B"))
    assert built.config["Env"] == ["PATH=/p", "C=3"]
    assert built.warnings == ()
    assert based.build(TEXT, unset_env=("PATH",)).config["Env"] == ["A=1", "B=2", "C=3"]


def test_labels_are_unset_and_those_given_are_not(based):
    assert based.build(TEXT, unset_labels=("l", "m")).config["Labels"] == {"n": "3"}
    built = based.build(TEXT, unset_labels=("l", "m"), labels={"m": "given"})
    assert built.config["Labels"] == {"n": "3", "m": "given"}


def test_what_is_not_there_is_a_warning(based):
    built = based.build(TEXT, unset_env=("none", "A"), unset_labels=("nil",))
    assert built.warnings == (
        "no label is named 'nil': --unsetlabel has no effect",
        "no variable is named 'none': --unsetenv has no effect",
    )


def test_steps_stay_cached_and_see_the_variables(based):
    text = "FROM base:1\nCOPY f /$A/\nWORKDIR /w\n"
    based.build(text)
    options = BuildOptions(
        context=based.top, dockerfile=text, unset_env=("A",), annotations={"k": "v"}
    )
    result = build(options, store=based.store)
    assert (result.steps, result.cached) == (3, 3)


def test_an_image_without_history(based):
    _, plain = made(based)
    assert plain.history[0].created_by == "theirs"
    _, config = made(based, omit_history=True)
    assert config.history == ()
    assert config.diff_ids == plain.diff_ids
    # An image that is based on it has an entry for each layer again.
    given = BuildOptions(context=based.top, dockerfile=TEXT, tags=("bare:1",), omit_history=True)
    build(given, store=based.store)
    assert len(based.build("FROM bare:1\nCOPY f /g").history) == 3


def test_annotations_are_the_manifests_and_not_inherited(based):
    given = {"org.opencontainers.image.title": "x", "k": ""}
    plain, config = made(based, source_date_epoch=0)
    manifest, annotated = made(based, annotations=given, source_date_epoch=0)
    assert plain.annotations == {} and manifest.annotations == given
    assert annotated == config  # the same image, in another manifest
    assert made(based, annotations=given, source_date_epoch=0)[0].raw == manifest.raw
    assert (
        made(based, annotations={**given, "k": "2"}, source_date_epoch=0)[0].annotations["k"] == "2"
    )
    assert made(based, source_date_epoch=0)[0].raw == plain.raw
    made(based, annotations=given, tags=("annotated:1",))
    options = BuildOptions(context=based.top, dockerfile="FROM annotated:1\nCOPY f /g")
    with based.store.blobs.open(build(options, store=based.store).digest) as blob:
        assert Manifest.parse(blob.read()).annotations == {}


def test_a_variable_of_the_command_is_the_images_and_no_runs(based):
    built = based.build(TEXT, env={"B": "given", "D": "4"}, unset_env=("D", "A"))
    assert built.config["Env"] == ["PATH=/p", "B=given", "C=3"]  # buildah: unset wins
    text = "FROM base:1\nCOPY f /$B/\n"
    based.build(text)
    again = based.build(text, env={"B": "given"})
    assert again.executed == []
    assert "B=given" in again.config["Env"]


def test_labels_of_bases_are_not_inherited(based):
    text = "FROM base:1 AS one\nLABEL o=1\nFROM one\nLABEL n=2"
    assert based.build(text).config["Labels"] == {"l": "1", "o": "1", "n": "2"}
    assert based.build(text, inherit_labels=False).config["Labels"] == {"n": "2"}


def test_the_first_from_is_replaced(based):
    based.image("other:1", {"b": "1"}, config={"Env": ["O=1"]})
    text = "ARG V\nFROM none:$V AS one\nFROM one AS two\nFROM base:1\nCOPY --from=two / /two/"
    built = based.build(text, from_image="other:1")
    assert {"a", "two/b"} <= set(built.tree)
    assert "two/a" not in built.tree
    assert list(based.build("FROM base:1\nCOPY f /", from_image="scratch").tree) == ["f"]


def test_the_time_of_creation_is_an_annotation(based):
    manifest, config = made(based, created_annotation=True, annotations={"a": "b"})
    created = "org.opencontainers.image.created"
    assert manifest.annotations == {created: config.created, "a": "b"}
    again, _ = made(based, created_annotation=True, annotations={"a": "b"})
    assert again.raw == manifest.raw
    given, _ = made(based, created_annotation=True, annotations={created: "x"})
    assert given.annotations == {created: "x"}
