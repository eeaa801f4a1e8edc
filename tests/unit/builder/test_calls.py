"""The answers to check, outline and targets, as BuildKit and buildx have them."""

from __future__ import annotations

import base64
import os

import pytest

from ocitool import BuildOptions
from ocitool.builder.calls import calls, documents, texts
from ocitool.errors import BuildError, DockerfileError, OcitoolError


def given(tmp_path, text, **options):
    return BuildOptions(context=str(tmp_path), dockerfile=text.encode(), **options)


def at(*lines):
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}


# -- check -----------------------------------------------------------------------------------


def test_the_document_of_a_check(tmp_path):
    text = "FROM scratch\nENV a \\\n b\nCPOY x y"
    document = documents.checks_document(calls.check(given(tmp_path, text)))
    source = base64.b64encode(text.encode()).decode()
    assert document == {
        "warnings": [],
        "sources": [{"filename": "Dockerfile", "data": source, "language": "Dockerfile"}],
        "buildError": {
            "message": "dockerfile parse error on line 4: unknown instruction: CPOY "
            "(did you mean COPY?)",
            "location": at(4),
        },
    }
    document = documents.checks_document(calls.check(given(tmp_path, text[:-9])))
    assert "buildError" not in document
    assert document["warnings"] == [
        {
            "ruleName": "LegacyKeyValueFormat",
            "description": "Legacy key/value format with whitespace separator should not be used",
            "url": "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",
            "detail": '"ENV key=value" should be used instead of legacy "ENV key value" format',
            "location": at(2, 3),
        }
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ARG A\nFROM busy:$A", 'failed to parse stage name "busy:": invalid reference format'),
        ("FROM scratch\nCOPY --chmod=9 a b", "invalid chmod"),
        ("# check=x\nFROM scratch", 'failed to parse check options: invalid check option "x"'),
        ("FROM scratch\nCOPY <<E /\n", "unterminated heredoc"),
        ("FROM scratch\nENV a", "ENV must have two arguments"),
    ],
)
def test_errors_in_a_document_are_buildkits(tmp_path, text, message):
    document = documents.checks_document(calls.check(given(tmp_path, text)))
    assert document["buildError"]["message"].startswith(message)


def test_the_text_of_a_check(tmp_path):
    lines = ["# 1", "# 2", "# 3", "FROM scratch", "ENV a \\", "  b", "CMD x", ""]
    result = calls.check(given(tmp_path, "\n".join(lines)))
    assert "\n".join(texts.checks_text(result)) == (
        "Check complete, 2 warnings have been found!\n"
        "\n"
        "WARNING: LegacyKeyValueFormat - "
        "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/\n"
        '"ENV key=value" should be used instead of legacy "ENV key value" format\n'
        "Dockerfile:5\n"
        "--------------------\n"
        "   4 |     FROM scratch\n"
        "   5 | >>> ENV a \\\n"
        "   6 | >>>   b\n"
        "   7 |     CMD x\n"
        "--------------------\n"
        "\n"
        "WARNING: JSONArgsRecommended - "
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n"
        "Dockerfile:7\n"
        "--------------------\n"
        "   5 |     ENV a \\\n"
        "   6 |       b\n"
        "   7 | >>> CMD x\n"
        "   8 |\n"
        "--------------------"
    )
    clean = calls.check(given(tmp_path, "FROM scratch"))
    assert list(texts.checks_text(clean)) == ["Check complete, no warnings found."]
    one = list(texts.checks_text(calls.check(given(tmp_path, "FROM scratch\nCMD x"))))
    assert one[0] == "Check complete, 1 warning has been found!"
    broken = calls.check(given(tmp_path, "FROM scratch\nNO"))
    assert list(texts.checks_text(broken)) == []


def test_a_missing_dockerfile_is_no_answer(tmp_path):
    with pytest.raises(BuildError, match="failed to read dockerfile"):
        calls.check(BuildOptions(context=str(tmp_path)))


def test_several_dockerfiles_are_read_as_one(tmp_path):
    (tmp_path / "one").write_text("# check=skip=JSONArgsRecommended\nFROM scratch\nENV a b\n")
    (tmp_path / "two").write_text("CMD x\nMAINTAINER me\nNONSENSE\n")
    names = tuple(str(tmp_path / name) for name in ("one", "two"))
    result = calls.check(BuildOptions(context=str(tmp_path), file=names))
    document = documents.checks_document(result)
    assert [each["filename"] for each in document["sources"]] == list(names)
    (warning,) = document["warnings"]  # the others come after the error
    assert (warning["ruleName"], warning["location"]) == (
        "MaintainerDeprecated", {"sourceIndex": 1, **at(2)},
    )  # fmt: skip
    assert document["buildError"]["location"] == {"sourceIndex": 1, **at(3)}
    (tmp_path / "two").write_text("CMD x\nMAINTAINER me\n")
    text = list(texts.checks_text(calls.check(BuildOptions(context=str(tmp_path), file=names))))
    assert f"{names[0]}:3" in text and "   3 | >>> ENV a b" in text
    assert text[-6:-4] == [f"{names[1]}:2", "-" * 20]
    assert text[-4:-1] == ["   1 |     CMD x", "   2 | >>> MAINTAINER me", "   3 |"]


