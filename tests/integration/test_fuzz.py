"""The campaign of random Dockerfiles finds what it should, and a few of its cases agree."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.__main__ import Fuzzing
from tests.fuzz.builders import Built, differences
from tests.fuzz.contexts import random_context
from tests.fuzz.dockerfiles import RandomDockerfile
from tests.fuzz.known import known


@pytest.mark.campaign
@pytest.mark.usefixtures("root_only", "docker")
def test_random_builds_agree_with_docker(busybox_base: str, session_tree: Path) -> None:
    work = session_tree / "fuzz"
    work.mkdir()
    fuzzing = Fuzzing(work, busybox_base, ["docker"])
    try:
        for seed in range(1, 9):
            assert fuzzing.case(seed)
    finally:
        fuzzing.close()
    assert fuzzing.counts["docker: both build"] >= 4


def test_a_seed_makes_one_case() -> None:
    def case(seed: int) -> tuple[object, list[str]]:
        dice = random.Random(seed)
        context = random_context(dice)
        return context, RandomDockerfile(dice, context).lines

    assert case(3) == case(3) != case(4)


def test_differences_are_found() -> None:
    ours = Built(tree={"a": "0 644 0:0", "b": "5 755 0:0"}, config={"Env": ["A=1"], "User": "7"})
    theirs = Built(tree={"a": "0 600 0:0"}, config={"Env": ["A=2"], "User": "7"})
    assert list(differences(ours, theirs)) == [
        "tree: a: ours '0 644 0:0', theirs '0 600 0:0'",
        "tree: b: ours '5 755 0:0', theirs None",
        "config: Env.A: ours '1', theirs '2'",
    ]
    refused = list(differences(ours, Built(error="no")))
    assert refused == ["error: ours '', theirs 'no'"]
    assert list(differences(Built(error="a"), Built(error="b"))) == []


def test_what_is_known_is_about_one_peer_and_one_difference() -> None:
    line = "tree: x/f: ours '0 4755 0:0 abc', theirs '0 755 0:0 abc'"
    assert known("buildah", line)
    assert not known("docker", line)
    assert not known("buildah", line.replace("'0 755", "'0 644"))
    assert not known("buildah", line.replace("abc'", "abd'", 1))
