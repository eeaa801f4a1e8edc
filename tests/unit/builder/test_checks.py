"""Each build check: what it warns of, with BuildKit's words, and what is near and no fault.

The expected texts are what BuildKit (source of 2026-08) says of the same files.
"""

from __future__ import annotations

import re

import pytest

from ocitool import BuildOptions
from ocitool.builder.calls.calls import check
from ocitool.builder.checks.rules import RULES
from ocitool.errors import DockerfileError
from ocitool.oci.platform import this_platform

HERE = this_platform()
OTHER = "linux/s390x"
SIGNALS = "to prevent unintended behavior related to OS signals"
DEFAULT_ARG = "InvalidDefaultArgInFrom"
ONCE = "instructions should not be used in the same stage because only the last one will be used"
FROM_BASE = "can have unexpected results if the base image changes"


def found(tmp_path, *lines, ignore="", **options):
    """Return rule, line and detail of each warning of a Dockerfile that is no error."""
    (tmp_path / ".dockerignore").write_text(ignore)
    result = check(
        BuildOptions(context=str(tmp_path), dockerfile="\n".join(lines).encode(), **options)
    )
    assert result.error is None, result.error
    return [(each.rule, each.line, each.detail) for each in result.warnings]


# fmt: off
CASES = [
    ("StageNameCasing", ("FROM scratch AS Base",), [(1, "Stage name 'Base' should be lowercase")]),
    ("StageNameCasing", ("FROM scratch AS base-1",), []),
    ("FromAsCasing", ("FROM scratch as a", "from scratch As b"),
     [(1, "'as' and 'FROM' keywords' casing do not match"),
      (2, "'As' and 'from' keywords' casing do not match")]),
    ("FromAsCasing", ("from scratch as a", "FROM scratch AS b", "From scratch aS c"), []),
    ("NoEmptyContinuation", ("FROM scratch", "LABEL a=1 \\", "", "  \\", "", "b=2"),
     [(6, "Empty continuation line")]),
    ("NoEmptyContinuation", ("FROM scratch", "LABEL a=1 \\", "# c", "b=2", "", "LABEL c=3"), []),
    ("NoEmptyContinuation", ("FROM scratch", "COPY <<E \\", "", "/f", "a \\", "", "E"),
     [(4, "Empty continuation line")]),
    ("ConsistentInstructionCasing", ("FROM scratch", "env a=1", "LABEL b=1"),
     [(2, "Command 'env' should match the case of the command majority (uppercase)")]),
    ("ConsistentInstructionCasing", ("from scratch", "env a=1", "Label b=1"),
     [(3, "Command 'Label' should match the case of the command majority (lowercase)")]),
    ("ConsistentInstructionCasing", ("from scratch", "LABEL b=1"),
     [(1, "Command 'from' should match the case of the command majority (uppercase)")]),
    ("ConsistentInstructionCasing",
     ("arg A=1", "arg B=1", "FROM scratch", "COPY <<e /f", "env a b", "e"), []),
    ("DuplicateStageName", ("FROM scratch AS a", "FROM scratch AS b", "FROM scratch AS A"),
     [(3, 'Duplicate stage name "a", stage names should be unique')]),
    ("DuplicateStageName", ("FROM scratch AS a", "FROM scratch", "FROM scratch"), []),
    ("ReservedStageName", ("FROM scratch AS Context", "FROM scratch AS scratch"),
     [(1, 'Stage name should not use the same name as reserved stage "context"'),
      (2, 'Stage name should not use the same name as reserved stage "scratch"')]),
    ("ReservedStageName", ("FROM scratch AS contexts",), []),
    ("JSONArgsRecommended", ("FROM scratch", "CMD a", "entrypoint b"),
     [(2, f"JSON arguments recommended for CMD {SIGNALS}"),
      (3, f"JSON arguments recommended for entrypoint {SIGNALS}")]),
    ("JSONArgsRecommended", ("FROM scratch", 'CMD ["a"]', "HEALTHCHECK CMD b", "RUN c"), []),
    ("JSONArgsRecommended", ("FROM scratch AS a", 'SHELL ["/x"]', "FROM a", "CMD b"), []),
    ("JSONArgsRecommended", ("FROM scratch", "CMD ['a']"),
     [(2, f"JSON arguments recommended for CMD {SIGNALS}")]),
    ("MaintainerDeprecated", ("FROM scratch", "maintainer me"),
     [(2, "Maintainer instruction is deprecated in favor of using label")]),
    ("MaintainerDeprecated", ("FROM scratch", "LABEL maintainer=me"), []),
    ("UndefinedArgInFrom", ("ARG NAME=scratch", "FROM ${NAEM:-scratch}"),
     [(2, "FROM argument 'NAEM' is not declared (did you mean NAME?)")]),
    ("UndefinedArgInFrom", ("FROM --platform=$BULIDPLATFORM$BUILDPLATFORM scratch",),
     [(1, "FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)")]),
    ("UndefinedArgInFrom", ("ARG NAME", "FROM scratch$NAME", "FROM --platform=$TARGETOS scratch"),
     []),
    ("WorkdirRelativePath", ("FROM scratch", "WORKDIR a/b/"),
     [(2, f'Relative workdir "a/b/" {FROM_BASE}')]),
    ("WorkdirRelativePath", ("FROM scratch", "WORKDIR $NONE"),
     [(2, f'Relative workdir "" {FROM_BASE}')]),
    ("WorkdirRelativePath",
     ("FROM scratch AS a", "ENV D=/d", "WORKDIR $D", "WORKDIR e", "FROM a", "WORKDIR f"), []),
    ("WorkdirRelativePath", ("FROM scratch", "WORKDIR a", "WORKDIR b"),
     [(2, f'Relative workdir "a" {FROM_BASE}')]),
    ("UndefinedVar", ("FROM scratch", "COPY $a ${b} /", "ENV PATH=$PAHT:/x"),
     [(2, "Usage of undefined variable '$a'"), (2, "Usage of undefined variable '$b'"),
      (3, "Usage of undefined variable '$PAHT' (did you mean $PATH?)")]),
    ("UndefinedVar", ("FROM scratch", "LABEL a=${b:-c} d=${long#x}${long/x/y}${long+z}"),
     [(2, "Usage of undefined variable '$b'"), (2, "Usage of undefined variable '$long'")]),
    ("UndefinedVar", ("FROM scratch", "LABEL a=$longer b=$longer"),
     [(2, "Usage of undefined variable '$longer'")] * 2),
    ("UndefinedVar", ("FROM scratch", "COPY <<E <<'F' /x/", "$first", "E", "$other", "F"),
     [(2, "Usage of undefined variable '$first'")]),
    ("UndefinedVar", ("ARG a=1", "FROM scratch", "ARG one two=$one", "LABEL a=$one b=$two"), []),
    ("UndefinedVar", ("ARG global=1", "FROM scratch", "LABEL a=$global"),
     [(3, "Usage of undefined variable '$global'")]),
    ("UndefinedVar", ("FROM scratch", "RUN --mount=type=tmpfs,target=/x$nothing echo $other"),
     [(2, "Usage of undefined variable '$nothing'")]),
    ("UndefinedVar", ("FROM scratch", "COPY --chown=$nobody --chmod=${modes:-644} f /"),
     [(2, "Usage of undefined variable '$modes'"), (2, "Usage of undefined variable '$nobody'")]),
    ("UndefinedVar", ("FROM scratch", "ARG selfish=$selfish"),
     [(2, "Usage of undefined variable '$selfish'")]),
    ("UndefinedVar",
     ("FROM scratch", "EXPOSE 80 $nothing", "RUN echo $nothing", "CMD $nothing",
      "LABEL a='$nothing' b=\\$nothing c=$BUILDKIT_SBOM_SCAN_STAGE"), []),
    ("MultipleInstructionsDisallowed",
     ("FROM scratch", 'CMD ["a"]', 'ENTRYPOINT ["b"]', "HEALTHCHECK NONE", 'cmd ["c"]',
      "Healthcheck CMD d", "ENTRYPOINT []"),
     [(2, f"Multiple cmd {ONCE}"), (3, f"Multiple ENTRYPOINT {ONCE}"),
      (4, f"Multiple Healthcheck {ONCE}")]),
    ("MultipleInstructionsDisallowed",
     ("FROM scratch AS a", 'CMD ["a"]', "FROM a", 'CMD ["b"]', "USER a", "USER b"), []),
    ("LegacyKeyValueFormat", ("FROM scratch", "ENV a b", "label c d=e"),
     [(2, '"ENV key=value" should be used instead of legacy "ENV key value" format'),
      (3, '"label key=value" should be used instead of legacy "label key value" format')]),
    ("LegacyKeyValueFormat", ("FROM scratch", 'ENV a="b c" d=', "ONBUILD ENV a b"), []),
    ("RedundantTargetPlatform", ("FROM --platform=$TARGETPLATFORM scratch",),
     [(1, "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the"
          " default behavior")]),
    ("RedundantTargetPlatform", ('FROM --platform="${TARGETPLATFORM}" scratch',),
     [(1, "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the"
          " default behavior")]),
    ("RedundantTargetPlatform",
     ("ARG P=$TARGETPLATFORM", "FROM --platform=$BUILDPLATFORM scratch",
      "FROM --platform=$P scratch", "FROM --platform=$TARGETOS/$TARGETARCH scratch",
      "FROM --platform=$TARGETPLATFORM$NONE scratch"), []),
    ("SecretsUsedInArgOrEnv",
     ("FROM scratch", "ARG SECRET_WORDS", "ENV a=1 Api_Key=2", "ENV GIT_TOKEN=1 db_passwd=2",
      "ARG auth pword credentials=1 apikey"),
     [(line, f"Do not use ARG or ENV instructions for sensitive data ({word})")
      for line, word in ((2, 'ARG "SECRET_WORDS"'), (3, 'ENV "Api_Key"'), (4, 'ENV "GIT_TOKEN"'),
                         (4, 'ENV "db_passwd"'), (5, 'ARG "auth"'), (5, 'ARG "pword"'),
                         (5, 'ARG "credentials"'), (5, 'ARG "apikey"'))]),
    ("SecretsUsedInArgOrEnv",
     ("ARG PASSWORD", "FROM scratch", "ARG KEYBOARD", "ENV PUBLIC_KEY=1 SECRET_FILE=/f",
      "ENV TOKEN_VERSION=1 monkey=2", "LABEL token=1"), []),
    ("InvalidDefaultArgInFrom", ("ARG V", "FROM scratch:$V AS a", "FROM scratch AS last"),
     [(2, "Default value for ARG scratch:$V results in empty or invalid base image name")]),
    ("InvalidDefaultArgInFrom", ("ARG V", "FROM $V AS last"),
     [(2, "Default value for ARG $V results in empty or invalid base image name")]),
    ("InvalidDefaultArgInFrom",
     ("ARG V=1", "ARG W", "FROM scratch AS One", "FROM ${W:-scratch}", "FROM one AS last"), []),
    ("FromPlatformFlagConstDisallowed", (f"FROM --platform={HERE} scratch",),
     [(1, f'FROM --platform flag should not use constant value "{HERE}"')]),
    ("FromPlatformFlagConstDisallowed",
     (f"FROM --platform={HERE} scratch AS on_{HERE.architecture}",
      f"FROM --platform={OTHER} scratch AS linux", "ARG P",
      "FROM --platform=$BUILDPLATFORM scratch"), []),
    ("InvalidDefinitionDescription",
     ("# check=experimental=InvalidDefinitionDescription", "# nothing", "ARG a=1", "# b", "ARG c d",
      "# Base is the base", "FROM scratch AS Base"),
     [(3, "Comment for ARG should follow the format: `# a <description>`"),
      (5, "Comment for ARG should follow the format: `# <arg_key> <description>`"),
      (7, "Comment for FROM should follow the format: `# base <description>`")]),
    ("InvalidDefinitionDescription",
     ("# check=skip=all;experimental=all", "# a is one", "", "ARG a=1", "# other", "#", "ARG b",
      "# x", "#", "", "ARG c", "# d the d", "ARG e d", "# no name", "FROM scratch", "# nothing",
      "LABEL a=b"), []),
    ("InvalidDefinitionDescription", ("# nothing", "ARG a", "# b", "FROM scratch AS a"), []),
    ("ExposeProtoCasing", ("FROM scratch", "ENV P=90/Udp", "EXPOSE 80/TCP $P 70/udp"),
     [(3, "Defined protocol '90/Udp' in EXPOSE instruction should be lowercase"),
      (3, "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase")]),
    ("ExposeProtoCasing", ("FROM scratch", "expose 80/tcp 1-3 5/sctp"), []),
    ("ExposeInvalidFormat", ("FROM scratch", "EXPOSE 127.0.0.1:80:81 8080:82/udp"),
     [(2, f"EXPOSE instruction should not define an IP address or host-port mapping, found {port}")
      for port in ("'127.0.0.1:80:81'", "'8080:82/udp'")]),
    ("ExposeInvalidFormat", ("FROM scratch", "EXPOSE 80 81/udp 90-92 :83"), []),
]
# fmt: on


