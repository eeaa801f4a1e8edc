"""What instructions make of the configuration, and what a stage takes over from its base."""

from __future__ import annotations

import pytest

from ocitool.errors import DockerfileError, OcitoolError
from ocitool.oci.platform import this_platform
from ocitool.progress import Notice
from tests.unit.builder.conftest import BuildFixture

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def config(project: BuildFixture, *lines: str, base: str = "scratch", **options):
    return project.build("\n".join([f"FROM {base}", *lines]), **options).config


def test_scratch_has_a_path_and_a_directory(project):
    assert config(project) == {"Env": [PATH], "WorkingDir": "/"}


def test_labels_given_override_those_of_the_dockerfile(project):
    given = {"a": "given", "b": ""}
    built = project.build("FROM scratch\nLABEL a=1 c=2", labels=given)
    assert built.config["Labels"] == {"a": "given", "b": "", "c": "2"}
    assert [entry["created_by"] for entry in built.history] == ["LABEL a=1 c=2"]  # as BuildKit's
    plain = project.build("FROM scratch\nLABEL a=1 c=2")
    assert plain.config["Labels"] == {"a": "1", "c": "2"}
    assert plain.digest != built.digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "directory"), [("/a/../b/", "/b"), ("app", "/app"), ("//x", "/x")]
)
def test_the_directory_of_a_base_is_absolute(project, written, directory):
    project.image("base:1", config={"WorkingDir": written})
    assert config(project, base="base:1")["WorkingDir"] == directory


@pytest.mark.slow
def test_a_bases_own_path_stays(project):
    project.image("base:1", config={"Env": ["PATH=/mine", "A=1"]})
    assert config(project, base="base:1")["Env"] == ["PATH=/mine", "A=1"]
    project.image("bare:1", config={"Env": ["A=1"]})
    assert config(project, base="bare:1")["Env"] == ["A=1", PATH]


@pytest.mark.slow
def test_from_takes_global_args(project):
    project.image("base:1", config={"User": "me"})
    project.image("base:2", config={"User": "you"})
    text = "ARG TAG=1\nFROM base:${TAG}\n"
    assert project.build(text).config["User"] == "me"
    assert project.build(text, build_args={"TAG": "2"}).config["User"] == "you"
    with pytest.raises(DockerfileError, match="should not be blank") as caught:
        project.build("ARG B\nFROM $B")
    assert caught.value.line == 2


@pytest.mark.slow
def test_platform_of_from(project):
    project.image("base:1", {"f": ""})
    other = next(name for name in ("arm64", "amd64") if name != this_platform().architecture)

    def architecture(*lines: str, **options) -> str:
        return project.build("\n".join(lines), **options).document["architecture"]

    # An image is for its base's platform, unless one was asked for; scratch has none of its own.
    here = this_platform().architecture
    assert architecture(f"FROM --platform=linux/{other} scratch") == here
    assert architecture("FROM base:1", platform=f"linux/{here}") == here
    asked = (f"FROM --platform=linux/{here} base:1", "LABEL a=b")
    assert architecture(*asked) == here
    assert architecture(*asked, platform=f"linux/{other}") == other
    with pytest.raises(DockerfileError) as caught:
        project.build("FROM --platform=a/b/c/d/e scratch")
    assert caught.value.line == 1


def test_everything_else(project):
    fields = config(
        project,
        "LABEL a=1 $NONE=z b='two words'",
        "LABEL a=2",
        "EXPOSE 80 53/UDP 8000-8002/tcp",
        'VOLUME ["/a b"]',
        "VOLUME /c /d",
        "STOPSIGNAL SIGUSR1",
        "USER me:us",
        'SHELL ["/bin/ash", "-e"]',
        "HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --retries=2 CMD check it",
        'ENTRYPOINT ["run", "it"]',
        "CMD with $A",
    )
    assert fields["Labels"] == {"": "z", "a": "2", "b": "two words"}
    assert sorted(fields["ExposedPorts"]) == [
        "53/udp",
        "80/tcp",
        "8000/tcp",
        "8001/tcp",
        "8002/tcp",
    ]
    assert sorted(fields["Volumes"]) == ["/a b", "/c", "/d"]
    assert fields["StopSignal"] == "SIGUSR1" and fields["User"] == "me:us"
    assert fields["Shell"] == ["/bin/ash", "-e"]
    second = 1_000_000_000
    assert fields["Healthcheck"] == {
        "Test": ["CMD-SHELL", "check it"],
        "Interval": 5 * second,
        "Timeout": 60 * second,
        "StartPeriod": 2 * second,
        "Retries": 2,
    }
    assert fields["Entrypoint"] == ["run", "it"] and fields["Cmd"] == ["/bin/ash", "-e", "with $A"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("EXPOSE 1-", "invalid containerPort"),
        ("EXPOSE $P", "invalid containerPort"),
        ("EXPOSE 8000-8001:90-92", "invalid ranges specified for container and host Ports"),
        ("EXPOSE host:80:80", "invalid IP address: host"),
        ("STOPSIGNAL -0", "invalid signal"),
        ("STOPSIGNAL $P", "invalid signal"),
        ("VOLUME $NONE", "can not be an empty string"),
        ("ENV $NONE=1", "names can not be blank"),
    ],
)
def test_values_that_are_wrong_once_expanded(project, line, message):
    with pytest.raises(DockerfileError, match=message) as caught:
        project.build(f"FROM scratch\nARG P=x\n{line}")
    assert caught.value.line == 3