# -- images ----------------------------------------------------------------------------------


def test_no_store_is_opened_where_no_image_is_looked_up(tmp_path):
    def opener():
        raise AssertionError("the store was opened")

    text = "FROM scratch AS a\nFROM a\nCOPY --from=a x y\n"
    assert calls.check(given(tmp_path, text), store=opener).error is None
    assert calls.outline(given(tmp_path, text), store=opener).outline.name == ""
    assert len(calls.targets(given(tmp_path, "FROM gone:1\nFROM gone:2")).targets) == 2


@pytest.mark.slow
def test_images_are_looked_up_and_nothing_is_written(project):
    def files():
        return {
            os.path.join(top, name): os.lstat(os.path.join(top, name)).st_mtime_ns
            for top, folders, names in os.walk(project.store.layout.root)
            for name in (*folders, *names)
        }

    project.image("base:1", {"f": "x"}, config={"Env": ["A=1"]})
    before = files()
    text = "FROM base:1\nARG B=$A$C"
    options = given(project.top, text, pull="never")
    result = calls.check(options, store=project.store)
    assert [each.detail for each in result.warnings] == [
        "Usage of undefined variable '$C' (did you mean $A?)"
    ]
    (argument,) = calls.outline(options, store=lambda: project.store).outline.arguments
    assert argument.value == "1" and files() == before
    missing = calls.check(options)  # without a store
    assert "base:1" in str(missing.error)


# -- outline ---------------------------------------------------------------------------------


def outline(tmp_path, *lines, **options):
    result = calls.outline(given(tmp_path, "\n".join(lines), **options))
    document = documents.outline_document(result)
    document.pop("sources")
    return document, "\n".join(texts.outline_text(result))


def test_arguments_of_an_outline(tmp_path):
    document, text = outline(
        tmp_path,
        "# VERSION of the program",
        "ARG VERSION=1",
        "ARG UNUSED=2",
        "ARG HOST=example.com",
        "# BASE is where it begins",
        "ARG BASE=scratch",
        "FROM $BASE AS first",
        "ARG VERSION",
        "# FLAVOR of it",
        "# is the second line",
        "ARG FLAVOR=$VERSION-x OTHER",
        "# main has everything",
        "FROM first AS main",
        "ARG LATE TARGETARCH",
        build_args={"OTHER": "given"},
    )
    assert document == {
        "name": "main",
        "description": "has everything",
        "args": [
            {"name": "VERSION", "description": "of the program", "value": "1", "location": at(2)},
            {"name": "BASE", "description": "is where it begins", "value": "scratch",
             "location": at(6)},
            {"name": "FLAVOR", "description": "of it", "value": "1-x", "location": at(11)},
            {"name": "OTHER", "value": "given", "location": at(11)},
            {"name": "LATE", "location": at(14)},
        ],
    }  # fmt: skip
    assert text == (
        "TARGET:      main\nDESCRIPTION: has everything\n\n"
        "BUILD ARG   VALUE     DESCRIPTION\n"
        "VERSION     1         of the program\n"
        "BASE        scratch   is where it begins\n"
        "FLAVOR      1-x       of it\n"
        "OTHER       given\n"
        "LATE\n"
    )


def test_a_value_that_is_given_is_that_of_the_stages_arg(tmp_path):
    lines = ("# V of it", "ARG V=1", "FROM scratch", "ARG V")
    document, text = outline(tmp_path, *lines, build_args={"V": "9"})
    assert document == {"args": [{"name": "V", "value": "9", "location": at(4)}]}
    assert text.startswith("BUILD ARG   VALUE   DESCRIPTION\nV           9\n")


