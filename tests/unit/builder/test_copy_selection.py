"""COPY --parents and --exclude: what is taken from directories, from contexts and from images.

The values are those of BuildKit's newest source.
"""

from __future__ import annotations

import os

import pytest

from ocitool.builder.context import statcache
from ocitool.errors import BuildError, DockerfileError
from ocitool.progress import Notice
from ocitool.store.database.build_cache import BuildCache
from tests.fixtures import images
from tests.unit.builder.conftest import BuildFixture, owner, scratch

#: Files of which the cases below take some: the same in the context, and in a stage.
FILES = ("a.log", "b.txt", "e/a", "e/b.log", "e/f/c.log", "g/h/k.cfg", "g/i/k.cfg", "g/i/x")
STAGE = "FROM scratch AS s\nCOPY . /\nFROM scratch\n"


@pytest.fixture
def files(project: BuildFixture) -> BuildFixture:
    project.put({path: path for path in FILES})
    return project


def taken(built, top="out/"):
    """What is below *top*, without the directories that have something in them."""
    names = sorted(path.removeprefix(top) for path in built.tree if path.startswith(top))
    return [name for name in names if not any(each.startswith(f"{name}/") for each in names)]


def notices(built):
    """The warnings while the steps were executed."""
    return "".join(event.text for event in built.events.events if isinstance(event, Notice))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--exclude=*.log", list(FILES[1:])),
        ("--exclude=**/*.log --exclude=g", ["b.txt", "e/a", "e/f"]),
        ("--exclude=e --exclude=!e/a --exclude=g/", ["a.log", "b.txt", "e/a"]),
        ("--exclude=e --exclude=!e/gone --exclude=g", ["a.log", "b.txt"]),
        ("--exclude=* --exclude=!./e/a --exclude=!b.txt", ["b.txt"]),
        ("--exclude=!e/a --exclude=e --exclude=./g", ["a.log", "b.txt"]),
        ("--exclude=* --exclude=!**/k.cfg", ["g/h/k.cfg", "g/i/k.cfg"]),
        ("--exclude=g/*/k.cfg --exclude=[ab].* --exclude=e/?", ["e/b.log", "g/h", "g/i/x"]),
        ("--exclude=**", []),
        ("--exclude='' --exclude=#x --exclude=e --exclude=g", ["a.log", "b.txt"]),
    ],
)
def test_patterns_of_what_is_left_out(files, flags, expected):
    of_context = files.build(scratch(f"COPY {flags} . /out/"))
    assert taken(of_context) == expected
    of_image = files.build(f"{STAGE}COPY --from=s {flags} / /out/")
    assert taken(of_image) == expected
    added = files.build(scratch(f"ADD {flags} . /out/"))
    assert added.tree == of_context.tree and "out" in added.tree


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("e/f", ["e/f/c.log"]),
        ("./e/f/c.log /g/i/x", ["e/f/c.log", "g/i/x"]),
        ("g/./i/x", ["i/x"]),
        ("g/./i", ["i/k.cfg", "i/x"]),
        ("g/i/././x e/../g/h", ["g/h/k.cfg", "x"]),
        ("g/*/k.cfg", ["g/h/k.cfg", "g/i/k.cfg"]),
        ("**/*.log", ["a.log", "e/b.log", "e/f/c.log"]),
        ("g/./**/k.cfg", ["h/k.cfg", "i/k.cfg"]),
        ("g/[hi]/./k.cfg", ["k.cfg"]),
        ("--exclude=**/*.log e b.txt", ["b.txt", "e/a", "e/f"]),
        ("--exclude=i/x g/./i", ["i/k.cfg"]),
        ("--exclude=e e/a", []),
        ("no/*/such", []),
        ("/./e/a ../b.txt", ["b.txt", "e/a"]),
        ("*/a e", ["e/a", "e/b.log", "e/f/c.log"]),
    ],
)
def test_paths_are_kept(files, sources, expected):
    assert taken(files.build(scratch(f"COPY --parents {sources} /out"))) == expected
    of_image = files.build(f"{STAGE}COPY --from=s --parents {sources} /out/")
    assert taken(of_image) == expected and "out" in of_image.tree


@pytest.mark.parametrize(
    "source", ["gone", "e/gone", "e/f/./gone", "way/a", "e/./", "e/f/././", "."]
)
@pytest.mark.parametrize("from_", ["", "--from=s"])
def test_a_path_that_is_not_there(files, source, from_):
    files.put({"way": {"link": "e"}})
    with pytest.raises(BuildError, match="not found") as caught:
        files.build(f"{STAGE}COPY {from_} --parents {source} /out/")
    assert caught.value.hint and caught.value.where.startswith("Dockerfile:4")


def test_what_an_ignore_file_excludes_is_not_found(files):
    files.put({".dockerignore": "e\n!e/f"})
    assert taken(files.build(scratch("COPY --parents --exclude=g e* /out/"))) == ["e/f/c.log"]
    with pytest.raises(BuildError, match='"/e/a": not found') as caught:
        files.build(scratch("COPY --parents e/a /out/"))
    assert "ignore file" in caught.value.hint


