"""RUN --mount in a definition: defaults, where each takes its files from, the graph of stages."""

from __future__ import annotations

import dataclasses

import pytest

from ocitool.builder.definition import LocalContext, Run, Scratch, SourceImage
from ocitool.builder.mounts import BindMount, CacheMount, SecretMount, SshMount, TmpfsMount
from ocitool.builder.solver.keys import step_key
from ocitool.errors import DockerfileError, StageCycle, UnknownStage
from tests.unit.builder.test_definition import definition


def runs(made):
    return [vertex for vertex in made.vertices if isinstance(vertex, Run)]


def mount(text, *before, **arguments):
    """The mount of the last RUN, with what its source is."""
    made = definition("FROM base AS b", *before, f"RUN --mount={text} x", **arguments)
    (found,) = runs(made)[-1].mounts
    source = getattr(found, "source", None)
    return found, None if source is None else made.vertices[source]


@pytest.mark.parametrize(
    ("text", "path", "target"),
    [
        ("target=/in", "/", "/in"),
        ("source=a/../../b/.,target=/in//x/", "/b", "/in/x"),
        ("source=/a,target=in", "/a", "/w/in"),
        ("source=$V,target=../$V", "/v", "/v"),
    ],
)
def test_a_bind_mount_is_of_the_context(text, path, target):
    found, source = mount(text, "WORKDIR /w", "ARG V=v")
    assert found == BindMount(target=target, source=found.source, path=path)
    assert isinstance(source, LocalContext)


@pytest.mark.parametrize(
    "text", ["target=/", "target=/.", "target=..", "type=tmpfs", "type=cache,id=x"]
)
def test_the_root_is_no_target(text):
    with pytest.raises(DockerfileError, match='invalid mount target "/"') as caught:
        mount(text)
    assert caught.value.line == 2 and caught.value.hint


def test_a_target_that_is_left_out_is_the_working_directory():
    assert mount("type=tmpfs", "WORKDIR /w")[0] == TmpfsMount(target="/w")


def test_defaults_of_a_cache():
    assert mount("type=cache,target=/c/")[0] == CacheMount(target="/c", id="//c")
    assert mount("type=cache,target=//c")[0] == CacheMount(target="/c", id="//c")
    assert mount("type=cache,target=c/./d")[0] == CacheMount(target="/c/d", id="/c/d")
    found = mount("type=cache,target=/c,id=i,ro,mode=700,uid=1,sharing=locked")[0]
    given = {"mode": 0o700, "uid": 1, "sharing": "locked", "readonly": True}
    assert found == CacheMount(target="/c", id="/i", **given)


def test_a_build_argument_separates_caches():
    warnings = []
    arguments = {"build_args": {"BUILDKIT_CACHE_MOUNT_NS": "ns"}, "warn": warnings.append}
    assert mount("type=cache,target=/c,id=i", **arguments)[0].id == "ns/i"
    assert warnings == []


def test_defaults_of_secrets():
    assert mount("type=secret,id=a/k")[0] == SecretMount(id="a/k", target="/run/secrets/k")
    assert mount("type=secret,target=in/k")[0] == SecretMount(id="k", target="/in/k")
    assert mount("type=secret,id=k,env=K")[0] == SecretMount(id="k", env="K")
    both = mount("type=secret,src=k,env=K,dst=/x,mode=0,required")[0]
    assert both == SecretMount(id="k", env="K", target="/x", mode=0, required=True)


def test_the_first_agent_is_in_the_environment():
    line = "RUN --mount=type=ssh,target=/z --mount=type=ssh,id=b,gid=1 x"
    (run,) = runs(definition("FROM base", line))
    assert run.mounts == (
        SshMount(target="/z"), SshMount(target="/run/buildkit/ssh_agent.1", id="b", gid=1)
    )  # fmt: skip
    assert run.env["SSH_AUTH_SOCK"] == "/z"
    (run,) = runs(definition("FROM base", "ENV SSH_AUTH_SOCK=/mine", line))
    assert run.env["SSH_AUTH_SOCK"] == "/mine"


def test_mounts_from_stages_and_images():
    lines = ("FROM base AS one", "RUN a", "FROM base AS two")
    (_, run) = runs(made := definition(*lines, "RUN --mount=from=One,source=/o,target=/in x"))
    assert isinstance(made.vertices[run.mounts[0].source], Run)
    assert (run.mounts[0].path, run.mounts[0].source_name) == ("/o", "stage One")
    for name in ("other", "0"):  # digits are the name of an image
        (run,) = runs(made := definition(*lines, f"RUN --mount=from={name},target=/in x"))
        source = made.vertices[run.mounts[0].source]
        assert isinstance(source, SourceImage) and source.reference == name
    found, source = mount("from=scratch,target=/in")
    assert isinstance(source, Scratch) and found.readonly
    found, source = mount("type=cache,from=other,source=s,target=/c")
    assert isinstance(source, SourceImage) and found.path == "/s"


def test_copy_from_a_number_and_a_mount_from_one():
    made = definition(
        "FROM base", "RUN a", "FROM base", "COPY --from=0 /a /", "RUN --mount=from=0,target=/m x"
    )
    source = made.vertices[runs(made)[-1].mounts[0].source]
    assert isinstance(source, SourceImage) and source.reference == "0"


def test_only_what_is_mounted_is_built():
    lines = ("FROM gone AS unused", "RUN a", "FROM base AS used", "RUN b", "FROM base")
    made = definition(*lines, "RUN --mount=from=used,target=/m x")
    assert [run.args[-1] for run in runs(made)] == ["b", "x"]


def test_triggers_mount_stages():
    base = ("FROM base AS on", "ONBUILD RUN --mount=from=maker,target=/m x", "FROM base AS maker")
    made = definition(*base, "RUN made", "FROM on")
    maker, trigger = runs(made)
    assert maker.args[-1] == "made"
    assert made.vertices[trigger.mounts[0].source] == maker


def test_a_stage_is_needed_before():
    lines = ("FROM base AS one", "RUN --mount=from=two,target=t x", "FROM base AS two")
    with pytest.raises(UnknownStage) as caught:
        definition(*lines, target="one")
    assert caught.value.message == (
        'cannot mount from stage "two" to "/t", stage needs to be defined before current command'
    )
    assert caught.value.where == "Dockerfile:2" and "move the FROM of one" in caught.value.hint


def test_a_stage_that_mounts_itself():
    with pytest.raises(StageCycle, match="circular dependency detected on stage: one"):
        definition("FROM base AS one", "RUN --mount=from=one,target=/t x")


def test_what_a_mount_shows_is_in_the_key_and_its_vertex_is_not():
    (run,) = runs(definition("FROM base", "RUN --mount=source=a,target=/in x"))
    moved = dataclasses.replace(
        run, mounts=(dataclasses.replace(run.mounts[0], source=9, path="/b"),)
    )
    content = ("", "dir", "12")
    key = step_key(run, (), None, mounted=[content])
    assert step_key(moved, (), None, mounted=[content]) == key
    others = (
        step_key(run, (), None, mounted=[("", "dir", "34")]),
        step_key(dataclasses.replace(run, mounts=()), (), None),
        step_key(dataclasses.replace(run, mounts=(TmpfsMount(target="/in"),)), (), None),
    )
    assert len({key, *others}) == 4