def test_what_a_default_uses_is_an_argument_too(tmp_path):
    lines = ("ARG HOST=h", "ARG BASE=scratch${HOST+}", "FROM $BASE", "FROM scratch", "ARG NONE=1")
    names = [each["name"] for each in outline(tmp_path, *lines, target="0")[0]["args"]]
    assert names == ["HOST", "BASE"]
    names = [each["name"] for each in outline(tmp_path, *lines)[0]["args"]]
    assert names == ["NONE"]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["ARG B=b", "ARG A=${B:+scratch}", "ARG B=c", "FROM $A"], ["A", "B"]),
        (["ARG B=tch", "ARG A=scra$B", "ARG A=$A$NONE", "FROM $A"], ["B", "A"]),
        (["ARG B=tch", "ARG A=scra$B", "ARG A=scratch", "FROM $A"], ["A"]),
        (["ARG C=c", "ARG A=${B:-scratch$D}${C:+}", "ARG B=b D=d", "FROM $A"], ["C", "A"]),
        (["ARG B=tch", "ARG A=scra$B", "FROM $A", "ARG A=own"], ["A"]),
        (["ARG B=tch", "ARG A=scra$B", "FROM $A", "ARG A"], ["B", "A"]),
        (["ARG A=a", "ARG B=$A", "ARG A=$B", "FROM scratch", "ARG A"], ["B", "A"]),
    ],
)
def test_what_a_default_uses_is_what_it_used_when_it_was_evaluated(tmp_path, lines, names):
    args = outline(tmp_path, *lines)[0]["args"]
    assert [each["name"] for each in args] == names


def test_stages_that_the_target_needs_are_in_its_outline(tmp_path):
    lines = ("FROM scratch AS a", "ARG A=1", "ARG X=a", "FROM scratch AS b", "ARG B=2",
             "FROM scratch AS c", "COPY --from=a / /", "ARG X=c")  # fmt: skip
    args = outline(tmp_path, *lines)[0]["args"]
    assert [(each["name"], each["value"]) for each in args] == [("A", "1"), ("X", "c")]
    args = outline(tmp_path, *lines, target="b")[0]["args"]
    assert [(each["name"], each["value"]) for each in args] == [("B", "2")]
    assert outline(tmp_path, "FROM scratch") == ({}, "")


def test_secrets_and_agents_of_an_outline(tmp_path):
    document, text = outline(
        tmp_path,
        "FROM scratch AS base",
        "ARG ID=token",
        "RUN --mount=type=secret,id=$ID,required=true --mount=type=ssh,id=git a",
        "RUN --mount=type=secret,target=/x/b --mount=type=cache,target=/c --mount=type=ssh b",
        "FROM scratch AS unused",
        "RUN --mount=type=secret,id=never c",
        "FROM base",
        "RUN --mount=type=secret,id=token,env=T \\",
        "  --mount=type=ssh,required=true d",
    )
    assert document["secrets"] == [
        {"name": "b", "location": at(4)},
        {"name": "token", "location": at(8, 9)},  # as the target has it
    ]
    assert document["ssh"] == [
        {"name": "git", "location": at(3)},
        {"name": "default", "required": True, "location": at(8, 9)},
    ]
    assert text.endswith("SECRET   REQUIRED\nb\ntoken\n\nSSH       REQUIRED\ngit\ndefault   true\n")


def test_an_outline_of_what_cannot_be_built_is_an_error(tmp_path):
    with pytest.raises(DockerfileError, match="Dockerfile:2: unknown instruction"):
        outline(tmp_path, "FROM scratch", "NONSENSE")


# -- targets ---------------------------------------------------------------------------------


def test_targets(tmp_path):
    text = (
        "ARG V=1\n# Build has the tools\nFROM --platform=$BUILDPLATFORM gone:$V AS Build\n"
        "# build has the tools\n# and more\nFROM \\\n  gone AS build2\n\n"
        "# build has the tools\nFROM x AS build\nFROM scratch\n"
    )
    result = calls.targets(given(tmp_path, text))
    document = documents.targets_document(result)
    assert document.pop("sources") == [base64.b64encode(text.encode()).decode()]
    assert document == {
        "targets": [
            {"name": "build", "base": "gone:$V", "platform": "$BUILDPLATFORM", "location": at(3)},
            {"name": "build2", "base": "gone", "location": at(6, 7)},
            {"name": "build", "description": "has the tools", "base": "x", "location": at(10)},
            {"default": True, "base": "scratch", "location": at(11)},
        ]
    }
    assert list(texts.targets_text(result)) == [
        "TARGET    DESCRIPTION", "build", "build2", "build     has the tools", "(default)",
    ]  # fmt: skip


def test_what_can_be_asked():
    assert list(texts.requests_text(documents.REQUESTS)) == [
        "NAME                 VERSION DESCRIPTION",
        "outline              1.0.0   List all parameters current build target supports",
        "targets              1.0.0   List all targets current build supports",
        "subrequests.describe 1.0.0   List available subrequest types",
    ]
    assert [each["opts"] for each in documents.REQUESTS] == [
        [{"name": "target", "description": "Target build stage"}],
        [],
        None,
    ]


def test_a_dockerfile_is_needed_to_ask_what_can_be_asked(tmp_path):
    with pytest.raises(OcitoolError, match="failed to read dockerfile"):
        calls.dockerfile(BuildOptions(context=str(tmp_path)))