@pytest.mark.slow
def test_a_directory_that_is_sent_for_what_is_excluded_stays_empty(files):
    files.put({".dockerignore": "*\n!e/a\n!g/h/k.cfg"})
    both = scratch("COPY --exclude=**/a --exclude=g/h . /out/")
    first = files.build(both)
    assert taken(first) == ["e", "g"]
    assert taken(files.build(scratch("COPY --exclude=e/* --exclude=g . /out/"))) == ["e"]
    assert taken(files.build(scratch("COPY --parents --exclude=**/a e g/*/x /out/"))) == ["e"]
    (files.top / "e/a").unlink()
    second = files.build(both)
    assert taken(second) == ["g"] and second.digest != first.digest


def test_a_link_is_taken_as_a_link_and_followed_before_the_pivot(files):
    files.put({"way": {"link": "e"}})
    built = files.build(scratch("COPY --parents way way/./f /out/"))
    assert built.tree["out/way"] == "2 0:0 -> e" and taken(built) == ["f/c.log", "way"]


def test_a_named_file_is_never_excluded(files):
    built = files.build(scratch("COPY --exclude=*.log --exclude=b.txt a.log b.* /out/"))
    assert taken(built) == ["a.log", "b.txt"]
    assert "Dockerfile:2: --exclude has no effect" in notices(built)
    built = files.build(scratch("COPY --exclude=*.log a.log e /", "COPY --exclude=* no* /x/"))
    assert {"a.log", "a"} <= set(built.tree) and "no effect" not in notices(built)


@pytest.mark.slow
def test_parents_have_the_attributes_of_the_source_but_where_they_are(project):
    project.put({"m": {"mode": 0o711}, "m/n": {"mode": 0o2750}, "m/n/f": "1", "m/g": "2"})
    project.image("base:1", {"x/m": {"mode": 0o700, "uid": 7, "gid": 8}})
    lines = "FROM base:1 AS s\nCOPY --parents m/n/f m/g /x/\nCOPY --parents --chown=1:2 m/n/f /y\n"
    stage = project.build(lines)
    existing = project.build(f"{lines}COPY --parents --chown=5:6 --chmod=705 m/n/f /x/")
    built = project.build(
        f"{lines}FROM scratch\nCOPY --from=s --parents /x/m/n /z/\n"
        "COPY --parents --chmod=700 m/n /c"
    )
    # What is there keeps its owner and gets the mode of the source, whatever --chmod says.
    assert stage.tree["x/m"] == "5 711 7:8" and stage.tree["x/m/n"] == "5 2750 0:0"
    assert existing.tree["x/m"] == "5 711 7:8" and existing.tree["x/m/n"] == "5 2750 0:0"
    assert existing.tree["x/m/n/f"].startswith("0 705 5:6")
    assert stage.tree["y/m"] == "5 711 1:2" and owner(stage.tree["y/m/n/f"]) == "1:2"
    assert built.tree["z/x/m"] == "5 711 7:8" and built.tree["z"] == "5 755 0:0"
    assert [built.tree[path] for path in ("c", "c/m", "c/m/n")] == ["5 700 0:0"] * 3


def test_hard_links_to_what_is_left_out(project):
    """The first name that is taken carries the content."""
    project.put({"a": "data", "b": {"hardlink": "a"}, "d/c": {"hardlink": "a"}})
    for dockerfile in (
        scratch("COPY --exclude=a . /out/"),
        "FROM scratch AS s\nCOPY . /\nFROM scratch\nCOPY --from=s --exclude=a / /out/",
    ):
        built = project.build(dockerfile)
        assert taken(built) == ["b", "d/c"] and built.tree["out/b"] == built.tree["out/d/c"]
        assert built.read("out/b") == "data"


@pytest.mark.slow
@pytest.mark.parametrize("from_", ["", "--from=s "])
def test_the_key_knows_what_is_copied_and_nothing_else(files, from_):
    text = f"{STAGE}COPY --parents {from_}--exclude=e --exclude=!e/a e b.txt /out/"
    line = text.splitlines()[-1]
    first = files.build(text)
    again = files.build(text)
    assert again.executed == [] and again.digest == first.digest
    (files.top / "e/b.log").write_text("changed")
    (files.top / "e/f/new").write_text("new")
    os.utime(files.top / "e/a", (7, 7))
    other = files.build(text)
    assert line not in other.executed and other.digest == first.digest
    # Another pattern that leaves out the same is the same step.
    same = files.build(text.replace("--exclude=e ", "--exclude=./e "))
    assert same.executed == [] and same.digest == first.digest
    (files.top / "e/a").write_text("changed")
    assert line in files.build(text).executed


