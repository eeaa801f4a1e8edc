"""COPY: which entries a layer gets, and what is refused."""

from __future__ import annotations

import os
import re
import socket

import pytest

from ocitool.errors import BuildError, DockerfileError
from ocitool.progress import Notice
from tests.unit.builder.conftest import scratch


def test_file_renamed_and_into_directories(sources):
    tree = sources.build(scratch("COPY f /x/y/new", "COPY f x/", "COPY f run.sh .")).tree
    assert sorted(tree) == ["f", "run.sh", "x", "x/f", "x/y", "x/y/new"]
    assert tree["x"] == tree["x/y"] == "5 755 0:0"
    assert tree["x/f"] == tree["x/y/new"] == tree["f"]
    assert tree["run.sh"].startswith("0 755 0:0 ")


def test_directory_gives_its_content_and_keeps_nested_links(sources):
    tree = sources.build(scratch("COPY d /new")).tree
    assert sorted(tree) == ["new", "new/a", "new/link", "new/out", "new/sub", "new/sub/c"]
    assert tree["new"] == "5 755 0:0"  # the directory's own attributes are not copied
    assert tree["new/sub"] == "5 700 0:0"
    assert tree["new/link"] == "2 0:0 -> a"
    assert tree["new/out"] == "2 0:0 -> /etc/passwd"


def test_trailing_slash_makes_a_directory(sources):
    assert sorted(sources.build(scratch("COPY f /x/")).tree) == ["x", "x/f"]
    assert sorted(sources.build(scratch("COPY f /x")).tree) == ["x"]
    assert sorted(sources.build(scratch("WORKDIR /w", "COPY f ./")).tree) == ["w", "w/f"]
    assert sorted(sources.build(scratch("WORKDIR /w", "COPY f ..")).tree) == ["f", "w"]


def warnings(built):
    return [each.text for each in built.events.events if isinstance(each, Notice)]


def test_a_copy_of_nothing_is_a_warning(project):
    project.put({"a": "1", "empty/": ""})
    built = project.build(scratch("COPY none* [x-z] /x/"))
    assert not built.tree
    assert warnings(built) == [
        "Dockerfile:2: nothing is copied: no file has a name that the wildcards match"
    ]
    assert warnings(project.build(scratch("COPY none* [x-z] /x/"))) == warnings(built)  # cached
    for line in ("COPY a none* /x/", "COPY empty /x", "COPY <<a /x\na"):
        assert not warnings(project.build(scratch(line)))


@pytest.mark.slow
def test_of_several_files_for_one_name_the_last_one_counts_with_a_warning(project):
    project.put({"a": "1", "b": "2", "d/f": "3", "e/g": "4"})
    built = project.build(scratch("COPY a b /x"))
    assert built.read("x") == "2" and len(built.layers[0]) == 1
    assert warnings(built) == [
        "Dockerfile:2: 2 sources and a destination without a slash at its end: unless /x is a "
        "directory, each file replaces the previous one"
    ]
    assert warnings(project.build(scratch("COPY a b /x"))) == warnings(built)  # cached, too
    assert warnings(project.build(scratch("COPY [ab] /x"))) == warnings(built)
    merged = project.build(scratch("COPY d e /x", "COPY d a /y"))
    assert sorted(merged.tree) == ["x", "x/f", "x/g", "y", "y/a", "y/f"] and not warnings(merged)
    project.image("base:1", {"x": {}})
    assert sorted(project.build("FROM base:1\nCOPY a b /x").tree) == ["x", "x/a", "x/b"]
    with pytest.raises(BuildError, match="cannot copy to non-directory: /x"):
        project.build(scratch("COPY a d /x"))


def test_an_empty_destination_is_the_working_directory(sources):
    built = sources.build(scratch("WORKDIR /w", "COPY f $nothing"))
    assert sorted(built.tree) == ["w", "w/f"]
    assert built.warnings == ("Dockerfile:3: UndefinedVar: Usage of undefined variable '$nothing'",)


