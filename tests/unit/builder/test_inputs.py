"""What a build reads beside its context: the epoch's three sources, and a context that moves."""

from __future__ import annotations

import os

import pytest

from ocitool import BuildOptions, Store, build
from ocitool.builder.build_arguments import EPOCH
from ocitool.builder.context.ignore.files import ignore_rules
from ocitool.builder.solver import execute
from ocitool.errors import BuildError, OcitoolError
from tests.fixtures.deadlines import within


@pytest.mark.parametrize(
    ("given", "option", "declared", "expected"),
    [
        ("1", 2, "=3", "1"),
        (None, 2, "=3", "2"),
        (None, None, "=3", "3"),
        (None, None, "", None),
        (None, None, "=", None),
        ("", None, "=3", None),
    ],
)
def test_the_epoch_is_an_argument_or_an_option_or_what_the_dockerfile_declares(
    project, given, option, declared, expected
):
    lines = (f"ARG {EPOCH}{declared}", "FROM scratch", f"ARG {EPOCH}", f"ENV A=${{{EPOCH}-none}}")
    build_args = {} if given is None else {EPOCH: given}
    built = project.build("\n".join(lines), build_args=build_args, source_date_epoch=option)
    assert f"A={expected or 'none'}" in built.config["Env"]
    ours = f"1970-01-01T00:00:0{expected}Z"
    assert built.document["created"] == ours if expected else "." in built.document["created"]


def test_a_global_argument_sets_the_epoch_of_the_image(tmp_path):
    (tmp_path / "Dockerfile").write_text("ARG SOURCE_DATE_EPOCH=86400\nFROM scratch\nCOPY f /f\n")
    (tmp_path / "f").write_text("content")
    with Store.open(str(tmp_path / "store")) as store:
        result = build(BuildOptions(context=str(tmp_path)), store=store)
        with store.blobs.open(result.image_id) as blob:
            config = blob.read()
    assert b'"created":"1970-01-02T00:00:00Z"' in config


def test_a_file_that_changes_while_it_is_copied_stops_the_build(tmp_path, monkeypatch):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (tmp_path / ".dockerignore").write_text("store\n")
    (tmp_path / "f").write_text("before")
    packed = execute.write_layer

    def change_then_write(*args, **kwargs):
        (tmp_path / "f").write_text("after!")  # as long as before, so only its content tells
        return packed(*args, **kwargs)

    monkeypatch.setattr(execute, "write_layer", change_then_write)
    with Store.open(str(tmp_path / "store")) as store:
        with pytest.raises(BuildError, match="changed while it was copied") as caught:
            build(BuildOptions(context=str(tmp_path)), store=store)
        assert store.database.rows("SELECT COUNT(*) FROM cache") == [(0,)]
    assert "Dockerfile:2" in str(caught.value)


