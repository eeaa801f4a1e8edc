"""``# check=`` and BUILDKIT_DOCKERFILE_CHECK: which checks are executed, and warnings as errors."""

from __future__ import annotations

import pytest

from ocitool import BuildOptions
from ocitool.builder.calls.calls import check
from ocitool.builder.checks.options import CHECK_ARG, CheckOptions
from ocitool.builder.checks.rules import RULES
from ocitool.errors import BuildError, DockerfileError, FormatError
from ocitool.progress import CheckWarning, StepStarted

FAULTS = "FROM scratch as Base\nENV a b\nMAINTAINER me\n# x\nARG c\n"
ALL = ["StageNameCasing", "FromAsCasing", "LegacyKeyValueFormat", "MaintainerDeprecated"]


def rules(tmp_path, text, *, error=False, **build_args):
    options = BuildOptions(context=str(tmp_path), dockerfile=text.encode(), build_args=build_args)
    result = check(options, error=error)
    return [each.rule for each in result.warnings], result.error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ALL),
        ("skip=all", []),
        ("skip=FromAsCasing,LegacyKeyValueFormat", [ALL[0], ALL[3]]),
        ("skip=StageNameCasing;skip=FromAsCasing", [ALL[0], *ALL[2:]]),  # the last one counts
        ("skip=all;experimental=all", ["InvalidDefinitionDescription"]),
        ("experimental=InvalidDefinitionDescription", [*ALL, "InvalidDefinitionDescription"]),
        ("skip=InvalidDefinitionDescription;experimental=all",
         [*ALL, "InvalidDefinitionDescription"]),
        ("error=false;skip=all", []),
        ("skip=all;skip=FromAsCasing", []),
        ("skip=FromAsCasing,all", [ALL[0], *ALL[2:]]),  # "all" is no name
        ("skip=", ALL),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by", ["directive", "argument", "both"])
def test_which_rules_are_executed(tmp_path, text, expected, by):
    directive = {"directive": text, "argument": "", "both": "skip=all;error=true"}[by]
    given = {} if by == "directive" else {CHECK_ARG: text}
    head = f"# check={directive}\n" if directive else ""
    assert rules(tmp_path, head + FAULTS, **given) == (expected, None)


def test_the_value_of_the_line_ends_at_a_blank(tmp_path):
    head = "# check=skip=FromAsCasing // until the next version;skip=all\n"
    assert rules(tmp_path, head + FAULTS) == ([ALL[0], *ALL[2:]], None)
    assert rules(tmp_path, "# check=skip= FromAsCasing\n" + FAULTS) == (ALL, None)
    given = {CHECK_ARG: " error=false ; skip= FromAsCasing , LegacyKeyValueFormat"}
    assert rules(tmp_path, FAULTS, **given) == ([ALL[0], ALL[3]], None)


# -- a comment above an instruction ------------------------------------------------------------

WORDS = "InvalidDefinitionDescription"
ENV = "# check=skip=LegacyKeyValueFormat"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"FROM scratch\n{ENV}\nENV a b", []),
        (f"FROM scratch\n{ENV}\nENV a b\nENV c d", [4]),  # for this one alone
        (f"FROM scratch\n{ENV} // tools read it\nENV a b", []),
        (f"FROM scratch\n{ENV}\n\n# a comment\nENV a b", []),
        (f"FROM scratch\n# a comment\n{ENV}\nENV a b", []),
        (f"FROM scratch\n{ENV}\n#\nENV a b", [4]),  # an empty comment ends it
        (f"FROM scratch\n# check=skip=all\n{ENV}\nENV a b", []),
        (f"FROM scratch\n# check=skip=UndefinedVar\n{ENV}\nENV a b", [4]),  # the first counts
        ("FROM scratch\n# check=skip\nENV a b", [3]),  # invalid: no effect
        ("FROM scratch\n# check=error=true\nENV a b", [3]),  # of the file alone
        (f"{ENV}\nFROM scratch\nENV a b", []),  # the directive of the file
        (f"# escape=`\n#\n{ENV}\nFROM scratch\nENV a b", [5]),  # of FROM alone
        ("FROM scratch\n# check=skip=UndefinedVar\nLABEL a=$b", []),
        ("FROM scratch\n# check=skip=SecretsUsedInArgOrEnv\nARG TOKEN\nARG AUTH", [4]),
        ("FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER me", []),
        ("FROM scratch\n#\n# check=skip=StageNameCasing,FromAsCasing\nFROM scratch as A", []),
        ("FROM scratch\nCMD []\n# check=skip=MultipleInstructionsDisallowed\nCMD []", []),
        ("FROM scratch\n# check=skip=MultipleInstructionsDisallowed\nCMD []\nCMD []", [3]),
        # Rules of the whole file are not asked of one instruction.
        ("FROM scratch\n# check=skip=all\nenv a=b\nENV c=d", [3]),
        ("FROM scratch\n# check=skip=all\nENV a=b \\\n\n c=d", [5]),
        ("FROM scratch AS a\n# check=skip=all\nFROM scratch AS a", [3]),
        (f"FROM scratch\n# check=experimental={WORDS}\n# x\nARG a\n# y\nARG b", [4]),
    ],
)
def test_a_comment_is_for_the_instruction_below(tmp_path, text, expected):
    result = check(BuildOptions(context=str(tmp_path), dockerfile=text.encode()))
    assert ([each.line for each in result.warnings], result.error) == (expected, None)


