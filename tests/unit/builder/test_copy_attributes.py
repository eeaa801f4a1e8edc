"""COPY --chown and --chmod."""

from __future__ import annotations

import pytest

from ocitool.errors import BuildError, DockerfileError
from tests.unit.builder.conftest import owner, scratch


@pytest.mark.slow
def test_chown(project):
    project.put({"f": "1"})
    passwd = "root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/sh\n"
    project.image("base:1", {"etc/passwd": passwd, "etc/group": "staff:x:50:\n"})
    given = {"web": "33:44", "web:staff": "33:50", "7": "7:7", "7:8": "7:8", ":staff": "0:50",
             "web:9": "33:9", "$U:staff": "33:50"}  # fmt: skip
    lines = [f"COPY --chown={text} f /f{at}" for at, text in enumerate(given)]
    tree = project.build("\n".join(["FROM base:1", "ENV U=web", *lines])).tree
    assert [owner(tree[f"f{at}"]) for at in range(len(given))] == list(given.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chown", "message"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("0:games", "unable to find group games: no matching entries in group file"),
        ("4294967295", "invalid user or group ID"),
    ],
)
def test_chown_to_nobody_known(project, chown, message):
    project.put({"f": "1"})
    project.image("base:1", {"etc/passwd": "root:x:0:0::/:\n", "etc/group": "root:x:0:\n"})
    with pytest.raises(BuildError, match=message) as caught:
        project.build(f"FROM base:1\nCOPY --chown={chown} f /")
    assert caught.value.where == "Dockerfile:2" and caught.value.hint


@pytest.mark.slow
def test_chown_by_name_in_an_image_without_passwd(project):
    project.put({"f": "1"})
    with pytest.raises(
        BuildError, match="unable to find user web: no matching entries in passwd file"
    ):
        project.build(scratch("COPY --chown=web f /"))
    for root in ("root", "root:root", "0:root"):
        assert project.build(scratch(f"COPY --chown={root} f /")).tree["f"].startswith("0 644 0:0")
    assert project.build(scratch("COPY --chown=5:root f /")).tree["f"].startswith("0 644 5:0")
    project.image("base:1", {"etc/passwd": "toor:x:0:0::/:\n"})
    built = project.build("FROM base:1\nCOPY --chown=root f /")
    assert built.tree["f"].startswith("0 644 0:0")  # root is 0 whatever the image calls it


def test_chmod(sources):
    lines = ("COPY --chmod=4701 f /octal", "COPY --chmod=u=rwX,go=rX d /symbolic",
             "COPY --chmod=640 d /all", "COPY --chmod=$M f run.sh /x/")  # fmt: skip
    tree = sources.build(scratch("ARG M=600", *lines)).tree
    assert tree["octal"].startswith("0 4701 ")
    assert tree["symbolic/a"].startswith("0 644 ") and tree["symbolic/sub"] == "5 755 0:0"
    assert tree["all/sub"] == "5 640 0:0" and tree["all/sub/c"].startswith("0 640 ")
    assert tree["all/link"] == "2 0:0 -> a"
    assert tree["x"] == "5 600 0:0"  # as BuildKit: an octal mode is that of new parents, too
    tree = sources.build(scratch("COPY --chmod=3755 d /new/deep/")).tree
    assert [tree[path] for path in ("new", "new/deep")] == ["5 755 0:0"] * 2  # no special bits
    assert tree["new/deep/sub"] == "5 3755 0:0"


@pytest.mark.parametrize("mode", ["8", "77777", "u+q", "rw"])
def test_wrong_chmod(sources, mode):
    with pytest.raises(DockerfileError, match="invalid chmod parameter") as caught:
        sources.build(scratch(f"COPY --chmod={mode} f /"))
    assert caught.value.line == 2


@pytest.mark.slow
def test_new_directories_in_one_with_set_group_id_have_the_bit_and_its_group(sources):
    sources.image("base:1", {"s/": {"mode": 0o2775, "uid": 3, "gid": 50}})
    sources.put({"t.tar": {"tar": {"m/": {"mode": 0o755}}}, "u.tar": {"tar": {"i/j/f": "f"}}})
    lines = (
        "COPY d /s/copied",
        "COPY f /s/one/two/f",
        "COPY --chown=7:8 d /s/owned/",
        "ADD t.tar /s/added/",
        "ADD u.tar /s/implied/",
        "USER 5:6",
        "WORKDIR /s/w",
        "COPY --link f /s/linked/f",
    )
    tree = sources.build("\n".join(["FROM base:1", *lines])).tree
    assert tree["s/copied"] == tree["s/one"] == tree["s/one/two"] == "5 2755 0:50"
    assert (tree["s/owned"], tree["s/w"]) == ("5 2755 7:8", "5 2755 5:6")
    assert tree["s/added"] == tree["s/implied"] == "5 2755 0:50"
    assert tree["s/implied/i"] == tree["s/implied/i/j"] == "5 2755 0:0"  # as BuildKit has it
    # What is copied has its own, and a linked layer knows nothing of what is below it.
    assert (tree["s/copied/sub"], tree["s/added/m"]) == ("5 700 0:0", "5 755 0:0")
    assert tree["s/linked"] == "5 755 0:0"