@pytest.mark.parametrize(("rule", "lines", "expected"), CASES, ids=range(len(CASES)))
def test_what_a_rule_warns_of(tmp_path, rule, lines, expected):
    given = {"build_args": {"V": "scratch"}, "target": "last"} if rule == DEFAULT_ARG else {}
    warnings = found(tmp_path, *lines, **given)
    assert [each[1:] for each in warnings if each[0] == rule] == expected


def test_each_rule_has_a_case_and_a_near_miss():
    others = {"InvalidBaseImagePlatform", "CopyIgnoredFile"}  # below
    for rule in RULES.keys() - others:
        assert {bool(expected) for name, _, expected in CASES if name == rule} == {True, False}


def test_rules_are_found_by_their_names_and_explained():
    assert len(RULES) == 22
    for name, rule in RULES.items():
        slug = rule.url.removeprefix("https://docs.docker.com/go/dockerfile/rule/")
        if name == "InvalidBaseImagePlatform":
            assert rule.url == ""  # BuildKit has no page for it
        else:
            assert slug.replace("-", "") == f"{name.lower()}/"
    assert RULES["JSONArgsRecommended"].url.endswith("/json-args-recommended/")
    assert RULES["SecretsUsedInArgOrEnv"].url.endswith("/secrets-used-in-arg-or-env/")
    experimental = [name for name, rule in RULES.items() if rule.experimental]
    assert experimental == ["InvalidDefinitionDescription"]


