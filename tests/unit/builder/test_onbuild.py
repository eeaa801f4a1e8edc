"""ONBUILD: what is recorded, what a base's triggers do to a build, and which stages they need."""

from __future__ import annotations

import dataclasses

import pytest

from ocitool.builder.checks.parsing import parse_checked
from ocitool.builder.definition import Copy, ResolvedImage, Run, SourceImage, Workdir
from ocitool.builder.frontend.arguments import Arguments
from ocitool.builder.frontend.frontend import define
from ocitool.errors import (
    BuildError,
    DockerfileError,
    ImageNotFound,
    StageCycle,
    UnknownStage,
)
from ocitool.oci.config import ImageConfig, RunConfig
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference

AMD64 = Platform.parse("linux/amd64")
DIGEST = Digest.parse(f"sha256:{'a' * 64}")


def define_on(triggers, *lines, **arguments):
    """Return the definition of *lines* and its warnings; the image ``base`` has *triggers*."""
    warnings: list[str] = []

    def resolve(reference, platform):
        if reference == "gone":
            raise ImageNotFound("there is no image gone")
        run = RunConfig(on_build=tuple(triggers) if reference == "base" else ())
        return ResolvedImage(digest=DIGEST, config=ImageConfig(platform=platform, run=run))

    text = "\n".join(lines).encode()
    file, linter = parse_checked(
        [("Dockerfile", text)], build_args={}, warn=lambda found: warnings.append(str(found))
    )
    given = Arguments(platform=AMD64, build_platform=AMD64, **arguments)
    return define(file, given, resolve, warnings.append, linter), warnings


def steps(made):
    return [each for each in made.vertices if isinstance(each, Run | Copy | Workdir)]


def recorded(*lines):
    made, warnings = define_on((), "FROM base", *lines)
    return list(made.image.run.on_build), warnings


# -- the instruction ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "trigger"),
    [
        ("ONBUILD RUN touch /never", "RUN touch /never"),
        ("onbuild  copy --chown=1:2 . /app", "copy --chown=1:2 . /app"),
        ("ONBUILD WORKDIR $D/x", "WORKDIR $D/x"),  # expanded where it is executed
        ("ONBUILD RUN a \\\n  # why\n  && b", "RUN a   && b"),
        ('ONBUILD CMD ["a",  "b"]', 'CMD ["a",  "b"]'),
        ("ONBUILD RUN <<S\necho a\nb\nS", "RUN <<S\necho a\nb\nS"),
        ("ONBUILD RUN <<-'S'\n\ta\n\tS", "RUN <<-'S'\n\ta\nS"),
        ("ONBUILD COPY <<E <<F /e/\n1\nE\n2\nF", "COPY <<E <<F /e/\n1\nE\n2\nF"),
        ('ONBUILD RUN ["cat", "<<E"]', 'RUN ["cat", "<<E"]'),
        ("ONBUILD ENV", "ENV"),
    ],
)
def test_a_trigger_is_recorded_as_it_is_written(line, trigger):
    triggers, _ = recorded("ENV D=/d", line, "LABEL a=b")
    assert triggers == [trigger]


def test_triggers_are_recorded_in_their_order_and_leave_no_step_and_no_history():
    made, warnings = define_on((), "FROM base", "ONBUILD RUN a", "ONBUILD ENV b=c", "ONBUILD RUN a")
    assert made.image.run.on_build == ("RUN a", "ENV b=c", "RUN a")
    assert made.image.history == () and steps(made) == [] and warnings == []


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("NONSENSE", "unknown instruction: NONSENSE"),
        ("COPPY a b", "unknown instruction: COPPY (did you mean COPY?)"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided. "
         "Destination could not be determined"),
        ("RUN --nett=none a", "unknown flag: --nett"),
    ],
)  # fmt: skip
def test_what_will_fail_later_is_recorded_with_a_warning(trigger, message):
    triggers, (warning,) = recorded("ENV a=b", f"ONBUILD {trigger}")
    assert triggers == [trigger]
    assert warning.startswith(f"Dockerfile:3: ONBUILD {trigger}: builds on this image will fail: ")
    assert message in warning