@pytest.mark.slow
def test_entrypoint_clears_the_bases_cmd_alone(project):
    project.image("base:1", config={"Cmd": ["old"], "Entrypoint": ["base"]})
    assert config(project, base="base:1")["Cmd"] == ["old"]
    assert "Cmd" not in config(project, 'ENTRYPOINT ["new"]', base="base:1")
    for lines in (('CMD ["own"]', 'ENTRYPOINT ["e"]'), ('ENTRYPOINT ["e"]', 'CMD ["own"]')):
        assert config(project, *lines, base="base:1")["Cmd"] == ["own"]
    assert config(project, "CMD []", base="base:1").get("Cmd", []) == []
    assert config(project, "ENTRYPOINT []", base="base:1").get("Entrypoint", []) == []


def test_a_stage_on_a_stage_is_as_one_on_an_image(project):
    first = 'FROM scratch AS a\nCMD ["old"]\nSHELL ["/s"]\n'
    fields = project.build(first + 'FROM a\nENTRYPOINT ["new"]\nHEALTHCHECK CMD x').config
    assert "Cmd" not in fields and fields["Healthcheck"]["Test"] == ["CMD-SHELL", "x"]
    assert fields["Shell"] == ["/s"]


@pytest.mark.slow
def test_what_the_base_has_is_merged_and_kept(project):
    project.image(
        "base:1",
        {"etc/f": "1"},
        author="them",
        os_features=["x"],
        config={
            "Env": ["A=1", "BARE", "B=2"],
            "Labels": {"l": "1", "m": "1"},
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/v": {}},
            "User": "u",
            "WorkingDir": "/w",
            "StopSignal": "SIGINT",
            "Healthcheck": {"Test": ["CMD", "c"], "Interval": 5},
            "ArgsEscaped": True,
            "Unheard": {"of": 1},
        },
        history=[{"created_by": "theirs"}, {"created_by": "empty", "empty_layer": True}],
    )
    built = project.build("FROM base:1\nENV B=3 C=4\nLABEL m=2\nEXPOSE 81\nVOLUME /x")
    fields = built.config
    assert fields["Env"] == ["A=1", "BARE", "B=3", f"{PATH}", "C=4"]
    assert fields["Labels"] == {"l": "1", "m": "2"}
    assert sorted(fields["ExposedPorts"]) == ["80/tcp", "81/tcp"]
    assert sorted(fields["Volumes"]) == ["/v", "/x"]
    assert (fields["User"], fields["WorkingDir"], fields["StopSignal"]) == ("u", "/w", "SIGINT")
    assert fields["Healthcheck"] == {"Test": ["CMD", "c"], "Interval": 5}
    assert fields["ArgsEscaped"] is True and fields["Unheard"] == {"of": 1}
    assert built.document["os_features"] == ["x"] and built.document["author"] == "them"
    assert [entry["created_by"] for entry in built.history[:2]] == ["theirs", "empty"]


@pytest.mark.slow
def test_healthcheck_none_ends_an_inherited_one(project):
    project.image("base:1", config={"Healthcheck": {"Test": ["CMD", "c"]}})
    fields = config(project, "HEALTHCHECK NONE", base="base:1")
    assert fields["Healthcheck"] == {"Test": ["NONE"]}


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_an_image_on_a_base_of_any_history_has_an_entry_for_each_layer(project, count):
    """Docker loads no image with more, and takes the entry of another layer if there are fewer."""
    project.put({"f": "1"})
    history = [{"created_by": f"step {at}"} for at in range(count)]
    project.image("base:1", {"a": "1"}, {"b": "1"}, history=history)
    built = project.build("FROM base:1\nCOPY f /")
    with_layer = [each for each in built.history if not each.get("empty_layer")]
    assert len(with_layer) == 3
    assert with_layer[-1]["created_by"] == "COPY f /"
    assert [each["created_by"] for each in with_layer[: min(count, 2)]] == [
        f"step {at}" for at in range(min(count, 2))
    ]


