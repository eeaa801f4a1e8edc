"""--build-context: what replaces images and stages, and what does not."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from ocitool import BuildOptions
from ocitool.builder.calls.calls import check
from ocitool.builder.context_sources.named import NamedContext, named_contexts
from ocitool.builder.frontend.sources.named_contexts import familiar_name
from ocitool.errors import BuildError, OcitoolError
from ocitool.image.archive.save import NamedImage, save_directory
from ocitool.image.store_content import local_image
from ocitool.oci.reference import Reference
from ocitool.store.store import Store
from tests.fixtures import images
from tests.fixtures.servers import file_server
from tests.unit.builder.conftest import failure, scratch


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with file_server() as served:
        yield served


@pytest.fixture
def extra(tmp_path):
    """A directory beside the context, with an ignore file."""
    top = tmp_path / "extra"
    top.mkdir()
    for name in ("a", "b"):
        (top / name).write_text(name)
    (top / ".dockerignore").write_text("b\n")
    return top


@pytest.fixture
def other(project):
    """The image ``other:1`` with the file ``m`` of 4:5, a variable and a trigger."""
    config = {"Env": ["PATH=/bin", "OF=other"], "OnBuild": ["ENV fired=1"]}
    project.image("other:1", {"m": {"text": "m", "uid": 4, "gid": 5}}, config=config)
    return "docker-image://other:1"


def save_layout(store: Store, name: str, to: str, directory: Path) -> None:
    """Write an image as a layout, under the name *to*."""
    store.refs.set(str(Reference.parse(to)), store.find(name))
    save_directory([NamedImage(local_image(store, to), to)], str(directory))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("alpine", "alpine"),
        ("alpine:latest", "alpine"),
        ("docker.io/library/alpine", "alpine"),
        ("index.docker.io/library/alpine:latest", "alpine"),
        ("alpine:3", "alpine:3"),
        ("h:5000/a/b:latest", "h:5000/a/b"),
        ("a/b", "a/b"),
    ],
)
def test_names_are_those_that_docker_shows(text, name):
    assert familiar_name(text) == name


def test_a_directory_is_a_source_with_its_own_ignore_file(project, extra):
    (project.top / ".dockerignore").write_text("a\n")
    contexts = {"docker.io/library/extra:latest": str(extra)}
    built = project.build(scratch("COPY --from=extra . /"), build_contexts=contexts)
    assert built.names() == [".dockerignore", "a"] and built.warnings == ()
    assert {(each.uid, each.gid) for each in built.layers[0]} == {(0, 0)}
    again = project.build(scratch("COPY --from=extra:latest . /"), build_contexts=contexts)
    assert again.digest == built.digest and again.executed == []
    (extra / "a").write_text("changed")
    assert project.build(scratch("COPY --from=extra . /"), build_contexts=contexts).executed
    error = failure(project, scratch("COPY --from=extra b /"), build_contexts=contexts)
    assert error.message == '"/b": not found' and "ignore file" in error.hint


def test_a_name_that_is_no_stage_and_no_context_says_so(project, extra):
    contexts = {"extra": str(extra)}

    def hint(line: str) -> str:
        text = f"FROM scratch AS build\nFROM scratch\n{line}\n"
        return failure(project, text, build_contexts=contexts, pull="never").hint

    assert hint("COPY --from=exta a /") == "did you mean extra? No build context is named 'exta'"
    assert hint("COPY --from=biuld a /") == "did you mean build? No earlier stage is named 'biuld'"
    missing = "no earlier stage is named 'other'; build without --pull=never"
    assert hint("COPY --from=other a /") == missing
    assert hint("RUN --mount=from=other,target=/o x") == missing
    assert hint("COPY --from=other:1 a /") == "build without --pull=never"


def test_a_directory_may_be_a_base_of_its_files_alone(project, extra):
    contexts = {"base": str(extra)}
    built = project.build("FROM base\nENV a=1\n", build_contexts=contexts)
    assert built.names() == [".dockerignore", "a"] and len(built.layers) == 1
    assert built.config["Env"][0].startswith("PATH=/usr/local/sbin")
    assert built.config["WorkingDir"] == "/"
    created = [each["created_by"] for each in built.history]
    assert created == ["FROM base", "ENV a=1"]
    assert built.executed == ["FROM base"]
    again = project.build("FROM base\nENV a=1\n", build_contexts=contexts)
    assert again.digest == built.digest and again.executed == []
    one = project.build("FROM base AS x\nFROM x\nCOPY --from=x a /b\n", build_contexts=contexts)
    assert one.names() == ["b"] and one.tars[0] == built.tars[0]


@pytest.mark.slow
def test_an_image_stands_instead_of_another(project, other):
    contexts = {"alpine:3": other, "pic": other}
    built = project.build(
        "FROM alpine:3\nCOPY --from=pic m /n\n", build_contexts=contexts, pull="never"
    )
    assert {"OF=other", "fired=1"} <= set(built.config["Env"])
    (member,) = built.layers[1]
    assert (member.name, member.uid, member.gid) == ("n", 4, 5)
    assert failure(project, "FROM alpine\n", build_contexts=contexts, pull="never")
    empty = project.build(
        "FROM alpine:3\n", build_contexts={"alpine:3": "docker-image://scratch"}, pull="never"
    )
    assert empty.layers == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["docker-image://", "container-image://", "docker://"])
def test_the_schemes_of_images(project, other, scheme):
    contexts = {"x": f"{scheme}other:1"}
    assert project.build("FROM x\n", build_contexts=contexts, pull="never").names() == ["m"]


@pytest.mark.slow
def test_a_stage_of_that_name_is_replaced_whole(project, extra, other):
    text = "FROM gone:1 AS mid\nRUN false\nFROM scratch\nCOPY --from=mid . /\n"
    built = project.build(text, build_contexts={"mid": str(extra)}, pull="never")
    assert built.names() == [".dockerignore", "a"]
    built = project.build(text, build_contexts={"mid": other}, pull="never")
    assert built.names() == ["m"]
    # By its number it is the same stage, and a stage that is based on it has its triggers.
    built = project.build(
        text.replace("--from=mid", "--from=0"), build_contexts={"mid": str(extra)}, pull="never"
    )
    assert built.names() == [".dockerignore", "a"]
    built = project.build(
        "FROM gone:1 AS mid\nRUN false\nFROM mid\n", build_contexts={"mid": other}, pull="never"
    )
    assert {"OF=other", "fired=1"} <= set(built.config["Env"])
    target = project.build(text, build_contexts={"mid": other}, pull="never", target="mid")
    assert target.names() == ["m"] and "fired=1" not in target.config["Env"]


def test_a_stage_comes_before_a_context_of_the_name_of_an_image(project, extra):
    """Only a stage of the context's name is replaced: the name of the stage is what counts."""
    (project.top / "f").write_text("x")
    built = project.build(
        "FROM scratch AS one\nCOPY f /\nFROM one\n", build_contexts={"two": str(extra)}
    )
    assert built.names() == ["f"]
    assert built.warnings == (
        "no image and no stage is named 'two': this build context is not used",
    )