def test_a_comment_without_effect_is_a_warning(project):
    text = "FROM scratch\n# check=skip=UndefinedVr\nLABEL a=1\n# check=skip\nLABEL b=1"
    assert project.build(text).warnings == (
        "Dockerfile:3: no build check is named UndefinedVr (did you mean UndefinedVar?)",
        'Dockerfile:5: the comment # check= has no effect: invalid check option "skip"',
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ship=all", 'invalid check option "ship"'),
        ("all", 'invalid check option "all"'),
        ("skip=all;", 'invalid check option ""'),
        ("skip=all,error=true;Error=true", 'invalid check option "Error"'),
        ("error=yes", 'failed to parse check option "error=yes": invalid boolean "yes"'),
    ],
)
def test_invalid_options_are_an_error_of_their_line(tmp_path, project, text, message):
    with pytest.raises(FormatError) as caught:
        CheckOptions.parse(text)
    assert caught.value.message == message and "error=true" in caught.value.hint
    found, error = rules(tmp_path, f"# escape=`\n# check={text}\n{FAULTS}")
    assert (found, str(error)) == ([], f"Dockerfile:2: failed to parse check options: {message}")
    assert isinstance(error, DockerfileError) and error.excerpt == (f"# check={text}",)
    with pytest.raises(FormatError, match="Dockerfile:1: failed to parse check options"):
        project.build(f"# check={text}\nFROM scratch")
    _, error = rules(tmp_path, FAULTS, **{CHECK_ARG: text})
    assert str(error) == f"failed to parse {CHECK_ARG}: {message}"


def test_a_name_that_no_rule_has_is_a_warning(project):
    built = project.build("# check=skip=UndefinedVr,all;experimental=nonsense\nFROM scratch")
    assert built.warnings == (
        "Dockerfile:1: no build check is named UndefinedVr (did you mean UndefinedVar?)",
        "Dockerfile:1: no build check is named all",
        "Dockerfile:1: no build check is named nonsense",
    )
    built = project.build("FROM scratch", build_args={CHECK_ARG: "skip=x"})
    assert built.warnings == (f"{CHECK_ARG}: no build check is named x",)  # the ARG is consumed


def test_the_order_of_rules_is_buildkits():
    assert list(RULES)[:3] == ["StageNameCasing", "FromAsCasing", "NoEmptyContinuation"]
    assert list(RULES)[-1] == "ExposeInvalidFormat"


# -- error=true ------------------------------------------------------------------------------


def test_warnings_as_errors_end_a_build_before_any_step(project):
    text = "# check=error=true\nFROM scratch\nCOPY <<E /f\nx\nE\nENV a b\nENV c \\\n  d\nCMD e"
    with pytest.raises(BuildError) as caught:
        project.build(text)
    error = caught.value
    names = "LegacyKeyValueFormat, JSONArgsRecommended"
    assert str(error) == f"Dockerfile:6: lint violation found for rules: {names}"
    assert error.excerpt == ("ENV a b",) and "# check=skip=" in error.hint
    assert project.build(text.replace("true", "false")).executed  # nothing was cached
    assert project.build(text, build_args={CHECK_ARG: "skip=all"}).checks == ()
    fine = text.replace("ENV a b", "").replace("ENV c \\\n  d", "").replace("CMD e", "CMD []")
    assert project.build(fine).checks == ()


def test_what_ends_a_build_is_emitted_before(project):
    class Sink(list):
        emit = list.append

    from ocitool import build

    events = Sink()
    options = BuildOptions(
        context=str(project.top),
        dockerfile=b"FROM scratch\nENV a b\nCOPY . /",
        build_args={CHECK_ARG: "error=1"},
    )
    with pytest.raises(BuildError, match="lint violation"):
        build(options, store=project.store, progress=events)
    assert [each.rule for each in events if isinstance(each, CheckWarning)] == ALL[2:3]
    assert not [each for each in events if isinstance(each, StepStarted)]


def test_a_check_can_be_asked_for_errors(tmp_path):
    found, error = rules(tmp_path, "# check=skip=FromAsCasing\n" + FAULTS, error=True)
    assert found == [ALL[0], *ALL[2:]]
    assert error.message == f"lint violation found for rules: {', '.join(found)}"
    assert rules(tmp_path, "FROM scratch", error=True) == ([], None)