# -- triggers of an image -------------------------------------------------------------------


def test_triggers_are_executed_behind_from_in_their_order_and_inherited_no_further():
    triggers = ("WORKDIR /w", "USER 5", "RUN make", "COPY . src", "ONBUILD RUN later", "CMD c")
    made, _ = define_on(triggers, "FROM base", "RUN own", "ENTRYPOINT e")
    workdir, run, copy, own = steps(made)
    assert workdir.path == "/w" and workdir.user == ""
    assert run.args[-1] == "make" and (run.cwd, run.user) == ("/w", "5")
    assert copy.dest == "/w/src" and own.args[-1] == "own" and own.user == "5"
    assert made.image.run.on_build == ("RUN later",)  # of this build, not of the base
    assert made.image.run.cmd == ("/bin/sh", "-c", "c")  # as if the stage had given it
    assert [entry.created_by for entry in made.image.history] == [
        "WORKDIR /w",
        "USER 5",
        "RUN /bin/sh -c make",
        "COPY . src",
        'CMD ["/bin/sh" "-c" "c"]',
        "RUN /bin/sh -c own",
        'ENTRYPOINT ["/bin/sh" "-c" "e"]',
    ]


def test_arguments_of_triggers_are_those_of_the_stage():
    triggers = ("ARG WHO=nobody", "ENV WHO2=$WHO", "ARG GLOBAL", "RUN a")
    made, warnings = define_on(
        triggers,
        "ARG GLOBAL=g", "FROM base", "RUN b $WHO", "LABEL who=$WHO",
        build_args={"WHO": "me"},
    )  # fmt: skip
    first, second = steps(made)
    assert first.env["WHO"] == second.env["WHO"] == "me" and first.env["GLOBAL"] == "g"
    assert made.image.run.environment()["WHO2"] == "me"
    assert made.image.run.labels == {"who": "me"} and warnings == []
    texts = [entry.created_by for entry in made.image.history]
    assert texts[3] == "RUN |2 WHO=me GLOBAL=g /bin/sh -c a"


def test_progress_names_triggers_and_errors_point_at_the_from():
    triggers = ("ENV A=1", "COPY a \\\n  b", "RUN <<E\nx\nE")
    made, _ = define_on(triggers, "# x", "FROM base", "RUN own")
    assert list(made.names.values()) == [
        "[stage-0 1/5] FROM base",
        "[stage-0 2/5] ONBUILD COPY a b",
        "[stage-0 3/5] ONBUILD RUN <<E (x)",
        "[stage-0 4/5] RUN own",
    ]
    copy, run, own = (made.locations[each] for each in sorted(made.names)[1:])
    assert (copy.line, run.line, own.line) == (2, 2, 3) and run.excerpt == ("FROM base",)


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("", "onbuild trigger should be a single expression"),
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("FROM scratch", "FROM isn't allowed as an ONBUILD trigger"),
        ("NONSENSE", "unknown instruction: NONSENSE"),
        ("ENV a", "ENV must have two arguments"),
        ("RUN <<E\na", "unterminated heredoc"),
        ("RUN \udcff", "invalid UTF-8 text"),
        ("RUN \ud800", "invalid UTF-8 text"),
        ("RUN \0", "a NUL byte in the text"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("COPY --from=$A a b", "variable expansion is not supported for --from, define a new stage "
         "with FROM using ARG from global scope as a workaround"),
        ("RUN --mount=from=$A,target=/a b", "'from' doesn't support variable expansion, define "
         "alias stage instead"),
    ],
)  # fmt: skip
def test_an_invalid_trigger_is_named_at_the_from(trigger, message):
    with pytest.raises(DockerfileError) as caught:
        define_on(("ENV fine=1", trigger), "# x", "FROM base", "RUN a")
    error = caught.value
    assert (error.message, error.line, error.excerpt) == (message, 2, ("FROM base",))
    first = trigger.partition("\n")[0]
    assert error.hint.startswith(f"it stands in the trigger ONBUILD {first}")


