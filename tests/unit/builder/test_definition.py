"""A Dockerfile to a definition without a store, and a definition to layers without a Dockerfile."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from ocitool.builder.checks.parsing import parse_checked
from ocitool.builder.definition import (
    Copy,
    Definition,
    Graph,
    HistoryEntry,
    ImageDefinition,
    LocalContext,
    Location,
    ResolvedImage,
    Run,
    Scratch,
    SourceImage,
    Surroundings,
    Workdir,
)
from ocitool.builder.entitlements import Entitlements
from ocitool.builder.frontend.arguments import Arguments
from ocitool.builder.frontend.frontend import define
from ocitool.builder.frontend.stages import ARG_HINT
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.shown_steps import ShownSteps
from ocitool.builder.solver.cache import LocalCache
from ocitool.builder.solver.images import SourceImages
from ocitool.builder.solver.solver import Solver
from ocitool.errors import BuildError, DockerfileError, ImageNotFound, LayerError
from ocitool.oci.config import ImageConfig, RunConfig
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT
from ocitool_registry.access import Access
from ocitool_runtime.defaults import DEFAULT_PATH, Network

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
DIGEST = Digest.parse(f"sha256:{'a' * 64}")
BASE = ImageConfig(platform=AMD64, run=RunConfig(env=("PATH=/base", "B=1"), user="me"))


def resolve(reference, platform):
    if reference == "gone":
        raise ImageNotFound("there is no image gone")
    return ResolvedImage(digest=DIGEST, config=dataclasses.replace(BASE, platform=platform))


def definition(*lines, warn=lambda _: None, resolver=resolve, **arguments):
    text = "\n".join(lines).encode()
    file, linter = parse_checked(
        [("Dockerfile", text)], build_args={}, warn=lambda warning: warn(str(warning))
    )
    given = Arguments(platform=AMD64, build_platform=AMD64, **arguments)
    return define(file, given, resolver, warn, linter)


def steps(made):
    return [each for each in made.vertices if isinstance(each, Run | Copy | Workdir)]


def test_each_instruction_that_makes_a_layer_is_a_vertex_on_the_one_before():
    made = definition("FROM base", "WORKDIR /w", "RUN --network=none make", "COPY a b c/", "CMD x")
    image, workdir, run, copy = made.vertices[-4:]
    assert image == SourceImage(reference="base", platform=AMD64, digest=DIGEST)
    at = made.vertices.index(image)
    assert workdir == Workdir(base=at, platform="linux/amd64", path="/w", user="me")
    assert run.base == at + 1 and run.args == ("/bin/sh", "-c", "make") and run.cwd == "/w"
    assert run.around.network is Network.NONE and run.env == {"PATH": "/base", "B": "1"}
    assert copy.base == at + 2 and copy.paths == ("a", "b") and copy.dest == "/w/c/"
    assert isinstance(made.vertices[copy.source], LocalContext)
    assert made.result == at + 3 and made.image.run.cmd == ("/bin/sh", "-c", "x")


def test_vertices_stand_behind_those_they_name():
    made = definition("FROM scratch AS a", "COPY f /", "FROM base", "COPY --from=a /f /", "RUN x")
    for number, vertex in enumerate(made.vertices):
        named = {getattr(vertex, "base", None), getattr(vertex, "source", None)} - {None}
        assert all(each < number for each in named)


def test_names_and_locations_lead_back_to_the_dockerfile():
    made = definition("FROM base AS one", "ENV A=1", "RUN a \\", "  b", "COPY <<EOF /f", "x", "EOF")
    at = made.vertices.index(steps(made)[0])
    assert made.names[at - 1] == "[one 1/3] FROM base" and made.names[at] == "[one 2/3] RUN a b"
    assert made.locations[at] == Location(file="Dockerfile", line=3, excerpt=("RUN a \\", "  b"))
    assert made.locations[at + 1].excerpt == ("COPY <<EOF /f", "x", "EOF")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("RUN <<EOF\napt-get update\napt-get install x\nEOF", "RUN <<EOF (apt-get update...)"),
        ("RUN << EOF\n\n  one  \nEOF", "RUN << EOF (one)"),
        ("RUN <<EOF\n#!/bin/x\n  y\nEOF", "RUN <<EOF (#!/bin/x...)"),
        ("RUN <<-A\n\tget https://u:p@h/x\nA", "RUN <<-A (get https://xxxxx:xxxxx@h/x)"),
        ("RUN <<EOF\nEOF", "RUN <<EOF ()"),
        ("RUN <<EOF cat\none\nEOF", "RUN <<EOF cat"),
        ("COPY <<EOF /x\none\nEOF", "COPY <<EOF /x"),
    ],
)
def test_the_name_of_a_script_is_how_it_begins(line, shown):
    """So BuildKit shows it; of other heredocs the line itself differs."""
    made = definition("FROM base", line)
    assert made.names[made.result] == f"[stage-0 2/2] {shown}"


def test_steps_are_numbered_as_buildkit_numbers_them():
    """``WORKDIR /`` is in the total and has no number; BuildKit, dockerfile2llb, prefixCommand."""
    lines = ("FROM base AS one", "WORKDIR /", "RUN a", "WORKDIR ../..", "WORKDIR w", "RUN b")
    made = definition(*lines)
    assert [made.names[at] for at in sorted(made.names)] == [
        "[one 1/6] FROM base", "[one 2/6] RUN a", "[one 3/6] WORKDIR w", "[one 4/6] RUN b",
    ]  # fmt: skip
    made = definition(*lines, *(f"RUN {at}" for at in range(5)))
    assert made.names[made.result - 5] == "[one  4/11] RUN b"
    assert made.names[made.result] == "[one  9/11] RUN 4"


def test_the_history_names_the_vertices_that_make_layers():
    made = definition("FROM scratch", "ENV A=1", "WORKDIR /w", "LABEL l=1")
    assert made.image.history == (
        HistoryEntry(created_by="ENV A=1"),
        HistoryEntry(created_by="WORKDIR /w", vertex=made.result),
        HistoryEntry(created_by="LABEL l=1"),
    )
    assert made.image.base is None and made.image.run.environment()["PATH"] == DEFAULT_PATH


def test_a_stage_as_base_and_as_source():
    made = definition(
        "FROM base AS a", "RUN one", "FROM a AS b", "RUN two", "FROM scratch", "COPY --from=b /x /y"
    )
    one, two, copy = steps(made)
    assert made.vertices[two.base] is one and made.vertices[copy.source] is two
    assert isinstance(made.vertices[copy.base], Scratch) and copy.source_name == "stage b"


def test_stages_that_the_target_does_not_need_are_not_evaluated():
    made = definition("FROM gone AS a", "FROM scratch AS b", "RUN b", "FROM a", target="b")
    assert [step.args[-1] for step in steps(made)] == ["b"]
    assert not any(isinstance(each, SourceImage) for each in made.vertices)


def test_a_base_is_resolved_for_its_stages_platform_and_a_source_for_the_images():
    asked = []

    def record(reference, platform):
        asked.append((reference, platform))
        return resolve(reference, platform)

    made = definition(
        "FROM --platform=linux/arm64 base", "COPY --from=tools /a /", "COPY --from=tools /b /",
        resolver=record,
    )  # fmt: skip
    assert asked == [("base", ARM64), ("tools", AMD64)]
    first, second = steps(made)
    assert first.source == second.source and first.platform == "linux/arm64"
    assert made.image.platform == ARM64


def test_an_image_that_cannot_be_resolved_is_named_with_its_line():
    with pytest.raises(ImageNotFound, match="Dockerfile:2: there is no image gone"):
        definition("# a comment", "FROM gone")


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (["FROM base AS gome", "FROM base", "COPY --from=gone a b"], "did you mean gome?"),
        (["FROM base AS gonee", "FROM GONE"], "did you mean gonee?"),
        (["FROM base AS other", "FROM gone"], ""),
        (["FROM gone AS gone"], ""),
        (["FROM gone AS gome", "FROM gome AS gonee"], ""),
    ],
)
def test_a_name_near_that_of_an_earlier_stage_is_a_hint(lines, hint):
    def gone(reference, platform):
        return resolve(reference.lower(), platform)

    with pytest.raises(ImageNotFound) as caught:
        definition(*lines, resolver=gone)
    assert caught.value.hint.startswith(hint) and bool(caught.value.hint) == bool(hint)
    line = next(number for number, line in enumerate(lines, 1) if "gone" in line.lower().split()[1])
    assert (caught.value.line, caught.value.excerpt) == (line, (lines[line - 1],))


@pytest.mark.parametrize(
    ("image", "hint"),
    [("x:$V", ARG_HINT), ("$V:1", ARG_HINT), ("x@$V", ARG_HINT), ("$V", ARG_HINT), ("x:", "")],
)
def test_an_empty_variable_in_from_is_an_error_of_its_line(image, hint):
    def parsed(reference, platform):
        Reference.parse(reference)
        return resolve(reference, platform)

    with pytest.raises(DockerfileError) as caught:
        definition("ARG V", f"FROM {image}", resolver=parsed)
    blank = f"base name ({image}) should not be blank"
    name = image.replace("$V", "")
    wanted = f'failed to parse stage name "{name}": ' if name else blank
    assert str(caught.value).startswith(f"Dockerfile:2: {wanted}")
    assert hint in caught.value.hint and caught.value.excerpt == (f"FROM {image}",)


def test_everything_is_expanded_and_checked_before_anything_is_executed():
    with pytest.raises(DockerfileError, match="Dockerfile:3: invalid chmod"):
        definition("FROM base", "RUN never", "COPY --chmod=abc f /")
    warnings = []
    made = definition(
        "FROM base", "ARG D=/d", "COPY f $D/$E", warn=warnings.append, build_args={"Z": "1"}
    )
    assert steps(made)[0].dest == "/d/"
    assert warnings == [
        "Dockerfile:3: UndefinedVar: Usage of undefined variable '$E' (did you mean $B?)",
        "one or more build args were not consumed: Z",
    ]


@pytest.mark.slow
def test_a_definition_is_a_value_that_can_be_sent_elsewhere():
    lines = ("FROM base", *(f"RUN {number}" for number in range(3000)))
    made = definition(*lines)
    assert pickle.loads(pickle.dumps(made)) == made == definition(*lines)


# -- solving -------------------------------------------------------------------------------


def solve(project, graph, result):
    made = Definition(
        vertices=tuple(graph.vertices),
        result=result,
        image=ImageDefinition(platform=AMD64, run=RunConfig()),
        epoch=5,
        names=graph.names,
        locations=graph.locations,
    )
    images = SourceImages(project.store, SILENT, pull="missing", access=Access())
    return Solver(
        made,
        store=project.store,
        cache=LocalCache(project.store),
        images=images,
        contexts={},
        secrets=Secrets({}),
        steps=ShownSteps(SILENT),
    ).solve()


def test_a_graph_is_solved_without_any_dockerfile(project):
    graph = Graph()
    empty = graph.add(Scratch())
    made = graph.add(Workdir(base=empty, platform="p", path="/w", user=""), name="make /w")
    text = Copy(
        base=empty, platform="p", source=empty, paths=(), dest="/f", texts=(("f", b"text"),)
    )
    files = graph.add(text, name="write /f")
    both = Copy(base=made, platform="p", source=files, paths=("/f",), dest="/w/")
    result = graph.add(both, name="copy /f")
    first = solve(project, graph, result)
    assert (first.steps, first.cached, len(first.layers)) == (3, 0, 2)
    assert sorted(first.records) == [made, files, result]
    types = [first.records[number].layer.blob.media_type for number in (made, files, result)]
    # What the image does not get is not compressed.
    assert [each.rpartition(".")[2] for each in types] == ["tar+gzip", "tar", "tar+gzip"]
    second = solve(project, graph, result)
    assert (second.steps, second.cached, second.layers) == (3, 3, first.layers)


def test_errors_of_a_step_have_the_location_of_its_vertex(project):
    graph = Graph()
    empty = graph.add(Scratch())
    location = Location(file="build.py", line=7, excerpt=("copy('/gone')",))
    copy = Copy(
        base=empty, platform="p", source=empty, paths=("/gone",), dest="/x", source_name="empty"
    )
    number = graph.add(copy, location, "copy /gone")
    with pytest.raises(BuildError, match=r'build\.py:7: "/gone": not found') as caught:
        solve(project, graph, number)
    assert caught.value.hint == "looked for in empty"


def test_a_location_is_added_once_and_keeps_what_an_error_says():
    location = Location(file="f", line=3, excerpt=("x",))
    again = location.in_errors()
    with pytest.raises(LayerError, match=r"^f:3: a/b: bad$"), location.in_errors(), again:
        raise LayerError("bad", where="a/b")
    with pytest.raises(DockerfileError) as caught, location.in_errors():
        Platform.parse("a/b/c/d/e")
    assert caught.value.line == 3 and caught.value.excerpt == ("x",)


def test_the_network_of_a_run_is_that_of_the_build_unless_it_names_one():
    around = Surroundings(network=Network.NONE, hosts=("1.2.3.4\tdb",))
    lines = ("FROM base", "RUN a", "RUN --network=default b", "RUN --network=host c")
    allowed = Entitlements(names=frozenset({"network.host"}))
    runs = steps(definition(*lines, around=around, entitlements=allowed))
    assert [run.around.network for run in runs] == ["none", "none", "host"]
    assert {run.around.hosts for run in runs} == {("1.2.3.4\tdb",)}