@pytest.mark.parametrize("becomes", ["nothing", "a link", "a pipe"])
def test_a_file_that_goes_while_it_is_copied_stops_the_build(tmp_path, monkeypatch, becomes):
    """What a link leads to is not read, and a pipe is not waited for."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (tmp_path / "f").write_text("before")
    packed = execute.write_layer

    def change_then_write(*args, **kwargs):
        (tmp_path / "f").unlink()
        if becomes == "a link":
            (tmp_path / "f").symlink_to("Dockerfile")
        elif becomes == "a pipe":
            os.mkfifo(tmp_path / "f")
        return packed(*args, **kwargs)

    monkeypatch.setattr(execute, "write_layer", change_then_write)
    with Store.open(str(tmp_path / "store")) as store, within(30):
        with pytest.raises(OcitoolError) as caught:
            build(BuildOptions(context=str(tmp_path)), store=store)
        assert store.database.rows("SELECT COUNT(*) FROM cache") == [(0,)]
    assert "Dockerfile:2: " in str(caught.value)
    assert becomes == "a pipe" or "exclude the changing files" in caught.value.hint


def test_of_several_ignore_files_the_first_counts(tmp_path):
    """Measured with buildah 1.28."""
    order = (
        "Dockerfile.dockerignore", "Dockerfile.containerignore",
        ".containerignore", ".dockerignore",
    )  # fmt: skip
    dockerfile = str(tmp_path / "Dockerfile")
    for name in order:
        (tmp_path / name).write_text(f"of-{name}\n")
    for at, name in enumerate(order):
        rules = ignore_rules(dockerfile, str(tmp_path))
        assert [each for each in order if rules.ignored(f"of-{each}")] == [name]
        without = ignore_rules("", str(tmp_path))  # a Dockerfile that is given as text
        own = max(at, 2)
        assert [each for each in order if without.ignored(f"of-{each}")] == [order[own]]
        (tmp_path / name).unlink()
    assert not ignore_rules(dockerfile, str(tmp_path)).ignored("of-.dockerignore")


def test_an_ignore_file_belongs_to_the_dockerfile_of_its_name(tmp_path):
    for name in ("Containerfile", "other"):
        (tmp_path / f"{name}.containerignore").write_text(f"of-{name}\n")
        rules = ignore_rules(str(tmp_path / name), str(tmp_path))
        assert rules.ignored(f"of-{name}")
    assert not ignore_rules(str(tmp_path / "Dockerfile"), str(tmp_path)).ignored("of-other")


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("sub/real", True),
        ("../real", True),  # as in a chroot
        ("/sub/real", True),
        ("../elsewhere/real", False),
        ("{outside}", False),
        ("gone", False),
    ],
)
def test_links_of_the_dockerfile_are_followed_inside_the_context(store, tmp_path, target, found):
    """Measured with docker's BuildKit; what leads out of the context is of the host."""
    context = tmp_path / "context"
    for folder in (context, context / "sub", tmp_path / "elsewhere"):
        folder.mkdir()
        (folder / "real").write_text("FROM scratch\n")
    (context / "Dockerfile").symlink_to(target.format(outside=tmp_path / "elsewhere/real"))
    options = BuildOptions(context=str(context))
    if found:
        build(options, store=store)
        return
    with pytest.raises(BuildError, match="no such file or directory") as caught:
        build(options, store=store)
    assert "it is a link to" in caught.value.hint


def test_a_dockerfile_that_is_named_may_be_a_link_to_anywhere(store, tmp_path):
    (tmp_path / "real").write_text("FROM scratch\n")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").symlink_to("../real")
    build(BuildOptions(context=str(context), file=str(context / "Dockerfile")), store=store)


@pytest.mark.parametrize("name", ["Dockerfile.dockerignore", ".containerignore", ".dockerignore"])
def test_links_of_ignore_files_are_followed_inside_the_context(tmp_path, name):
    context = tmp_path / "context"
    (context / "sub").mkdir(parents=True)
    (context / "sub/rules").write_text("inside\n")
    (tmp_path / "rules").write_text("outside\n")
    dockerfile = str(context / "Dockerfile")
    warnings: list[str] = []
    for target, ignored in (("sub/rules", True), ("/sub/rules", True), ("../rules", False)):
        (context / name).symlink_to(target)
        rules = ignore_rules(dockerfile, str(context), warnings.append)
        assert (rules.ignored("inside"), rules.ignored("outside")) == (ignored, False)
        (context / name).unlink()
    assert len(warnings) == 1
    assert "is a link that leads out of the context" in warnings[0]


def test_the_ignore_file_of_a_dockerfile_elsewhere_is_beside_it(tmp_path):
    context, other = tmp_path / "context", tmp_path / "other"
    context.mkdir()
    other.mkdir()
    (other / "rules").write_text("inside\n")
    (other / "Dockerfile.dockerignore").symlink_to("rules")
    assert ignore_rules(str(other / "Dockerfile"), str(context)).ignored("inside")


def test_a_containerfile_is_found_where_there_is_no_dockerfile(store, tmp_path):
    for name in ("Containerfile", "Dockerfile"):  # with both, it is the Dockerfile, as docker's
        (tmp_path / name).write_text(f"FROM scratch\nLABEL name={name}\n")
        result = build(BuildOptions(context=tmp_path), store=store)
        with store.blobs.open(result.image_id) as blob:
            assert f'"name":"{name}"'.encode() in blob.read()


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("none", 'unable to prepare context: path "none" not found'),
        ("file", 'unable to prepare context: path "file" is neither a directory nor a tar archive'),
    ],
)
def test_a_context_that_cannot_be_one_is_called_what_it_is(
    store, tmp_path, monkeypatch, context, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match=message) as caught:
        build(BuildOptions(context=context, dockerfile="FROM scratch"), store=store)
    assert caught.value.hint


def test_a_directory_of_such_a_name_is_the_context(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "github.com/a").mkdir(parents=True)
    (tmp_path / "github.com/a/f").touch()
    options = BuildOptions(context="github.com/a", dockerfile="FROM scratch\nCOPY f /")
    assert build(options, store=store).steps == 1
