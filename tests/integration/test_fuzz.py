"""The campaign of random Dockerfiles finds what it should, and a few of its cases agree."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from ocitool import Store
from tests.fuzz.builders import Built, differences
from tests.fuzz.bytes import tried
from tests.fuzz.cases import Case, random_case, smallest_case
from tests.fuzz.contexts import Entry, RandomContext
from tests.fuzz.dockerfiles import text_of, without_heredocs
from tests.fuzz.features import FEATURES, features
from tests.fuzz.foreign import TARGETS, Foreign
from tests.fuzz.fuzzing import Fuzzing, _failed
from tests.fuzz.known import known, not_asked
from tests.fuzz.named import DIRECTORY, LAYOUT


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
    ignores = {".dockerignore": ignore} if ignore else {}
    return Case(context=RandomContext(entries=entries, ignores=ignores), lines=lines)


def test_a_seed_makes_one_case() -> None:
    def case(seed: int) -> Case:
        return random_case(random.Random(seed))

    assert case(3) == case(3) != case(4)


def test_six_hundred_seeds_have_every_feature() -> None:
    found: set[str] = set()
    for seed in range(600):
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
        ("RUN <<EOF\ntrue\nEOF", True, True),  # is made one line of
        ("RUN <<EOF sh\ntrue\nEOF", False, False),
        ("ENV A=${B:-c}", True, True),
        ("ENV A=${B#c}", False, False),
        ("ENV A=${B:?c}", False, False),
    ],
)
def test_peers_are_asked_what_they_know(line: str, docker: bool, buildah: bool) -> None:
    case = _case("FROM BASE", line)
    assert (not_asked("docker", case) == "", not_asked("buildah", case) == "") == (docker, buildah)


def test_peers_are_asked_about_contexts_that_they_know() -> None:
    def asked(**fields: object) -> tuple[bool, bool]:
        case = replace(_case("FROM BASE"), **fields)  # type: ignore[arg-type]
        return not_asked("docker", case) == "", not_asked("buildah", case) == ""

    rules = RandomContext(entries=(), ignores={".containerignore": "a\n", ".dockerignore": "b\n"})
    assert rules.ignore == "a\n"
    assert asked(named={"a": DIRECTORY}) == (False, True)
    assert asked(named={"a": LAYOUT}) == (False, False)
    assert asked(context=rules) == (False, True)
    assert asked(tar=True) == (True, True)
    assert asked(tar=True, context=rules) == (False, False)


def test_an_error_is_that_of_an_instruction() -> None:
    lines = ("ARG G=1", "FROM MADE AS s0", "RUN a \\\n b", "COPY a /")
    case = replace(_case(*lines), escape="`", base=("FROM BASE", "ONBUILD RUN true"))
    text = text_of(case.lines, case.escape)
    assert text.startswith("# escape=`\nARG BASE=busybox\nARG MADE\nARG G=1\nFROM $MADE AS s0\n")
    number = text.splitlines().index("COPY a /") + 1
    assert _failed(f"Dockerfile:{number}: no", case) == 3
    assert _failed(f"Dockerfile:{number - 1}: no", case) == 2
    assert _failed("Dockerfile:5: no", case) == _failed("Dockerfile:1: no", case) == 0


@pytest.mark.parametrize("seeds", [3, pytest.param(30, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("name", TARGETS)
def test_foreign_bytes_are_read_or_refused(
    name: str, seeds: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "ignore file":
        request.getfixturevalue("root_only")  # the files of its contexts have owners
    with Store.open(str(tmp_path / "store"), driver="vfs") as store:
        foreign = Foreign(tmp_path, store)
        results = {tried(foreign, name, seed) for seed in range(seeds)}
    assert results <= {"read", "refused"}


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