# -- files of the context ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignore", "line", "paths"),
    [
        ("a", "COPY a b /x/", ["a"]),
        ("a", "ADD ./a/ d/../a /x/", ["a", "a"]),
        ("d", "COPY d/a /", ["d/a"]),
        ("d/*", "COPY d /x", []),
        ("*.txt", "COPY *.txt /", ["*.txt"]),
        ("*.txt", "COPY *.md a.txt /x/", ["a.txt"]),
        ("**/c", "COPY d/e/c /", ["d/e/c"]),
        ("*", "COPY . /", ["."]),
        ("**/*", "COPY . /", ["."]),
        ("a\nd", "COPY . /", []),
        ("a", "COPY /a /", []),  # as BuildKit, which compares it as it is written
        ("*", "COPY /a /", ["/a"]),
        ("*\n!a", "COPY a b /x/", ["b"]),
        ("*\n!d/a", "COPY d d/b /x/", ["d/b"]),
        ("*\n!*/a", "COPY d d/b /x/", []),  # may be included
        ("s.b\n!s\\.b/k", "COPY s.b s.b/l /x/", ["s.b/l"]),
        ("s*b\n!s\\*b/k", "COPY s*b /x/", []),
        ("sub\n!su\\.b/k", "COPY sub /x/", ["sub"]),
        ("s\n!s/a", "COPY s/* /x/", []),
        ("s\n!s/a", "COPY */b /x/", []),
        ("!s/a\ns", "COPY s s/a /x/", ["s", "s/a"]),
        ("!s/a\ns\n!s/a", "COPY s /x/", []),
        ("!s/*\ns", "COPY s /x/", []),
        ("s\n!s/a", "COPY t* s/b /x/", ["s/b"]),
        ("*\n!d", "COPY . /", []),
        ("!a\na", "COPY a /", ["a"]),
        ("", "COPY a /", []),
        ("a", "ADD https://h/a /x/", []),
        ("a", "COPY --link a /", ["a"]),
        ("a", "COPY <<a /x|a", []),
    ],
)
def test_what_the_ignore_file_excludes_is_not_copied(tmp_path, ignore, line, paths):
    word = "Add" if line.startswith("ADD") else "Copy"
    assert found(tmp_path, "FROM scratch", *line.split("|"), ignore=ignore) == [
        ("CopyIgnoredFile", 2,
         f'Attempting to {word} file "{path}" that is excluded by .dockerignore')
        for path in paths
    ]  # fmt: skip


