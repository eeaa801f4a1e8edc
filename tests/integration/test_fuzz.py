"""The campaign of random Dockerfiles finds what it should, and a few of its cases agree."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.builders import Built, differences
from tests.fuzz.cases import Case, random_case, smallest_case
from tests.fuzz.contexts import Entry, RandomContext
from tests.fuzz.dockerfiles import without_heredocs
from tests.fuzz.features import FEATURES, features
from tests.fuzz.fuzzing import Fuzzing
from tests.fuzz.known import known, not_asked


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


def _case(*lines: str, entries: tuple[Entry, ...] = (), ignore: str = "") -> Case:
    return Case(context=RandomContext(entries=entries, ignore=ignore), lines=lines)


def test_a_seed_makes_one_case() -> None:
    def case(seed: int) -> Case:
        return random_case(random.Random(seed))

    assert case(3) == case(3) != case(4)


def test_four_hundred_seeds_have_every_feature() -> None:
    found: set[str] = set()
    for seed in range(400):
        found.update(features(random_case(random.Random(seed))))
    assert found == set(FEATURES)


def test_a_case_becomes_small() -> None:
    entries = tuple(Entry(path=path, kind="directory") for path in ("a", "a/b", "c", "c/d"))
    lines = (
        "FROM BASE",
        "RUN --mount=a --mount=b one && two && three",
        "COPY a /",
        "COPY c /",
        "USER 1",
    )
    case = _case(*lines, entries=entries, ignore="x\n!c\ny\n")

    def fails(some: Case) -> bool:
        text = "\n".join(some.lines)
        paths = [entry.path for entry in some.context.entries]
        return (
            "=b" in text
            and "two" in text
            and "COPY c" in text
            and "c/d" in paths
            and "!c" in some.context.ignore
        )

    small = smallest_case(case, fails)
    assert small.lines == ("FROM BASE", "RUN --mount=b two", "COPY c /")
    assert [entry.path for entry in small.context.entries] == ["c", "c/d"]
    assert small.context.ignore == "!c\n"


def test_builders_without_heredocs_get_the_same_commands_in_one_line() -> None:
    line = "RUN --mount=type=tmpfs,target=/t <<'E'\none $A\n(two) || true\nE"
    assert without_heredocs([line]) == ["RUN --mount=type=tmpfs,target=/t one $A ; (two) || true"]
    assert without_heredocs(["RUN a << b"]) == ["RUN a << b"]


@pytest.mark.parametrize(
    ("line", "docker", "buildah"),
    [
        ("COPY --chown=1 a /", True, True),
        ("COPY --chown=1 --link a /", False, False),
        ("RUN --mount=type=cache,target=/c,sharing=private true", True, False),
        ("RUN --mount=target=/c,rw true", True, False),
        ("RUN --mount=target=$A true", False, True),
        ("RUN echo $A", True, True),
    ],
)
def test_peers_are_asked_what_they_know(line: str, docker: bool, buildah: bool) -> None:
    case = _case("FROM BASE", line)
    assert (not_asked("docker", case) == "", not_asked("buildah", case) == "") == (docker, buildah)


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
    case = _case("FROM BASE", "COPY x /x/")
    assert known("buildah", line, case)
    assert not known("docker", line, case)
    assert not known("buildah", line.replace("'0 755", "'0 644"), case)
    assert not known("buildah", line.replace("abc'", "abd'", 1), case)
    assert known("docker", line, _case("FROM BASE", "COPY --chmod=4755 x /x/"))
