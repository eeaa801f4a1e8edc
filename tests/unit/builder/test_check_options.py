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
        ("skip= FromAsCasing , LegacyKeyValueFormat", [ALL[0], ALL[3]]),
        ("skip=StageNameCasing;skip=FromAsCasing", [ALL[0], *ALL[2:]]),  # the last one counts
        ("skip=all;experimental=all", ["InvalidDefinitionDescription"]),
        ("experimental=InvalidDefinitionDescription", [*ALL, "InvalidDefinitionDescription"]),
        ("skip=InvalidDefinitionDescription;experimental=all",
         [*ALL, "InvalidDefinitionDescription"]),
        (" error=false ; skip=all ", []),
        ("skip=", ALL),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by", ["directive", "argument", "both"])
def test_which_rules_are_executed(tmp_path, text, expected, by):
    directive = {"directive": text, "argument": "", "both": "skip=all;error=true"}[by]
    given = {} if by == "directive" else {CHECK_ARG: text}
    head = f"# check={directive}\n" if directive else ""
    assert rules(tmp_path, head + FAULTS, **given) == (expected, None)


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