def test_scratch_and_numbers_are_never_replaced(project, extra):
    contexts = {"scratch": str(extra), "0": str(extra)}
    (project.top / "f").write_text("x")
    built = project.build(
        "FROM scratch AS a\nCOPY f /\nFROM scratch\nCOPY --from=0 f /\n", build_contexts=contexts
    )
    assert built.names() == ["f"] and len(built.layers) == 1 and len(built.warnings) == 2


@pytest.mark.slow
def test_a_trigger_finds_contexts_too(project, extra):
    project.image("based:1", {"x": "x"}, config={"OnBuild": ["COPY --from=extra a /a"]})
    built = project.build("FROM based:1\n", build_contexts={"extra": str(extra)})
    assert built.names() == ["a"] and built.warnings == ()


@pytest.mark.slow
def test_a_url_is_an_archive_or_one_file(project, server):
    data = gzip.compress(images.archive({"d/f": {"text": "x", "uid": 7}, ".dockerignore": "d\n"}))
    contexts = {"tar": server.put("/a", data), "one": server.put("/tool", b"tool")}
    text = scratch("COPY --from=tar d /d", "COPY --from=one context /bin/tool")
    built = project.build(text, build_contexts=contexts)
    assert built.layers[0][-1].uid == 0 and built.read("d/f") == "x"
    assert list(built.events.ended()) == [
        f"[context tar] load {contexts['tar']}", "[stage-0 1/2] COPY --from=tar d /d",
        f"[context one] load {contexts['one']}", "[stage-0 2/2] COPY --from=one context /bin/tool",
    ]  # fmt: skip
    (tool,) = [each for each in built.layers[1] if each.isfile()]
    assert (tool.name, tool.mode, tool.mtime) == ("bin/tool", 0o600, 0)
    assert project.build(text, build_contexts=contexts).digest == built.digest
    assert os.listdir(project.store.lease().path) == []
    error = failure(project, text, build_contexts={**contexts, "one": server.put("/no", b"", 404)})
    assert (
        error.message == f"failed to fetch http://{server.address}/no: invalid response status 404"
    )
    assert error.where == "Dockerfile:3"