def test_files_of_a_stage_are_not_those_of_the_context(tmp_path):
    lines = ("FROM scratch AS s", "COPY b /a", "FROM scratch", "COPY --from=s /a a /x/")
    assert found(tmp_path, *lines, ignore="a\n") == []


# -- images ---------------------------------------------------------------------------------


def put(project, name, architecture, **fields):
    project.image(name, {"f": "x"}, os="linux", architecture=architecture, **fields)


def checked(project, *lines, **options):
    given = BuildOptions(
        context=str(project.top), dockerfile="\n".join(lines).encode(), pull="never", **options
    )
    return check(given, store=project.store)


@pytest.mark.slow
def test_the_platform_of_a_base_image(project):
    put(project, "here:1", HERE.architecture)
    assert checked(project, "FROM here:1", "FROM here:1 AS b").warnings == ()
    result = checked(project, f"FROM --platform={OTHER} here:1 AS linux")
    assert result.warnings == () and "wanted linux/s390x" in str(result.error)


@pytest.mark.slow
def test_environment_working_directory_and_shell_are_those_of_the_base(project):
    config = {"Env": ["KNOWN=1"], "WorkingDir": "/w", "Shell": ["/x"]}
    put(project, "base:1", HERE.architecture, config=config)
    result = checked(project, "FROM base:1", "LABEL a=$KNOWN b=$KNOWM", "CMD a", "WORKDIR b")
    assert [str(each) for each in result.warnings] == [
        "Dockerfile:2: UndefinedVar: Usage of undefined variable '$KNOWM' (did you mean $KNOWN?)",
        f'Dockerfile:4: WorkdirRelativePath: Relative workdir "b" {FROM_BASE}',
    ]


