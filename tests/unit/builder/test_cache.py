"""What is done again when something changes, and what is not; nothing here needs a sandbox."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.store.maintenance.prune import prune
from tests.unit.builder.conftest import BuildFixture

DOCKERFILE = """\
FROM scratch AS made
COPY one /one
COPY --chown=1 d /d
FROM scratch
ARG V=1
ENV E=1
LABEL L=1
COPY two /two
COPY --from=made /d/sub /sub
COPY --from=made /one /one
"""
ONE, D, TWO, SUB, FROM_ONE = [line for line in DOCKERFILE.splitlines() if line.startswith("COPY")]


@pytest.fixture
def sources(project: BuildFixture) -> BuildFixture:
    project.put(
        {"one": "1", "two": "2", "d/a": "a", "d/b": "b", "d/sub/c": "c", "d/l": {"link": "a"}}
    )
    return project


def test_a_second_build_does_nothing(sources):
    first = sources.build(DOCKERFILE)
    assert first.executed == [ONE, D, TWO, SUB, FROM_ONE]
    second = sources.build(DOCKERFILE)
    assert second.executed == [] and second.digest == first.digest


def test_times_do_not_count(sources):
    first = sources.build(DOCKERFILE)
    for folder, _, files in os.walk(sources.top):
        for name in (*files, "."):
            os.utime(os.path.join(folder, name), (7, 7), follow_symlinks=False)
    second = sources.build(DOCKERFILE)
    assert second.executed == [] and second.digest == first.digest


def _rename(top):
    (top / "d/a").rename(top / "d/z")


def _retarget(top):
    (top / "d/l").unlink()
    (top / "d/l").symlink_to("b")


def _link(top):
    (top / "d/b").unlink()
    os.link(top / "d/a", top / "d/b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "done"),
    [
        (lambda top: (top / "one").write_text("x"), [ONE, D, FROM_ONE]),
        (lambda top: (top / "two").write_text("x"), [TWO, SUB, FROM_ONE]),
        (lambda top: (top / "two").chmod(0o600), [TWO, SUB, FROM_ONE]),
        (lambda top: (top / "d/a").write_text("x"), [D]),  # nothing is taken of it
        (lambda top: (top / "d/a").chmod(0o600), [D]),
        (lambda top: (top / "d/new").mkdir(), [D]),
        (lambda top: (top / "d/sub").chmod(0o700), [D]),
        (lambda top: (top / "d/sub/c").write_text("x"), [D, SUB, FROM_ONE]),
        (_rename, [D]),
        (_retarget, [D]),
        (_link, [D]),
        (lambda top: (top / "three").write_text("not copied"), []),
    ],
)
def test_a_change_reruns_what_depends_on_it(sources, change, done):
    sources.build(DOCKERFILE)
    change(sources.top)
    again = sources.build(DOCKERFILE)
    assert again.executed == done
    fresh = sources.build(DOCKERFILE, no_cache=True)
    assert fresh.tree == again.tree


@pytest.mark.slow
def test_a_change_that_is_undone_is_found_again(sources):
    first = sources.build(DOCKERFILE)
    (sources.top / "one").write_text("x")
    sources.build(DOCKERFILE)
    (sources.top / "one").write_text("1")
    again = sources.build(DOCKERFILE)
    assert again.executed == [] and again.digest == first.digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "done"),
    [
        ("ENV E=1", "ENV E=2", []),
        ("LABEL L=1", "LABEL L=2", []),
        ("ARG V=1", "ARG V=2", []),
        ("COPY two /two", "COPY two /other", ["COPY two /other", SUB, FROM_ONE]),
        (
            "COPY two /two",
            "COPY --chmod=600 two /two",
            ["COPY --chmod=600 two /two", SUB, FROM_ONE],
        ),
        ("--chown=1", "--chown=2", [D.replace("=1", "=2"), SUB, FROM_ONE]),
        ("COPY two /two", "WORKDIR /w\nCOPY two /two", ["WORKDIR /w", TWO, SUB, FROM_ONE]),
    ],
)
def test_a_changed_line_reruns_what_depends_on_it(sources, old, new, done):
    first = sources.build(DOCKERFILE)
    second = sources.build(DOCKERFILE.replace(old, new))
    assert second.executed == done
    if not done:
        assert second.document["rootfs"] == first.document["rootfs"]
        assert second.digest != first.digest


def test_an_expanded_variable_counts_and_its_name_does_not(sources):
    sources.build("FROM scratch\nARG A=/x\nCOPY one $A/y")
    assert sources.build("FROM scratch\nARG B=/x/y\nCOPY one $B").executed == []
    again = sources.build("FROM scratch\nARG B=/x/y\nCOPY one $B", build_args={"B": "/z"})
    assert again.executed == ["COPY one $B"]


@pytest.mark.slow
def test_a_base_with_other_content_reruns_and_one_rebuilt_the_same_does_not(sources):
    sources.image("base:1", {"b": "1"})
    sources.build("FROM base:1\nCOPY one /")
    sources.image("base:1", {"b": "1"}, config={"User": "another"})
    assert sources.build("FROM base:1\nCOPY one /").executed == []
    sources.image("base:1", {"b": "2"})
    assert sources.build("FROM base:1\nCOPY one /").executed == ["COPY one /"]


@pytest.mark.slow
def test_what_names_mean_in_the_image_counts(sources):
    """The same --chown text on two bases gives two owners."""
    for uid in (5, 6):
        sources.image("base:1", {"etc/passwd": f"me:x:{uid}:{uid}::/:\n"})
        tree = sources.build("FROM base:1\nCOPY --chown=me one /").tree
        assert f" {uid}:{uid} " in tree["one"]


def test_keys_are_framed(project):
    """Neighbouring names and contents never run together."""
    project.put({"ab/c": "d", "a/bc": "d", "a2/b": "cd"})
    digests = {project.build(f"FROM scratch\nCOPY {d} /x").digest for d in ("ab", "a", "a2")}
    assert len(digests) == 3


def test_heredocs_count(project):
    first = project.build("FROM scratch\nCOPY <<a /x/\n1\na\n")
    assert project.build("FROM scratch\nCOPY <<a /x/\n1\na\n").digest == first.digest
    assert project.build("FROM scratch\nCOPY <<a /x/\n2\na\n").executed
    assert project.build("FROM scratch\nCOPY <<b /x/\n1\nb\n").executed


def test_ignore_rules_count_by_what_they_leave(sources):
    sources.put({".dockerignore": "gone\n"})
    sources.build("FROM scratch\nCOPY d /d")
    sources.put({".dockerignore": "# another\nlost\n"})
    assert sources.build("FROM scratch\nCOPY d /d").executed == []
    sources.put({".dockerignore": "d/a\n"})
    again = sources.build("FROM scratch\nCOPY d /d")
    assert again.executed and "d/a" not in again.tree
    sources.put({".dockerignore": ""})
    assert "d/a" in sources.build("FROM scratch\nCOPY d /d").tree


@pytest.mark.slow
def test_no_cache_does_all_again_and_is_found_by_the_next(sources):
    sources.build(DOCKERFILE)
    again = sources.build(DOCKERFILE, no_cache=True)
    assert again.executed == [ONE, D, TWO, SUB, FROM_ONE]
    after = sources.build(DOCKERFILE)
    assert after.executed == [] and after.digest == again.digest


@pytest.mark.slow
def test_two_builds_from_nothing_are_the_same_to_the_byte(sources):
    epoch = 1_700_000_000
    first = sources.build(DOCKERFILE, no_cache=True, source_date_epoch=epoch)
    for folder, _, files in os.walk(sources.top):
        for name in (*files, "."):
            os.utime(os.path.join(folder, name), follow_symlinks=False)
    second = sources.build(DOCKERFILE, no_cache=True, source_date_epoch=epoch)
    assert second.digest == first.digest
    assert max(member.mtime for layer in second.layers for member in layer) <= epoch


@pytest.mark.slow
def test_blobs_that_are_gone_are_made_again(sources):
    first = sources.build(DOCKERFILE)
    for path in _layer_blobs(sources):
        path.unlink()
    second = sources.build(DOCKERFILE)
    assert second.executed == [ONE, D, TWO, SUB, FROM_ONE]
    assert second.tree == first.tree


@pytest.mark.slow
def test_one_missing_blob_reruns_its_step_alone(sources):
    first = sources.build(DOCKERFILE)
    members = {layer[0].name: at for at, layer in enumerate(first.layers)}
    diff = first.document["rootfs"]["diff_ids"][members["two"]]
    (path,) = [path for path in _layer_blobs(sources) if _diff_id(path) == diff]
    path.unlink()
    second = sources.build(DOCKERFILE)
    assert second.executed == [TWO] and second.tree == first.tree


@pytest.mark.slow
def test_after_a_prune(sources):
    first = sources.build(DOCKERFILE, "kept:1")
    prune(sources.store, cache=True)
    assert sources.build(DOCKERFILE).tree == first.tree


def test_the_context_may_move(sources):
    sources.build(DOCKERFILE)
    moved = sources.top.parent / "moved"
    shutil.move(sources.top, moved)
    sources.top = moved
    assert sources.build(DOCKERFILE).executed == []


def _layer_blobs(project: BuildFixture) -> list[Path]:
    blobs = (Path(project.store.layout.root) / "oci/blobs/sha256").iterdir()
    return [path for path in blobs if path.read_bytes()[:1] != b"{"]


def _diff_id(path: Path) -> str:
    data = path.read_bytes()
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return f"sha256:{hashlib.sha256(plain).hexdigest()}"


def test_builds_at_the_same_time_give_one_image(sources, store_root):
    """What makes no layer has the time of the image, which is that of the first."""
    line, digests = threading.Barrier(4), []

    def build_one():
        with Store.open(str(store_root)) as store:
            line.wait()
            digests.append(BuildFixture(sources.top, store).build(DOCKERFILE).digest)

    threads = [threading.Thread(target=build_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4 and len(set(digests)) == 1


@pytest.mark.slow
def test_stages_without_the_cache(sources):
    text = "FROM scratch AS One\nCOPY one /\nFROM scratch AS two\nCOPY d /d\nCOPY --from=one one /g"
    first = sources.build(text)
    assert sources.build(text, no_cache_filter=()).executed == []
    again = sources.build(text, no_cache_filter=("ONE",))
    assert again.executed == ["COPY one /"]
    again = sources.build(text, no_cache_filter=("two", "one"))
    assert len(again.executed) == 3
    assert first.tree == again.tree
    assert sources.build(text).executed == []  # what was made is kept


def test_a_stage_without_the_cache_that_there_is_not(sources):
    built = sources.build("FROM scratch AS one\nCOPY one /", no_cache_filter=("on",))
    assert built.warnings == ("no stage is named 'on': --no-cache-filter has no effect",)


def test_what_is_in_the_cache_for_too_long_is_not_used(project, monkeypatch):
    project.put({"f": "1"})
    text = "FROM scratch\nCOPY f /"
    project.build(text, source_date_epoch=0)
    assert project.build(text, cache_ttl=60.0, source_date_epoch=0).executed == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 120)
    assert project.build(text, source_date_epoch=0).executed == []
    assert project.build(text, cache_ttl=60.0, source_date_epoch=0).executed == ["COPY f /"]
    assert project.build(text, cache_ttl=60.0, source_date_epoch=0).executed == []