def test_the_escape_directive_is_for_the_lines_of_its_own_file():
    made, _ = define_on(
        ("RUN c \\\n d", "ENV A=x\\ y"),
        "# escape=`", "FROM base AS a", "ONBUILD RUN e `\n f", "RUN a `\n b", "FROM a",
    )  # fmt: skip
    assert [each.args[-1] for each in steps(made)] == ["c  d", "a  b", "e  f"]
    assert made.image.run.environment()["A"] == "x\\ y"  # variables are expanded with this file's


def test_undefined_variables_of_triggers_are_warned_of_at_the_from():
    _, warnings = define_on(("LABEL a=$nowhere", "ARG a-b=1"), "# x", "FROM base")
    arg, undefined = warnings
    assert undefined == "Dockerfile:2: UndefinedVar: Usage of undefined variable '$nowhere'"
    assert arg.startswith("Dockerfile:2: no instruction can refer to the variable that ARG a-b")


# -- triggers of a stage --------------------------------------------------------------------


def test_triggers_of_a_stage_are_for_each_stage_on_it_and_not_for_those_on_these():
    made, _ = define_on(
        (),
        "FROM base AS a", "ONBUILD RUN fired", "RUN a",
        "FROM a AS b", "RUN b",
        "FROM b", "RUN c",
    )  # fmt: skip
    assert [each.args[-1] for each in steps(made)] == ["a", "fired", "b", "c"]
    assert made.image.run.on_build == ()


def test_an_image_keeps_what_its_own_stage_recorded_after_triggers():
    made, _ = define_on(("RUN x",), "FROM base AS a", "ONBUILD RUN y", "FROM a", "ONBUILD RUN z")
    assert [each.args[-1] for each in steps(made)] == ["x", "y"]
    assert made.image.run.on_build == ("RUN z",)


# -- the graph of stages --------------------------------------------------------------------


def test_a_trigger_makes_the_stages_be_built_that_it_takes_files_from():
    lines = ("FROM other AS lib", "RUN lib", "FROM gone AS unused", "FROM base", "RUN own")
    made, _ = define_on(("COPY --from=LIB /l /l", "COPY --from=0 /m /m"), *lines)
    lib, first, second, own = steps(made)
    assert lib.args[-1] == "lib" and own.args[-1] == "own"
    assert made.vertices[first.source] is lib and made.vertices[second.source] is lib
    with pytest.raises(ImageNotFound):  # while no trigger asks for it, `gone` is not looked up
        define_on(("COPY --from=unused /l /l",), *lines)


def test_a_stage_that_only_a_trigger_needs_has_triggers_itself():
    made, _ = define_on(
        ("COPY --from=deep /l /l",),
        "FROM other AS deep", "ONBUILD RUN never", "RUN deep",
        "FROM base AS middle",
        "FROM other AS top", "ONBUILD COPY --from=middle /l /m",
        "FROM top",
    )  # fmt: skip
    deep, taken, last = steps(made)
    assert deep.args[-1] == "deep" and made.vertices[taken.source] is deep
    assert made.vertices[last.source] is taken


def test_a_trigger_takes_files_from_an_image_where_no_stage_has_its_name():
    made, _ = define_on(("COPY --from=tools /t /t",), "FROM base")
    (copy,) = steps(made)
    source = made.vertices[copy.source]
    assert isinstance(source, SourceImage) and source.reference == "tools"


@pytest.mark.parametrize(
    "lines",
    [
        ("FROM base AS self",),
        ("FROM other AS self", "FROM self AS b", "FROM base AS self", "COPY --from=b / /"),
    ],
)
def test_a_trigger_that_needs_its_own_stage_is_a_circle(lines):
    with pytest.raises(StageCycle, match="circular dependency detected on stage: self") as caught:
        define_on(("COPY --from=self /l /l",), *lines)
    assert caught.value.where == f"Dockerfile:{1 if len(lines) == 1 else 3}"


def test_a_circle_through_triggers_of_two_stages_is_found():
    with pytest.raises(StageCycle):
        define_on(("COPY --from=b /l /l",), "FROM base AS a", "FROM a AS b")