def test_what_is_not_needed_is_not_fetched(project, server):
    url = server.put("/a", b"x")
    project.build("FROM scratch AS a\nCOPY --from=x . /\nFROM scratch\n", build_contexts={"x": url})
    assert server.requests == []


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["", ":1", ":latest", "@{digest}", ":other@{digest}"])
def test_an_image_of_a_layout(project, other, tmp_path, monkeypatch, suffix):
    layout, tag = tmp_path / "layout", "latest" if suffix == ":latest" else "1"
    save_layout(project.store, "other:1", f"saved:{tag}", layout)
    digest = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
    with Store.open(str(tmp_path / "empty")) as store:
        monkeypatch.setattr(project, "store", store)
        contexts = {"base": f"oci-layout://{layout}{suffix.format(digest=digest)}"}
        text = "FROM base\nCOPY --from=base m /n\n"
        built = project.build(text, build_contexts=contexts)
        assert built.names(0) == ["m"] and built.names(1) == ["n"]
        assert {"OF=other", "fired=1"} <= set(built.config["Env"])
        assert [str(each.digest) for each in store.refs.all()] == [built.digest]
        again = project.build(text, build_contexts=contexts)
        assert again.digest == built.digest and again.executed == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "FROM {name}\n",
        "ARG BASE={name}\nFROM $BASE\n",
        "FROM scratch\nCOPY --from={name} m /n\n",
        "FROM other:1\nRUN --mount=from={name},target=/m true\n",
        "FROM scratch\nADD {name} /n\n",
    ],
)
def test_only_the_caller_names_layouts(project, other, tmp_path, text):
    """A Dockerfile may be anybody's, and must not read the images that are on this machine."""
    for each in ("layout", "named"):
        save_layout(project.store, "other:1", "saved:1", tmp_path / each)
    contexts = {"base": f"oci-layout://{tmp_path}/named"}
    error = failure(
        project, text.format(name=f"oci-layout://{tmp_path}/layout"), build_contexts=contexts
    )
    assert "invalid" in str(error) or "not found" in error.message
    assert project.build("FROM base\n", build_contexts=contexts).names(0) == ["m"]