@pytest.mark.slow
def test_history_has_an_entry_for_each_instruction(project):
    project.put({"f": "1", "d/f": "1"})
    project.image("base:1", {"a": "1"}, {"b": "1"}, history=[{"created_by": "only one"}])
    built = project.build(
        "FROM base:1\nARG A=1\nENV E=$A\nWORKDIR /new\nWORKDIR /new\nCOPY f \\\n  $E /x/\n"
        'COPY d /d\nUSER u\nCMD ["c"]' .replace("$E ", ""),
        source_date_epoch=1_700_000_000,
    )  # fmt: skip
    entries = [
        (entry.get("created_by", ""), entry.get("empty_layer", False)) for entry in built.history
    ]
    assert entries == [
        ("only one", False),
        ("", False),  # the base has more layers than history
        ("ARG A=1", True),
        ("ENV E=1", True),
        ("WORKDIR /new", False),
        ("WORKDIR /new", False),
        ("COPY f /x/", False),
        ("COPY d /d", False),
        ("USER u", True),
        ('CMD ["c"]', True),
    ]
    created = "2023-11-14T22:13:20Z"
    assert built.document["created"] == created
    assert {entry["created"] for entry in built.history[2:]} == {created}


def test_maintainer_is_the_author(project):
    built = project.build("FROM scratch\nMAINTAINER Some One <some@one.example>")
    assert built.document["author"] == "Some One <some@one.example>"


@pytest.mark.slow
def test_workdir(project):
    tree = {"there": {"mode": 0o700, "uid": 3}, "link": {"link": "there"}, "file": "1",
            "etc/passwd": "me:x:5:6::/:\n"}  # fmt: skip
    project.image("base:1", tree)
    built = project.build("FROM base:1\nWORKDIR /there\nWORKDIR ../link\nUSER me\nWORKDIR a/b")
    assert built.config["WorkingDir"] == "/link/a/b"
    assert [built.names(at) for at in range(1, 4)] == [[], [], ["there", "there/a", "there/a/b"]]
    assert built.tree["there"] == "5 700 3:0"
    assert built.tree["there/a"] == built.tree["there/a/b"] == "5 755 5:6"
    with pytest.raises(OcitoolError, match="cannot create directory /file") as caught:
        project.build("FROM base:1\nWORKDIR /file")
    assert caught.value.where == "Dockerfile:2"
    built = project.build("FROM base:1\nUSER nobody\nWORKDIR /new")
    assert built.tree["new"] == "5 755 0:0"
    assert [each.text for each in built.events.events if isinstance(each, Notice)] == [
        "WORKDIR /new: the directory belongs to root:"
        " unable to find user nobody: no matching entries in passwd file"
    ]


@pytest.mark.slow
def test_a_user_and_a_directory_that_expand_to_nothing(project):
    project.image("base:1", config={"User": "me", "WorkingDir": "/w"})
    built = project.build("FROM base:1\nUSER $NONE\nWORKDIR $NONE")
    assert "User" not in built.config and built.config["WorkingDir"] == "/w"
    assert [check.rule for check in built.checks] == [
        "UndefinedVar", "UndefinedVar", "WorkdirRelativePath",
    ]  # fmt: skip


def test_workdir_of_root_in_an_image_without_passwd(project):
    built = project.build("FROM scratch\nUSER root:root\nWORKDIR /w")
    assert built.tree["w"] == "5 755 0:0"


def test_workdir_follows_variables_and_dots(project):
    fields = config(project, "ENV D=/a", "WORKDIR $D/./b/../c", "WORKDIR d")
    assert fields["WorkingDir"] == "/a/c/d"


def test_stages_the_target_does_not_need_are_not_built(project):
    project.put({"f": "1"})
    text = "FROM scratch AS a\nCOPY f /\nFROM scratch AS bad\nCOPY gone /\nFROM a AS c\nCOPY f /c\n"
    assert sorted(project.build(text).tree) == ["c", "f"]
    assert sorted(project.build(text, target="A").tree) == ["f"]
    assert sorted(project.build(text, target="0").tree) == ["f"]
    found = r'target stage "ba" could not be found \(did you mean a\?\)'
    with pytest.raises(OcitoolError, match=found) as caught:
        project.build(text, target="ba")
    assert caught.value.hint == "available stages: a, bad, c"


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch AS a\nCOPY --from=a f /",
        "FROM scratch AS a\nCOPY --from=b f /\nFROM a AS b\nCOPY --from=a f /",
    ],
)
def test_a_circle_of_stages(project, text):
    with pytest.raises(OcitoolError, match="circular dependency") as caught:
        project.build(text)
    assert caught.value.where.startswith("Dockerfile:") and caught.value.hint