def test_a_circle_in_the_file_is_found_before_any_image_is_looked_up():
    with pytest.raises(StageCycle):
        define_on((), "FROM gone AS a", "COPY --from=b / /", "FROM gone AS b", "COPY --from=a / /")


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("COPY --from=2 /l /l", 'cannot copy from stage "2", it needs to be defined before '
         'current stage "stage-1"'),
        ("COPY --from=7 /l /l", "invalid stage index 7"),
        ("COPY --from=later /l /l", 'cannot copy from stage "later", it needs to be defined before '
         'current stage "stage-1"'),
    ],
)  # fmt: skip
def test_a_trigger_takes_files_from_earlier_stages_alone(trigger, message):
    with pytest.raises(UnknownStage) as caught:
        define_on((trigger,), "FROM other", "FROM base", "FROM other AS later", target="1")
    assert caught.value.message == message and caught.value.where == "Dockerfile:2"


def test_an_image_that_a_trigger_names_is_missing_at_the_from():
    with pytest.raises(ImageNotFound) as caught:
        define_on(("COPY --from=gone /l /l",), "# x", "FROM base")
    assert caught.value.where == "Dockerfile:2"
    assert caught.value.hint == (
        "it stands in the trigger ONBUILD COPY --from=gone /l /l; no earlier stage is named 'gone'"
    )


# -- built ----------------------------------------------------------------------------------


BASE = """FROM scratch
ONBUILD ARG N=0
ONBUILD WORKDIR /w
ONBUILD COPY f n$N
ONBUILD COPY <<E e
$N
E
"""


def test_an_image_built_here_is_a_base_with_triggers(project):
    project.put({"f": "1", "g": "2"})
    base = project.build(BASE, "base:1")
    assert len(base.config["OnBuild"]) == 4 and base.tars == [] and base.history == []
    built = project.build("FROM base:1\nCOPY g .", build_args={"N": "3"})
    assert sorted(built.tree) == ["w", "w/e", "w/g", "w/n3"] and built.read("w/e") == "3\n"
    assert "OnBuild" not in built.config or not built.config["OnBuild"]


def test_the_second_build_of_triggers_is_cached_and_has_the_digest(project):
    project.put({"f": "1"})
    project.build(BASE, "base:1")
    first = project.build("FROM base:1\nLABEL a=b")
    assert first.executed == ["ONBUILD WORKDIR /w", "ONBUILD COPY f n$N", "ONBUILD COPY <<E e"]
    second = project.build("FROM base:1\nLABEL a=b")
    assert second.executed == [] and second.digest == first.digest
    third = project.build("FROM base:1\nLABEL a=b", build_args={"N": "1"})
    assert third.executed == ["ONBUILD COPY f n$N", "ONBUILD COPY <<E e"]


def test_triggers_and_the_same_lines_share_their_layers(project):
    project.put({"f": "1"})
    project.build("FROM scratch\nONBUILD COPY f /f", "base:1")
    triggered = project.build("FROM base:1")
    written = project.build("FROM scratch\nCOPY f /f")
    assert triggered.executed and written.executed == [] and triggered.tree == written.tree


def test_a_trigger_that_fails_leaves_nothing_and_shows_the_from(project):
    project.build("FROM scratch\nONBUILD COPY gone /f", "base:1")
    with pytest.raises(BuildError, match='"/gone": not found') as caught:
        project.build("FROM base:1", "child:1")
    assert caught.value.where == "Dockerfile:1"
    assert caught.value.hint.startswith("it stands in the trigger ONBUILD COPY gone /f; ")
    names = [str(Reference.parse(name)) for name in ("base:1", "child:1")]
    assert [project.store.refs.get(name) is None for name in names] == [False, True]


def test_no_cache_filter_names_the_stage_of_triggers(project):
    project.put({"f": "1"})
    project.build("FROM scratch\nONBUILD COPY f /f", "base:1")
    project.build("FROM base:1 AS a")
    again = project.build("FROM base:1 AS a", no_cache_filter=("a",))
    assert again.executed == ["ONBUILD COPY f /f"]


def test_an_image_of_another_platform_has_its_own_triggers(project):
    made, _ = define_on(("COPY a b",), "FROM --platform=linux/arm64 base")
    assert steps(made)[0].platform == "linux/arm64"
    assert dataclasses.replace(made.image, run=RunConfig()).platform.architecture == "arm64"