@pytest.mark.slow
def test_a_layout_that_does_not_have_the_image_is_an_error(project, other, tmp_path, monkeypatch):
    layout = tmp_path / "layout"
    save_layout(project.store, "other:1", "saved:v1", layout)
    monkeypatch.setattr(project, "store", Store.open(str(tmp_path / "empty")))

    def refused(value: str) -> OcitoolError:
        return failure(project, "FROM base\n", build_contexts={"base": f"oci-layout://{value}"})

    error = refused(f"{layout}:v2")
    assert error.message == f"the image layout {layout} has no image of tag 'v2' (did you mean v1?)"
    assert error.hint == "it has v1" and error.where == "Dockerfile:1"
    digest = f"sha256:{hashlib.sha256(b'').hexdigest()}"
    assert f"has no image with the digest {digest}" in refused(f"{layout}@{digest}").message
    assert "failed to read the image layout" in refused(f"{tmp_path}/none").message
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"x" * blob.stat().st_size)
    assert refused(f"{layout}:v1")
    shutil.rmtree(layout / "blobs")
    assert "failed to read the image layout" in refused(f"{layout}:v1").message
    project.store.close()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Upper", ".", "invalid build context name 'Upper': invalid repository name 'Upper'"),
        ("", ".", "invalid build context name ''"),
        ("a b", ".", "invalid build context name 'a b'"),
        ("x", "", "nothing cannot be a named context"),
        ("x", "-", "standard input cannot be a named context"),
        ("x", "target:base", "'target:base' is not supported: targets and inputs belong to"),
        ("x", "input:base", "'input:base' is not supported"),
        ("x", "none", 'path "none" not found'),
        ("x", "file", 'path "file" is not a directory'),
        ("x", "docker-image://A", "invalid image name 'A': invalid repository name"),
        ("x", "docker-image://", "invalid image name ''"),
        ("x", "oci-layout://", "'oci-layout://' names no directory"),
        ("x", "oci-layout://d@sha256:1", "invalid digest 'sha256:1'"),
        ("x", "https://h/r.git?nope=1", 'unexpected query "nope"'),
    ],
)
def test_a_mistake_is_an_error_before_the_build(project, monkeypatch, name, value, message):
    monkeypatch.chdir(project.top)
    (project.top / "file").touch()
    with pytest.raises(OcitoolError) as caught:
        project.build(scratch("COPY none /"), build_contexts={name: value})
    assert caught.value.message.startswith(message), caught.value.message
    assert caught.value.hint or isinstance(caught.value, BuildError) is False
    assert f"build context {name}" in str(caught.value) or "context name" in str(caught.value)


def test_values_are_what_they_are_called(extra):
    found = named_contexts({"a:latest": str(extra), "b": "docker-image://c", "d": "http://h/x"})
    assert found == {
        "a": NamedContext(name="a", kind="path", value=str(extra)),
        "b": "c",
        "d": NamedContext(name="d", kind="url", value="http://h/x"),
    }


@pytest.mark.slow
def test_mounts_are_of_contexts_too(tools, extra, server, tmp_path):
    tools.image("other:1", {"m": "image\n"})
    data = images.archive({"t": "archive\n"})
    contexts = {
        "extra": str(extra), "pic": "docker-image://other:1", "tar": server.put("/t", data),
        "stage": str(extra),
    }  # fmt: skip
    text = (
        "FROM base:1 AS stage\nRUN false\nFROM base:1\n"
        "RUN --mount=from=extra,target=/x --mount=from=pic,target=/p --mount=from=tar,target=/t"
        " --mount=from=stage,target=/s cat /p/m /t/t; ls /x /s\n"
        "RUN --mount=type=cache,from=extra,target=/c ls /c\n"
    )
    built = tools.build(text, build_contexts=contexts)
    assert built.output == "image\narchive\n/s:\na\n\n/x:\na\na\n" and built.warnings == ()
    assert tools.build(text, build_contexts=contexts).executed == []
    (extra / "b").write_text("ignored")
    assert tools.build(text, build_contexts=contexts).executed == []
    (extra / "a").write_text("changed")
    assert len(tools.build(text, build_contexts=contexts).executed) >= 1
    assert os.listdir(tools.store.lease().path) == []


@pytest.mark.slow
def test_checks_know_contexts(project, other, tmp_path):
    (project.top / "Dockerfile").write_text("FROM none:1\nCOPY --from=extra a /\n")
    contexts = {"none:1": other, "extra": str(project.top)}
    options = BuildOptions(context=project.top, build_contexts=contexts, pull="never")
    assert check(options, store=project.store).error is None
