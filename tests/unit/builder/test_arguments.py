"""ARG and ENV: who sees which value, and where."""

from __future__ import annotations

from ocitool.oci.platform import this_platform
from tests.unit.builder.conftest import BuildFixture


def environment(project: BuildFixture, text: str, **options) -> dict[str, str]:
    env = project.build(text, **options).config["Env"]
    return dict(entry.split("=", 1) for entry in env)


def test_of_arg_and_env_the_later_wins_and_env_alone_stays(project):
    env = environment(
        project,
        "FROM scratch\nARG A=arg\nENV A=env\nENV ONE=$A\nARG A=later\nENV TWO=$A\n"
        "ARG B=b\nENV THREE=$B",
    )
    assert env["ONE"] == "env" and env["TWO"] == "later" and env["THREE"] == "b"
    assert env["A"] == "env" and "B" not in env


def test_one_env_sees_what_was_before_it_and_one_arg_each_in_turn(project):
    env = environment(project, "FROM scratch\nENV A=1\nENV A=2 B=$A\nARG x=1 y=$x\nENV C=$y")
    assert (env["A"], env["B"], env["C"]) == ("2", "1", "1")


def test_global_args_must_be_declared_again(project):
    text = "ARG V=global\nARG W=$V-w\nFROM scratch\nENV A=[$V]\nARG V\nARG W=own\nENV B=$V C=$W"
    assert environment(project, text) | {"PATH": ""} == {
        "PATH": "",
        "A": "[]",
        "B": "global",
        "C": "own",
    }
    given = environment(project, text, build_args={"V": "given", "W": "too"})
    assert (given["A"], given["B"], given["C"]) == ("[]", "given", "too")


def test_an_arg_without_a_value_changes_nothing(project):
    env = environment(project, "FROM scratch\nENV A=kept\nARG A\nARG B\nENV C=$A D=[$B]")
    assert env["C"] == "kept" and env["D"] == "[]"


def test_args_go_to_stages_on_top_and_not_by_copy(project):
    project.put({"f": "1"})
    text = (
        "FROM scratch AS one\nARG A=1\nENV E=$A\nCOPY f /\n"
        "FROM one AS two\nENV B=[$A$E]\n"
        "FROM scratch\nCOPY --from=two f /\nENV B=[$A$E]\n"
    )
    assert environment(project, text, target="two")["B"] == "[11]"
    assert environment(project, text)["B"] == "[]"


def test_platform_args_must_be_declared(project):
    here = this_platform()
    env = environment(
        project, "FROM scratch AS s\nENV A=[$TARGETARCH]\nARG TARGETARCH TARGETPLATFORM TARGETSTAGE"
        "\nENV B=$TARGETARCH C=$TARGETPLATFORM D=$TARGETSTAGE",
    )  # fmt: skip
    assert env["A"] == "[]" and env["B"] == here.architecture
    assert env["C"] == str(here) and env["D"] == "s"
    unnamed = "FROM scratch\nARG TARGETSTAGE\nENV A=$TARGETSTAGE"
    assert environment(project, unnamed)["A"] == "default"
    text = f"{unnamed.replace('scratch', 'scratch AS one')}\nFROM one AS Two"
    assert environment(project, text)["A"] == "two"
    assert environment(project, text, target="ONE")["A"] == "ONE"
    text = "FROM scratch\nARG BUILDOS\nENV A=$BUILDOS"
    assert environment(project, text, build_args={"BUILDOS": "mine"})["A"] == "mine"


def test_source_date_epoch_can_be_asked_for(project):
    text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nENV A=$SOURCE_DATE_EPOCH"
    assert environment(project, text, source_date_epoch=7)["A"] == "7"
    assert environment(project, text, build_args={"SOURCE_DATE_EPOCH": "8"})["A"] == "8"


def test_warnings(project):
    text = "ARG G\nFROM scratch\nARG USED\nENV A=$USED$NOWHERE ${D:-fine}=1\n"
    args = {"USED": "1", "TYPO": "2", "G": "3", "http_proxy": "4"}
    assert project.build(text, build_args=args).warnings == (
        "one or more build args were not consumed: TYPO",
        "Dockerfile:4: UndefinedVar: Usage of undefined variable '$NOWHERE'",
        "Dockerfile:4: UndefinedVar: Usage of undefined variable '$D'",
    )