def test_wildcards(project):
    project.put(
        {"one.txt": "1", "two.txt": "2", "a[b]c": "3", "s/deep/x.c": "4", "t/deep/y.c": "5"}
    )
    tree = project.build(scratch("COPY *.txt /t/", "COPY */deep/?.c /c/", "COPY a[[]b]c /b/")).tree
    assert {path for path in tree if "." in path or "[" in path} == {
        *("t/one.txt", "t/two.txt", "c/x.c", "c/y.c", "b/a[b]c"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("copy", ["COPY", "COPY --from=all"])
def test_a_backslash_is_a_character_of_a_name_until_there_is_a_wildcard(project, copy):
    """As BuildKit; in a Dockerfile it is written twice, as the first one escapes the other."""
    names = ("b\\s", "bs", "d\\e/f", "de/g", "x[1]", "x1")
    project.put({name: name for name in names})

    def copied(source: str) -> str:
        stages = ("FROM scratch AS all", "COPY . /", "FROM scratch", f"{copy} {source} /o/")
        built = project.build("\n".join(stages))
        (path,) = [path for path in built.tree if path != "o"]
        return built.read(path)

    for source, name in {
        r"b\\s": r"b\s",
        r"b\\s*": "bs",
        r"d\\e/*": r"d\e/f",
        r"d*\\e/[g]": "de/g",
        r"[d]e/\\g": "de/g",
        "x[[]1]": "x[1]",
        "x[1]": "x1",
    }.items():
        assert copied(source) == name
    for source, missing in {r"x\\[1\\]": r"/x\[1\]", r"de\\": "/de\\", r"d\\/g": r"/d\/g"}.items():
        with pytest.raises(BuildError, match=re.escape(f'"{missing}": not found')):
            copied(source)


def test_wildcard_without_match_copies_nothing(sources):
    built = sources.build(scratch("COPY f /f", "COPY *.none /x/"))
    assert sorted(built.tree) == ["f"]


def test_wildcard_names_a_link_by_its_own_name(project):
    project.put({"lib.so.1": "code", "lib.so": {"link": "lib.so.1"}})
    tree = project.build(scratch("COPY lib* /l/")).tree
    assert tree["l/lib.so"] == tree["l/lib.so.1"]
    assert tree["l/lib.so"].startswith("0 644")


@pytest.mark.parametrize("source", ["gone/a[", "gone*/a[b", "d*/[]a]", "f*/["])
def test_a_wrong_pattern_is_refused_also_where_nothing_could_match(project, source):
    project.put({"d/f": "1"})
    with pytest.raises(DockerfileError, match="syntax error in pattern"):
        project.build(scratch(f"COPY {source} /x/"))


def test_wildcard_that_finds_a_link_to_nothing_is_an_error(project):
    """As BuildKit: the link stands in the context, so that leaving it out would hide a fault."""
    project.put({"lib.so": {"link": "lib.so.1"}, "a": "1", "to": {"link": "gone"}})
    with pytest.raises(BuildError, match=r'"/lib\.so": not found') as raised:
        project.build(scratch("COPY * /l/"))
    assert raised.value.hint == "the target of this symbolic link is not in the context"
    (project.top / ".dockerignore").write_text("lib.so\nto\n.*\n")
    assert sorted(project.build(scratch("COPY * /l/")).tree) == ["l", "l/a"]


def test_wildcard_that_finds_a_link_to_what_is_ignored_is_an_error(project):
    project.put({"l": {"link": "a"}, "a": "1", "d/f": "2", "way": {"link": "d"}})
    (project.top / ".dockerignore").write_text("a\nd/f\n")
    with pytest.raises(BuildError, match='"/l": not found') as raised:
        project.build(scratch("COPY [l] /l/"))
    assert "excluded by the ignore file" in raised.value.hint
    assert project.build(scratch("COPY way/* /l/")).tree == {}  # nothing is there to be found


def test_wildcard_that_finds_a_link_to_nothing_in_a_stage_is_an_error(project):
    project.put({"d/l": {"link": "gone"}, "d/f": "1"})
    stages = ("FROM scratch AS one", "COPY d /d", "FROM scratch", "COPY --from=one /d/* /x/")
    with pytest.raises(BuildError, match='"/d/l": not found'):
        project.build("\n".join(stages))


def test_links_are_followed_in_front_of_a_wildcard_and_inside_the_context_alone(project, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("host")
    project.put({"real/f": "1", "in": {"link": "/real"}, "out": {"link": str(outside)}})
    tree = project.build(scratch("COPY in/* out/* /x/")).tree
    assert sorted(tree) == ["x", "x/f"]


def test_links_behind_a_wildcard_are_not_followed(project):
    """As BuildKit; buildah follows them."""
    project.put({"real/f": "1", "real/d/g": "2", "link": {"link": "real"}, "l": {"link": "real"}})
    tree = project.build(scratch("COPY r*/f l*/f */d/* */*/g /x/")).tree
    assert sorted(tree) == ["x", "x/f", "x/g"]
    assert sorted(project.build(scratch("COPY l*/f /x/")).tree) == []


@pytest.mark.parametrize("source", ["../../f", "/f", "/../f", "x/../../f"])
def test_sources_stay_inside_the_context(sources, source):
    (sources.top.parent / "f").write_text("of the host\n")
    built = sources.build(scratch(f"COPY {source} /copied"))
    assert built.read("copied") == "a file\n"


def test_top_link_is_followed_inside_the_context(sources):
    (sources.top.parent / "secret").write_text("of the host\n")
    sources.put({"l": {"link": "/f"}, "ld": {"link": "d"}, "out": {"link": "../secret"}})
    built = sources.build(scratch("COPY l /l", "COPY ld /ld", "COPY ld/sub/c /c"))
    assert built.read("l") == "a file\n"
    assert "ld/sub/c" in built.tree and built.read("c") == "c\n"
    with pytest.raises(BuildError, match='"/out": not found'):
        sources.build(scratch("COPY out /x"))


def test_links_in_a_circle(project):
    project.put({"a": {"link": "b"}, "b": {"link": "a"}})
    with pytest.raises(BuildError, match="too many levels of symbolic links"):
        project.build(scratch("COPY a /x"))


def test_hard_links_stay(project):
    project.put({"h/one": "data", "h/two": {"hardlink": "h/one"}, "h/z/3": {"hardlink": "h/one"}})
    members = {member.name: member for member in project.build(scratch("COPY h /h")).layers[0]}
    assert members["h/one"].isreg()
    assert members["h/two"].linkname == members["h/z/3"].linkname == "h/one"


def test_names_of_one_file_that_is_replaced_keep_the_old_content(project):
    project.put({"a/1": "old", "a/2": {"hardlink": "a/1"}, "a/3": {"hardlink": "a/1"}})
    project.put({"b/1": "new"})
    built = project.build(scratch("COPY a b /x/"))
    assert built.read("x/1") == "new" and built.read("x/2") == "old"
    assert built.tree["x/3"] == built.tree["x/2"]


def test_later_sources_win_and_directories_merge(project):
    project.put({"a/x": "1", "a/s": {"mode": 0o700}, "a/s/p": "p", "b/x": "2"})
    project.put({"b/s": {"mode": 0o711}, "b/s/q": "q"})
    built = project.build(scratch("COPY a b /m/"))
    assert built.read("m/x") == "2"
    assert built.tree["m/s"] == "5 711 0:0"
    assert {"m/s/p", "m/s/q"} <= built.tree.keys()


def test_sources_that_disagree_are_refused(project):
    project.put({"a/x/y": "1", "b/x": "2", "c/x": {"link": "y"}})
    with pytest.raises(BuildError, match="cannot replace to directory /m/x with file"):
        project.build(scratch("COPY a b /m/"))
    with pytest.raises(BuildError, match="cannot copy to non-directory: /m/x"):
        project.build(scratch("COPY b a /m/"))
    with pytest.raises(BuildError, match="cannot copy to non-directory: /m/x"):
        project.build(scratch("COPY c a /m/"))


def test_directory_and_file_do_not_replace_each_other(sources):
    sources.put({"e/a/x": "1"})
    with pytest.raises(BuildError, match="cannot copy to non-directory: /m/a") as caught:
        sources.build(scratch("COPY d /m", "COPY e /m"))
    assert caught.value.where == "Dockerfile:3" and "RUN" in caught.value.hint
    with pytest.raises(BuildError, match="cannot replace to directory /m/f with file"):
        sources.build(scratch("COPY d /m/f", "COPY f /m/"))
    with pytest.raises(BuildError, match="cannot copy to non-directory: /f"):
        sources.build(scratch("COPY f /f", "COPY run.sh /f/"))
    with pytest.raises(BuildError, match="cannot copy to non-directory: /f"):
        sources.build(scratch("COPY f /f", "COPY run.sh /f/deep/x"))


@pytest.mark.slow
def test_existing_parents_are_repeated_as_they_are(project):
    project.put({"f": "1"})
    project.image("base:1", {"p": {"mode": 0o2770, "uid": 5, "gid": 6}, "p/q": {"mode": 0o700}})
    built = project.build("FROM base:1\nCOPY --chown=9:9 f /p/q/r/f")
    assert built.names() == ["p", "p/q", "p/q/r", "p/q/r/f"]
    assert built.tree["p"] == "5 2770 5:6"
    assert built.tree["p/q"] == "5 700 0:0"
    assert built.tree["p/q/r"] == "5 755 9:9"


@pytest.mark.slow
def test_links_of_the_image_are_followed_inside_it(project, tmp_path):
    project.put({"f": "1", "d/g": "2"})
    host = tmp_path / "host"
    host.mkdir()
    links = {"real": {}, "real/in": {}, "abs": {"link": "/real"}, "rel": {"link": "real/in"},
             "up": {"link": "../../../real"}, "host": {"link": str(host)},
             "file": {"link": "real/target"}}  # fmt: skip
    project.image("base:1", links)
    copies = ("COPY f /abs/", "COPY f /rel/x", "COPY d /up/d", "COPY f /host/f", "COPY f /file")
    built = project.build("\n".join(["FROM base:1", *copies]))
    assert {"real/f", "real/in/x", "real/d/g", "real/target"} <= built.tree.keys()
    assert built.tree["abs"] == "2 0:0 -> /real"
    assert f"{host}/f".lstrip("/") in built.tree  # made in the image
    assert os.listdir(host) == []


@pytest.mark.slow
def test_a_link_in_the_destination_directory_is_replaced(project):
    project.put({"f": "new", "d/a": "new"})
    project.image(
        "base:1", {"t": {}, "t/real": "old", "t/f": {"link": "real"}, "t/a": {"link": "f"}}
    )
    built = project.build("FROM base:1\nCOPY f /t/\nCOPY d /t/")
    assert built.read("t/real") == "old" and built.read("t/f") == "new"
    assert built.tree["t/a"] == built.tree["t/f"]


def test_attributes_of_context_files(project):
    """Extended attributes are none, as in BuildKit's layers: they are how a file came here."""
    project.put({"s": {"text": "1", "mode": 0o6755}, "x": {"text": "2", "xattrs": {"user.n": "v"}}})
    project.put({"d": {"xattrs": {"user.n": "v"}}})
    os.mkfifo(project.top / "pipe")
    tree = project.build(scratch("COPY . /")).tree
    assert tree["s"].startswith("0 6755 0:0 ")
    assert "user.n" not in f"{tree['x']} {tree['d']}"
    assert tree["pipe"].startswith("6 ")


@pytest.mark.slow
def test_a_socket_of_the_context_is_an_empty_file(project, monkeypatch):
    monkeypatch.chdir(project.top)  # an address has few characters
    project.put({"d": {}})
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind("d/s")
        second.bind("s")
    os.chmod("d/s", 0o640)
    os.chmod("s", 0o600)
    lines = scratch("COPY d /d", "COPY s /t", "ADD s /u/")
    built = project.build(lines)
    assert built.tree["d/s"].startswith("0 640 0:0 ") and built.read("d/s") == ""
    assert built.tree["t"] == built.tree["u/s"] and built.tree["t"].startswith("0 600 0:0 ")
    assert project.build(lines).executed == []
    os.remove("d/s")
    assert "d/s" not in project.build(lines).tree


def test_missing_and_ignored_sources(sources):
    with pytest.raises(BuildError, match='"/gone": not found') as caught:
        sources.build(scratch("COPY f /", "COPY gone /"))
    assert caught.value.where == "Dockerfile:3" and str(sources.top) in caught.value.hint
    sources.put({".dockerignore": "f\nd\n!d/sub\n", "alias": {"link": "f"}})
    for source in ("f", "alias"):
        with pytest.raises(BuildError, match=f'"/{source}": not found') as caught:
            sources.build(scratch(f"COPY {source} /"))
        assert "ignore file" in caught.value.hint
    assert sorted(sources.build(scratch("COPY d /d")).tree) == ["d", "d/sub", "d/sub/c"]
    assert sorted(sources.build(scratch("COPY [f]* /x/", "COPY run.sh /")).tree) == ["run.sh"]


def test_a_name_that_means_a_removal_in_a_layer(project):
    project.put({"d/.wh.f": "1"})
    with pytest.raises(BuildError, match=r"/x/\.wh\.f: a name that begins with \.wh\."):
        project.build(scratch("COPY d /x"))


def test_heredocs(project):
    project.put({"f": "1"})
    built = project.build(
        "FROM scratch\nARG WHO=me\n"
        'COPY --chmod=700 --chown=1:2 <<one <<"two" f /d/\nfor $WHO \\$x\none\n$WHO stays\ntwo\n'
        "COPY <<-three /single\n\ttabs go\n\tthree\n"
    )
    assert built.read("d/one") == "for me $x\n"
    assert built.read("d/two") == "$WHO stays\n"
    assert built.read("single") == "tabs go\n"
    assert built.tree["d/one"].startswith("0 700 1:2 ") and "d/f" in built.tree
    assert built.tree["single"].startswith("0 644 0:0 ")


@pytest.mark.parametrize("names", [("a", "b"), ("a", "a")])
@pytest.mark.parametrize("instruction", ["COPY", "ADD"])
def test_of_several_heredocs_to_one_file_the_last_one_is_it(project, instruction, names):
    one, two = names
    built = project.build(
        f"FROM scratch\n{instruction} <<{one} <<{two} /f\nfirst\n{one}\nsecond\n{two}\n"
    )
    assert list(built.tree) == ["f"] and built.read("f") == "second\n"


@pytest.mark.parametrize("line", ["COPY gone /", "ADD gone /", "COPY --chown=nobody f /"])
def test_what_fails_shows_its_lines_of_the_dockerfile(sources, line):
    with pytest.raises(BuildError) as caught:
        sources.build(scratch("COPY d /d", f"{line.removesuffix('/')}\\", "  /d/../d"))
    assert caught.value.line == 3
    assert caught.value.excerpt == (f"{line.removesuffix('/')}\\", "  /d/../d")


@pytest.mark.parametrize(
    ("files", "source", "copied"),
    [
        (["sub/a"], "sub", None),
        (["sub/a"], "su*", set()),
        (["sub/a", "zz"], ".", {"x/zz"}),
        (["sub/a"], ".", set()),
        (["sub/a", "sub/zz"], "sub", {"x/zz"}),
        (["sub/a", "sub/d/e/zz"], "sub", {"x/d", "x/d/e", "x/d/e/zz"}),
        (["sub/a", "sub/d/e/zz"], "su*", {"x/d", "x/d/e", "x/d/e/zz"}),
        (["sub/d/b"], "sub/d", None),
        (["sub/d/zz"], "sub/d", {"x/zz"}),
        (["sub/zz/"], "sub", {"x/zz"}),
        (["sub/a", "sub/zz"], "link", None),
        (["sub/a", "sub/zz"], "lin*", set()),
        (["file"], "file", None),
    ],
)
def test_a_directory_that_is_ignored_is_there_with_what_is_re_included(
    project, files, source, copied
):
    """BuildKit sends a parent only with a child."""
    project.put({each: {} if each.endswith("/") else "1" for each in files})
    project.put({".dockerignore": "*\n!**/zz\n", "link": {"link": "sub"}})
    text = scratch(f"COPY {source} /x/")
    if copied is None:
        with pytest.raises(BuildError, match=f'"/{source}": not found') as caught:
            project.build(text)
        assert "excluded by the ignore file" in caught.value.hint
    else:
        assert set(project.build(text).tree) - {"x"} == copied
