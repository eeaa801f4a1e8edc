"""COPY --from: stages by name and number, and images."""

from __future__ import annotations

import os

import pytest

from ocitool.errors import BuildError, UnknownStage


def scratch(*lines: str) -> str:
    return "\n".join(["FROM scratch", *lines])


def owner(said: str) -> str:
    return said.split()[2]


def test_from_stages(project):
    project.put({"f": "1", "g": "2"})
    built = project.build(
        "FROM scratch AS One\nCOPY --chown=3:4 --chmod=750 f /d/f\n"
        "FROM scratch\nCOPY g /g\n"
        "FROM scratch\nCOPY --from=one /d /by-name\nCOPY --from=1 g /by-number\n"
        "COPY --from=ONE --chown=9 /d/f /given/"
    )
    tree = built.tree
    assert tree["by-name"] == "5 755 0:0"
    assert owner(tree["by-name/f"]) == "3:4" and tree["by-name/f"].startswith("0 750")
    assert owner(tree["by-number"]) == "0:0" and owner(tree["given/f"]) == "9:9"


@pytest.mark.slow
def test_from_an_image_with_everything(project):
    tree = {
        "o": {"mode": 0o2750, "uid": 3, "gid": 4},
        "o/one": {"text": "data", "mode": 0o4755, "uid": 5, "gid": 6},
        "o/two": {"hardlink": "o/one", "mode": 0o4755, "uid": 5, "gid": 6},
        "o/link": {"link": "one"},
        "o/pipe": {"fifo": True},
        "o/tty": {"device": (5, 0)},
    }
    project.image("things:1", tree)
    built = project.build(scratch("COPY --from=things:1 /o /x", "COPY --from=things:1 /o/li* /y/"))
    assert owner(built.tree["x/one"]) == "5:6" and built.tree["x/two"] == built.tree["x/one"]
    assert built.tree["x/link"] == "2 0:0 -> one"
    assert built.tree["x/pipe"].startswith("6 ") and built.tree["x/tty"].endswith(" 5,0")
    assert built.tree["y/link"] == built.tree["x/one"]
    assert next(m for m in built.layers[0] if m.name == "x/two").linkname == "x/one"


@pytest.mark.slow
def test_from_an_image_without_the_file(project):
    project.image("things:1", {"f": "1"})
    with pytest.raises(BuildError, match='"/gone": not found') as caught:
        project.build(scratch("COPY --from=things:1 /gone /x"))
    assert caught.value.where == "Dockerfile:2" and "things:1" in caught.value.hint
    with pytest.raises(BuildError, match='"/f": not found'):
        project.build(scratch("COPY --from=scratch /f /x"))


def test_from_a_stage_number_that_is_not_there(project):
    with pytest.raises(UnknownStage, match="invalid stage index 2") as caught:
        project.build("FROM scratch\nFROM scratch\nCOPY --from=2 /f /f")
    assert caught.value.where == "Dockerfile:3"


@pytest.mark.slow
def test_a_destination_has_the_time_of_the_directory_that_is_copied(project):
    project.image("base:1", {"d": {}, "d/f": "1"})  # all of 1970
    (members,) = project.build(scratch("COPY --from=base:1 /d /x/new")).layers
    times = {member.name: member.mtime for member in members}
    assert times["x/new"] == 0 and times["x"] > 0  # what the path implies is made now
    project.put({"e/f": "1"})
    os.utime(project.top / "e", (9, 9))
    (members,) = project.build(scratch("COPY e f* /new")).layers
    assert members[0].mtime == 9
    there, _ = project.build("FROM base:1\nCOPY e /d\nCOPY e/f /d/").layers[1:]
    assert [member.mtime for member in there if member.name == "d"] == [9]


def test_from_a_stage_that_comes_later(project):
    later = "FROM scratch AS a\nCOPY --from=B /f /f\nFROM scratch AS b\nFROM a"
    with pytest.raises(UnknownStage) as caught:
        project.build(later)
    assert caught.value.message == (
        'cannot copy from stage "B", it needs to be defined before current stage "a"'
    )
    assert caught.value.where == "Dockerfile:2" and caught.value.hint
    with pytest.raises(UnknownStage, match='before current stage "stage-0"'):
        project.build("FROM scratch\nCOPY --from=b /f /f\nFROM scratch AS b", target="0")
    project.build(later, target="b")  # which does not need it


@pytest.mark.slow
def test_what_was_removed_in_a_stage_is_not_copied(project):
    project.image("base:1", {"d": {}, "d/a": "1", "d/b": "2"}, {"d/.wh.a": "", "d/c": "3"})
    assert sorted(project.build(scratch("COPY --from=base:1 /d /d")).tree) == ["d", "d/b", "d/c"]
