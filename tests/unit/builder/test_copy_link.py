"""COPY --link and ADD --link: a layer that knows nothing of what it stands on.

The values are those of BuildKit's newest source.
"""

from __future__ import annotations

import pytest

from ocitool.errors import BuildError
from tests.unit.builder.conftest import BuildFixture, scratch

pytestmark = pytest.mark.slow

BASE = {
    "real": {"mode": 0o711, "uid": 3, "gid": 4},
    "real/old": "old",
    "way": {"link": "real"},
    "file": "a file",
    "p": {"mode": 0o700, "uid": 9, "gid": 9},
    "p/keep": "kept",
}


@pytest.fixture
def sources(project: BuildFixture) -> BuildFixture:
    project.put({"f": "1", "d/a": "2", "d/e": {"mode": 0o710}, "d/e/b": "3"})
    project.image("base:1", BASE)
    return project


@pytest.mark.parametrize("word", ["COPY", "ADD"])
def test_links_of_the_image_are_replaced_and_not_followed(sources, word):
    linked = sources.build(f"FROM base:1\n{word} --link f /way/f\n{word} f /way/g")
    assert linked.names(1) == ["way", "way/f"]
    assert linked.tree["way"] == "5 755 0:0" and "real/f" not in linked.tree
    assert "way/g" in linked.tree  # a later step finds what the linked layer has made
    followed = sources.build(f"FROM base:1\n{word} --link=false f /way/f")
    assert "real/f" in followed.tree and followed.tree["way"] == "2 0:0 -> real"


def test_directories_on_the_way_are_made_anew(sources):
    built = sources.build("FROM base:1\nCOPY --link d /p\nCOPY --link --chown=5 f /real/x/")
    assert built.tree["p"] == "5 755 0:0" and "p/keep" in built.tree and "p/a" in built.tree
    assert built.tree["p/e"] == "5 710 0:0"
    assert built.tree["real"] == "5 755 5:5" and "real/old" in built.tree


def test_what_is_of_another_kind_is_replaced(sources):
    built = sources.build("FROM base:1\nCOPY --link d /file\nCOPY --link f /p")
    assert built.tree["file"] == "5 755 0:0" and "file/a" in built.tree
    assert built.tree["p"].startswith("0 644") and "p/keep" not in built.tree
    for line in ("COPY d /file", "COPY f /p/keep/"):
        with pytest.raises(BuildError, match="non-directory"):
            sources.build(f"FROM base:1\n{line}")


def test_the_layer_is_the_same_on_any_base(sources):
    sources.image("base:2", {"other": "base"}, {"p": {"link": "other"}})
    text = "FROM base:{}\nCOPY f /g\nCOPY --link d /p/d\nADD --link f /p/"
    first = sources.build(text.format(1))
    assert sources.build(text.format(1)).executed == []
    second = sources.build(text.format(2))
    assert second.executed == ["COPY f /g"] and second.tars[-2:] == first.tars[-2:]
    assert "p/keep" in first.tree and second.tree["p"] == "5 755 0:0"
    changed = sources.build("FROM base:1\nCOPY --link d/e /p/d")
    assert changed.executed == ["COPY --link d/e /p/d"]


def test_it_is_the_same_step_as_a_copy_onto_scratch(sources):
    linked = sources.build("FROM base:1\nCOPY --link d /p/d")
    plain = sources.build(scratch("COPY d /p/d"))
    assert plain.executed == [] and plain.tars[-1] == linked.tars[-1]


@pytest.mark.parametrize("epoch", [None, 1000])
def test_without_the_cache_it_is_executed_once_for_all_bases(sources, epoch):
    text = (
        "FROM base:1 AS a\nCOPY --link d /x\nFROM base:1\nCOPY --from=a /x/a /a\nCOPY --link d /x"
    )
    args = {} if epoch is None else {"build_args": {"SOURCE_DATE_EPOCH": str(epoch)}}
    built = sources.build(text, no_cache=True, **args)
    assert built.executed.count("COPY --link d /x") == 1 and "x/e/b" in built.tree
    if epoch is not None:
        again = sources.build(text, no_cache=True, **args)
        assert again.digest == built.digest


def test_names_of_users_are_not_looked_up(sources):
    files = {"etc/passwd": "u:x:7:8::/:/bin/sh\n", "etc/group": "g:x:9:\n"}
    sources.image("users:1", files)
    for chown in ("u", "u:g", "0:g", "root:g"):
        with pytest.raises(BuildError, match="unable to find") as caught:
            sources.build(f"FROM users:1\nCOPY --link --chown={chown} f /x")
        assert "--link" in caught.value.hint
    built = sources.build("FROM users:1\nCOPY --link --chown=root:root f /x\nCOPY --chown=u:g f /y")
    assert built.tree["x"].split()[2] == "0:0" and built.tree["y"].split()[2] == "7:9"


def test_with_a_mode_it_is_a_copy_without(sources):
    """As BuildKit has it: --chmod makes nothing of --link."""
    built = sources.build("FROM base:1\nCOPY --link --chmod=600 f /way/n/f")
    assert built.tree["real/n"] == "5 600 0:0" and built.tree["way"] == "2 0:0 -> real"


def test_with_the_other_flags(sources):
    built = sources.build(
        "FROM base:1\nCOPY --link --parents --exclude=d/e/* d/./e d/a /way/\n"
        "WORKDIR /p\nCOPY --link <<one f sub/\ntext\none"
    )
    assert {"way/e", "way/d/a"} <= set(built.tree) and "way/e/b" in built.tree
    assert built.read("p/sub/one") == "text\n" and built.tree["p"] == "5 755 0:0"
    assert built.tree["p/sub"] == "5 755 0:0"


def test_from_a_stage_it_keeps_owners(sources):
    built = sources.build("FROM base:1 AS s\nFROM scratch\nCOPY --link --from=s /real /p /o/")
    assert built.tree["o"] == "5 755 0:0"
    assert {"o/old", "o/keep"} <= set(built.tree)