@pytest.mark.slow
def test_triggers_are_checked_where_they_are_executed(project):
    triggers = ["ENV a b", "CMD $c", "copy $longer /x"]
    put(project, "base:1", HERE.architecture, config={"OnBuild": triggers})
    result = checked(project, "# x", "FROM base:1", 'CMD ["d"]')
    assert [(each.rule, each.line, each.excerpt) for each in result.warnings] == [
        (rule, 2, ("FROM base:1",))
        for rule in ("LegacyKeyValueFormat", "JSONArgsRecommended", "UndefinedVar",
                     "MultipleInstructionsDisallowed")
    ]  # fmt: skip


# -- which stages, and which lines -----------------------------------------------------------


def test_all_stages_are_checked_and_with_a_target_those_it_needs(tmp_path):
    lines = (
        "FROM scratch AS a",
        "ENV a b",
        "FROM scratch AS b",
        "WORKDIR c",
        "FROM a AS d",
        "CMD e",
    )
    assert [each[1] for each in found(tmp_path, *lines)] == [2, 4, 6]
    assert [each[1] for each in found(tmp_path, *lines, target="d")] == [2, 6]
    assert [each[1] for each in found(tmp_path, *lines, target="b")] == [4]


def test_a_build_checks_the_stages_that_it_needs(project):
    built = project.build("FROM scratch AS a\nENV a b\nFROM scratch AS A\nENV c d\nFROM scratch")
    assert [(each.rule, each.line) for each in built.checks] == [
        ("StageNameCasing", 3), ("DuplicateStageName", 3),
    ]  # fmt: skip
    assert built.warnings == tuple(map(str, built.checks))