@pytest.mark.slow
def test_a_copy_with_parents_is_another_step_than_one_without(project):
    """What only leads to a file keeps its owner in one of them, though both take the same files."""
    project.put({"d": {"mode": 0o711}, "d/f": "1"})
    project.image("base:1", {"out/d": {"mode": 0o700, "uid": 7}})
    plain = project.build("FROM base:1\nCOPY . /out/")
    named = project.build("FROM base:1\nCOPY --parents d /out/")
    assert plain.tree["out/d"] == named.tree["out/d"] == "5 711 0:0"
    for flags in ("--parents d/f", "--exclude=d --exclude=!d/f ."):
        led = project.build(f"FROM base:1\nCOPY {flags} /out/")
        assert led.tree["out/d"] == "5 711 7:0"


@pytest.mark.slow
@pytest.mark.parametrize(("from_", "root"), [("", "."), ("--from=s ", "/")])
def test_other_flags_are_another_step(files, from_, root):
    seen = {}
    for flags in ("", "--exclude=e", "--parents", "--exclude=!e", "--parents --exclude=e"):
        source = "*" if "--parents" in flags else root
        built = files.build(f"{STAGE}COPY {from_}{flags} {source} /out/")
        seen[flags] = taken(built)
    assert seen[""] == seen["--parents"] == seen["--exclude=!e"] == sorted(FILES)
    assert (
        seen["--exclude=e"]
        == seen["--parents --exclude=e"]
        == [path for path in sorted(FILES) if not path.startswith("e/")]
    )


@pytest.mark.slow
def test_an_image_with_parents_keeps_what_is_there(project):
    project.image("base:1", {"out/d": {"mode": 0o700, "uid": 7}})
    project.image("from:1", {"d": {"mode": 0o711}, "d/f": "1"})
    plain = project.build("FROM base:1\nCOPY --from=from:1 / /out/")
    kept = project.build("FROM base:1\nCOPY --from=from:1 --parents d/f /out/")
    assert plain.tree["out/d"] == "5 711 0:0" and kept.tree["out/d"] == "5 711 7:0"


@pytest.mark.slow
def test_what_is_excluded_is_not_opened(files):
    """A tree deeper than a context may have, behind rules that ask for each directory."""
    deep = os.fspath(files.top / "deep")
    os.makedirs(f"{deep}/{'d/' * 420}")
    files.put({".dockerignore": "**/x"})
    assert "b.txt" in taken(files.build(scratch("COPY --exclude=deep . /out/")))
    assert taken(files.build(scratch("COPY --parents b.txt /out/"))) == ["b.txt"]
    with pytest.raises(BuildError, match="nested"):
        files.build(scratch("COPY . /out/"))


def test_two_selections_do_not_forget_each_others_files(files, monkeypatch):
    for name in ("_TICK", "_COARSE"):  # the files are new, and known to stay as they are
        monkeypatch.setattr(statcache, name, -(10**12))
    text = scratch("COPY --exclude=**/*.log . /out/", "COPY . /all/", "COPY --parents **/a /out/")
    files.build(text)
    written = []
    monkeypatch.setattr(BuildCache, "put_directories", lambda *given: written.append(given))
    assert files.build(text).executed == [] and written == []


@pytest.mark.parametrize("pattern", ["[", "a/[b-", "!", "! ", "\\\\"])
def test_an_invalid_pattern(files, pattern):
    for from_ in ("", "--from=s"):
        with pytest.raises(DockerfileError, match="pattern") as caught:
            files.build(f"{STAGE}COPY {from_} --exclude='{pattern}' . /out/")
        assert caught.value.line == 4
    if pattern.strip("! "):
        with pytest.raises(DockerfileError, match="pattern"):
            files.build(scratch(f"COPY --parents {pattern} /out/"))


def test_a_slash_before_a_pattern_matches_nothing_and_says_so(files):
    built = files.build(scratch("COPY --exclude=/e --exclude=!/g e /out/", "COPY b.txt /"))
    assert taken(built) == ["a", "b.log", "f/c.log"]
    assert [warning.partition(" matches nothing")[0] for warning in built.warnings] == [
        "Dockerfile:2: --exclude=/e",
        "Dockerfile:2: --exclude=!/g",
    ]


def test_patterns_are_not_expanded(files):
    built = files.build(scratch("ARG EXT=log", "COPY --exclude=*.$EXT . /out/"))
    assert "a.log" in taken(built)


def test_archives_are_unpacked_whole_and_not_from_directories(project):
    project.put({"d/f": "1"})
    (project.top / "d/a.tar").write_bytes(images.archive({"f": "1"}))
    built = project.build(scratch("ADD --exclude=f d/a.tar /one/", "ADD --exclude=f d /two/"))
    assert taken(built, "one/") == ["f"] and taken(built, "two/") == ["a.tar"]


def test_the_history_has_the_paths_that_were_kept(files):
    built = files.build(
        scratch("COPY --exclude=x --link --parents --chown=1:2 --chmod=700 e/a b.txt /out/")
    )
    assert built.history[-1]["created_by"] == (
        "COPY --parents --chown=1:2 --chmod=700 e/a b.txt /out/"
    )