def test_a_warning_has_all_lines_of_the_instruction(tmp_path):
    (tmp_path / ".dockerignore").write_text("")
    text = b"FROM scratch\nENV a \\\n  # c\n  b\nCOPY <<E /\n$nothing\nE\n"
    result = check(BuildOptions(context=str(tmp_path), dockerfile=text))
    assert [(each.line, each.last_line, each.excerpt) for each in result.warnings] == [
        (2, 4, ("ENV a \\", "  # c", "  b")), (5, 7, ("COPY <<E /", "$nothing", "E")),
    ]  # fmt: skip


# -- errors ----------------------------------------------------------------------------------


def test_what_is_found_before_an_error_is_in_the_result(tmp_path):
    lines = "FROM scratch AS Bad\nMAINTAINER me\nENV a b\nNONSENSE\nMAINTAINER you"
    result = check(BuildOptions(context=str(tmp_path), dockerfile=lines.encode()))
    assert [each.rule for each in result.warnings] == ["StageNameCasing", "MaintainerDeprecated"]
    assert str(result.error) == "Dockerfile:4: unknown instruction: NONSENSE"
    lines = "FROM scratch\nENV a b\nCOPY --chmod=x $c /\nCMD x"
    result = check(BuildOptions(context=str(tmp_path), dockerfile=lines.encode()))
    assert [each.rule for each in result.warnings] == ["LegacyKeyValueFormat", "UndefinedVar"]
    assert re.match("Dockerfile:3: invalid chmod", str(result.error))


def test_an_empty_platform_is_an_error(tmp_path):
    lines = "FROM --platform=$BULIDPLATFORM scratch"
    result = check(BuildOptions(context=str(tmp_path), dockerfile=lines.encode()))
    assert [each.rule for each in result.warnings] == ["UndefinedArgInFrom"]
    assert str(result.error) == (
        "Dockerfile:1: empty platform value from expression $BULIDPLATFORM (did you mean"
        " BUILDPLATFORM?)"
    )


def test_a_platform_that_cannot_be_parsed_is_named_as_it_is_written(tmp_path):
    lines = "ARG MY_ARCH=amd64\nFROM --platform=linux/${MYARCH} scratch"
    result = check(BuildOptions(context=str(tmp_path), dockerfile=lines.encode()))
    assert [each.detail for each in result.warnings] == [
        "FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)"
    ]
    message = (
        'failed to parse platform linux/${MYARCH}: "" is an invalid component of "linux/": platform'
        ' specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument (did you mean'
        " MY_ARCH?)"
    )
    assert str(result.error) == f"Dockerfile:2: {message}"


def test_a_default_that_is_not_used_is_not_expanded(project):
    text = "ARG A=${B?gone}\nFROM scratch\nARG C=${D?gone}\nLABEL c=$C"
    built = project.build(text, build_args={"A": "1", "C": "2"})
    assert built.config["Labels"] == {"c": "2"} and built.checks == ()
    with pytest.raises(
        DockerfileError, match=r'Dockerfile:1: failed to process "\${B\?gone}": B: gone'
    ):
        project.build(text, build_args={"C": "2"})
    with pytest.raises(
        DockerfileError, match=r'Dockerfile:3: failed to process "\${D\?gone}": D: gone'
    ):
        project.build(text, build_args={"A": "2"})
