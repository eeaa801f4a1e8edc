"""ADD of archives: found out by their content, unpacked as the engines do."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
from functools import partial

import pytest
import zstandard

from ocitool.errors import BuildError, LayerError, OcitoolError
from tests.fixtures import images
from tests.unit.builder.conftest import BuildFixture
from tests.unit.layer.holes import FORMS, sparse
from tests.unit.layer.tars import extended, header, padded, record

CODECS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
    "zstd": zstandard.ZstdCompressor().compress,
}


def add(project: BuildFixture, recipe: dict, *lines: str, base: str = "scratch"):
    """Build an ADD of an archive into /x/."""
    (project.top / "a.tar").write_bytes(images.archive(recipe))
    return project.build("\n".join([f"FROM {base}", *(lines or ("ADD a.tar /x/",))]))


@pytest.mark.parametrize("codec", CODECS)
def test_unpacks_by_content_and_not_by_name(project, codec):
    data = CODECS[codec](images.archive({"d": {"mode": 0o700, "uid": 1, "gid": 2}, "d/f": "in it"}))
    (project.top / "picture.png").write_bytes(data)
    built = project.build("FROM scratch\nADD picture.png /x")
    assert built.read("x/d/f") == "in it"
    assert built.tree["x/d"] == "5 700 1:2" and built.tree["x"] == "5 755 0:0"
    assert "picture.png" in project.build("FROM scratch\nCOPY picture.png /").names()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tar",
        b"x" * 2000,
        gzip.compress(b"plain", mtime=0),
        b"BZh9",
        b"\xfd7zXZ\0",
        bytes(1024),
    ],
)
def test_what_is_no_tar_is_copied(project, data):
    (project.top / "a.tar.gz").write_bytes(data)
    assert project.build("FROM scratch\nADD a.tar.gz /x/").names() == ["x", "x/a.tar.gz"]


@pytest.mark.parametrize(
    "data",
    [
        extended(record(b"comment", b"a commit"), b"g") + header(b"f", size=b"1") + padded(b"x"),
        extended(record(b"path", b"f")) + header(b"g", size=b"1") + padded(b"x"),
        header(b"././@LongLink", kind=b"L", size=b"2") + padded(b"f\0")
        + header(b"g", size=b"1") + padded(b"x"),
        *(sparse(form, 1, [(0, b"x")]) for form in FORMS),
    ],
    ids=["global", "pax", "long name", *FORMS],
)  # fmt: skip
def test_what_begins_with_more_than_one_header_is_a_tar(project, data):
    (project.top / "a.tar").write_bytes(data + bytes(1024))
    assert project.build("FROM scratch\nADD a.tar /x/").read("x/f") == "x"


def test_files_with_holes_come_with_zeros(project):
    (project.top / "a.tar").write_bytes(sparse("1.0", 9000, [(5000, b"x")]) + bytes(1024))
    built = project.build("FROM scratch\nADD a.tar /x/")
    assert built.read("x/f") == "\0" * 5000 + "x" + "\0" * 3999


def test_a_link_to_an_archive_is_unpacked(project):
    project.put({"l": {"link": "a.tar"}})
    assert "x/f" in add(project, {"f": "1"}, "ADD l /x/").tree


def test_a_pipe_is_not_waited_for(project):
    os.mkfifo(project.top / "pipe")
    assert project.build("FROM scratch\nADD pipe /x/").tree["x/pipe"].startswith("6 ")


def test_several_archives_and_files(project):
    (project.top / "b.tar").write_bytes(images.archive({"f": "later", "g": "2"}))
    project.put({"plain": "3"})
    built = add(project, {"f": "1", "h": "4"}, "ADD a.tar b.tar plain /x/")
    assert built.read("x/f") == "later"
    assert {"x/g", "x/h", "x/plain"} <= built.tree.keys()


@pytest.mark.slow
def test_the_archives_root_does_not_change_the_directory(project):
    project.image("base:1", {"x": {"mode": 0o711, "uid": 1, "gid": 2}})
    built = add(project, {".": {"mode": 0o700, "uid": 9}, "./f": "1"}, base="base:1")
    assert built.tree["x"] == "5 711 1:2"


def test_members_keep_owners_without_chown(project):
    recipe = {"f": {"text": "1", "uid": 5, "gid": 6, "mode": 0o640}, "p": {"fifo": True}}
    assert add(project, recipe).tree["x/f"].startswith("0 640 5:6")
    given = add(project, recipe, "ADD --chown=8:9 --chmod=700 a.tar /x/").tree
    assert given["x/f"].startswith("0 640 8:9") and given["x/p"] == "6 644 8:9"


def test_flags_are_for_members_and_the_destination_not_for_what_names_imply(project):
    recipe = {"d/e/f": "1", "g": {"mode": 0o711}}
    built = add(project, recipe, "ADD --chown=8:9 --chmod=700 a.tar /x/y/")
    directories = {name: text for name, text in built.tree.items() if text.startswith("5 ")}
    assert directories == {
        "x": "5 755 8:9", "x/y": "5 755 8:9", "x/y/d": "5 755 0:0", "x/y/d/e": "5 755 0:0",
        "x/y/g": "5 711 8:9",
    }  # fmt: skip
    (project.top / "plain").write_text("1")
    both = project.build("FROM scratch\nADD --chown=8:9 --chmod=700 plain a.tar /x/y/").tree
    assert both["x/y"] == "5 700 8:9" and both["x/y/plain"].startswith("0 700 8:9")


@pytest.mark.slow
def test_members_replace_what_is_in_their_way(project):
    project.image("base:1", {"x": {}, "x/d": {}, "x/d/old": "1", "x/f": "2"})
    built = add(project, {"d": "a file now", "f": {}, "f/new": "3"}, base="base:1")
    assert built.read("x/d") == "a file now"
    assert "x/d/old" not in built.tree and "x/f/new" in built.tree


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "recipe", "path"),
    [
        ({"x/real": {}, "x/l": {"link": "real"}}, {"l/f": "1"}, "x/real/f"),
        ({"x/etc": {}, "etc": {}, "x/l": {"link": "/etc"}}, {"l/f": "1"}, "x/etc/f"),
        ({"x/etc": {}, "etc": {}, "x/l": {"link": "../../etc"}}, {"l/f": "1"}, "x/etc/f"),
        ({"x/n": {}, "x/l": {"link": "/m"}}, {"m": {"link": "n"}, "l/f": "1"}, "x/n/f"),
        ({"o": {}, "x/d": {"link": "/o"}}, {"d": {}, "d/b/f": "1"}, "x/d/b/f"),
        # BuildKit and docker 20.10: no such file or directory.
        ({"etc": {}, "x/l": {"link": "/etc"}}, {"l/f": "1"}, "x/etc/f"),
    ],
)
def test_links_of_the_image_lead_to_the_destination_as_their_root(project, there, recipe, path):
    """As docker's archives, which are unpacked in a chroot."""
    project.image("base:1", {"x": {}, **there})
    built = add(project, recipe, base="base:1")
    assert built.tree[path].startswith("0 644 0:0 6b86b273")  # of "1"
    assert built.tree.keys().isdisjoint({"etc/f", "o/b", "m"})


def test_a_link_that_leads_out_is_written_as_it_is(project):
    members = {member.name: member for member in add(project, {"l": {"link": "../o"}}).layers[0]}
    assert members["x/l"].linkname == "../o"


def test_an_archive_behind_a_link_of_another_one(project):
    for name, recipe in (("a.tar", {"k": {"link": "/in"}}), ("b.tar", {"k/f": "1"})):
        (project.top / name).write_bytes(images.archive(recipe))
    assert "x/in/f" in project.build("FROM scratch\nADD a.tar b.tar /x/\n").tree


def test_hard_links_in_any_order_and_with_the_attributes_of_the_last(project):
    recipe = {"z": {"text": "data", "uid": 3, "mode": 0o600}, "a": {"hardlink": "z"},
              "m": {"hardlink": "a"}}  # fmt: skip
    built = add(project, recipe)
    members = {member.name: member for member in built.layers[0]}
    assert members["x/a"].isreg() and built.read("x/a") == "data"
    assert members["x/m"].linkname == members["x/z"].linkname == "x/a"
    assert {members[name].uid for name in ("x/a", "x/m", "x/z")} == {0}


@pytest.mark.slow
def test_a_hard_link_to_a_file_of_the_image(project):
    project.image("base:1", {"x": {}, "x/f": "old"})
    built = add(project, {"g": {"hardlink": "f"}}, base="base:1")
    assert built.tree["x/g"] == built.tree["x/f"]


@pytest.mark.parametrize(
    ("recipe", "error", "message"),
    [
        ({"h": {"hardlink": "../../etc/passwd"}}, LayerError, "hard link to a missing file"),
        ({"h": {"hardlink": "gone"}}, LayerError, "hard link to a missing file"),
        ({".wh.f": "1"}, LayerError, r"begins with \.wh\."),
        ({"d/.wh..wh..opq": "1"}, LayerError, r"begins with \.wh\."),
        ({"f": "1", "f/g": "2"}, BuildError, "cannot copy to non-directory: /x/f"),
    ],
)
def test_hostile_archives(project, recipe, error, message):
    with pytest.raises(error, match=message) as caught:
        add(project, recipe)
    assert caught.value.where.startswith("Dockerfile:2")


@pytest.mark.parametrize(
    ("recipe", "path"),
    [
        ({"../f": "1"}, "x/f"),
        ({"/etc/f": "1"}, "x/etc/f"),
        ({"etc/../f": "1"}, "x/f"),
        ({"lib": {"link": "usr/lib"}, "lib/f": "1"}, "x/usr/lib/f"),
        ({"l": {"link": "/etc"}, "l/f": "1"}, "x/etc/f"),
        ({"r": {"link": "/"}, "r/f": "1"}, "x/f"),
        ({"a/up": {"link": "../b/.."}, "a/up/f": "1"}, "x/f"),
        ({"a/up": {"link": "../../.."}, "a/up/f": "1"}, "x/f"),
        ({"a": {"link": "b"}, "b": {"link": "/c"}, "a/f": "1"}, "x/c/f"),
        ({"l": {"link": "d"}, "d/g": "1", "f": {"hardlink": "/l/g"}}, "x/f"),
    ],
)
def test_names_and_links_of_an_archive_stay_below_the_destination(project, recipe, path):
    assert add(project, recipe).tree[path].startswith("0 644 0:0 6b86b273")  # of "1"


@pytest.mark.slow
def test_a_link_leads_from_where_it_stands_in_the_archive_on(project):
    built = add(project, {"e": {}, "d/f": "1", "d": {"link": "/e"}, "d/g": "1"})
    assert sorted(built.tree) == ["x", "x/d", "x/e", "x/e/g"]
    project.image("base:1", {"x": {}, "x/e": {}, "x/d": {"link": "e"}})
    built = add(project, {"d/f": "1", "d": {}, "d/g": "1"}, base="base:1")
    assert sorted(built.tree) == ["x", "x/d", "x/d/g", "x/e", "x/e/f"]


def test_times_that_are_none_are_1970(project):
    with tarfile.open(project.top / "a.tar", "w") as archive:
        for name, time in (("early", -5), ("late", 1 << 34), ("fits", 9)):
            member = tarfile.TarInfo(name)
            member.mtime = time
            archive.addfile(member)
    (members,) = project.build("FROM scratch\nADD a.tar /").layers
    assert {each.name: each.mtime for each in members} == {"early": 0, "late": 0, "fits": 9}


def test_a_member_that_comes_twice(project):
    first, second = images.archive({"d": {}, "d/f": "1"}), images.archive({"d": "a file"})
    (project.top / "twice.tar").write_bytes(_joined(first, second))
    built = project.build("FROM scratch\nADD twice.tar /x/")
    assert sorted(built.tree) == ["x", "x/d"] and built.read("x/d") == "a file"


def test_a_link_that_a_file_replaces_is_no_longer_followed(project):
    first, second = images.archive({"d": {}, "l": {"link": "d"}}), images.archive({"l": "1"})
    third = images.archive({"l/g": "2"})
    (project.top / "a.tar").write_bytes(_joined(first, second, third))
    with pytest.raises(BuildError, match="cannot copy to non-directory: /x/l"):
        project.build("FROM scratch\nADD a.tar /x/")


def _joined(*tars: bytes) -> bytes:
    """Return one archive of several: a tar ends at two blocks of zeros."""
    blocks = [[tar[at : at + 512] for at in range(0, len(tar), 512)] for tar in tars]
    return b"".join(b for each in blocks for b in each if b.strip(b"\0")) + bytes(1024)


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_corrupt_archives(project, codec):
    recipe = {"f": os.urandom(1_200_000).hex()}  # bzip2 has blocks of 900 kB
    whole = CODECS[codec](images.archive(recipe))
    (project.top / "a.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OcitoolError) as caught:
        project.build("FROM scratch\nADD a.tar /x/")
    assert caught.value.where.startswith("Dockerfile:2")


def test_a_url_that_is_not_supported_is_refused_by_name(project):
    with pytest.raises(OcitoolError, match="is not supported") as caught:
        project.build("FROM scratch\nARG U=ftp://example.com/f\nADD $U /x")
    assert caught.value.where == "Dockerfile:3" and caught.value.hint


@pytest.mark.parametrize("kind", [*b"DMVNZ"])
def test_an_archive_that_cannot_be_unpacked_is_refused_by_its_member(project, kind):
    """GNU tar begins with such a member after -g, -M and -V; docker refuses it as well."""
    (project.top / "a.tar").write_bytes(header(b"label", kind=bytes([kind])) + bytes(1024))
    with pytest.raises(LayerError, match="is not known") as caught:
        project.build("FROM scratch\nADD a.tar /x/")
    assert "label" in str(caught.value)


def test_a_first_member_without_a_name_or_a_global_header_is_an_archive(project):
    (project.top / "a.tar").write_bytes(header(b"") + bytes(1024))
    with pytest.raises(LayerError, match="has no name"):
        project.build("FROM scratch\nADD a.tar /x/")
    comment = extended(record(b"comment", b"by git"), b"g")
    (project.top / "a.tar").write_bytes(comment + header(b"f") + bytes(1024))
    assert "x/f" in project.build("FROM scratch\nADD a.tar /x/").tree


def test_the_last_header_of_a_file_with_several_names_counts(project):
    recipe = {"f": {"text": "data", "uid": 3, "mode": 0o600}}
    first = images.archive(recipe)
    fields = {"kind": b"1", "link": b"f", "mode": b"640", "uid": b"7", "gid": b"10", "mtime": b"5"}
    (project.top / "a.tar").write_bytes(_joined(first, header(b"g", **fields)))
    built = project.build("FROM scratch\nADD a.tar /x/")
    members = {member.name: member for member in built.layers[0]}
    for name in ("x/f", "x/g"):
        found = members[name]
        assert (found.mode, found.uid, found.gid, found.mtime) == (0o640, 7, 8, 5)
    assert built.read("x/f") == "data" and members["x/g"].linkname == "x/f"
    (project.top / "own.tar").write_bytes(_joined(first, header(b"g", **fields)))
    built = project.build("FROM scratch\nADD --chown=1:2 own.tar /x/")
    assert {(member.uid, member.gid) for member in built.layers[0] if member.name != "x"} == {
        (1, 2)
    }


def test_hard_links_of_empty_files_survive_a_copy_between_stages(project):
    (project.top / "a.tar").write_bytes(
        images.archive({"a": "", "b": {"hardlink": "a"}, "c": "", "d": "1"})
    )
    built = project.build("FROM scratch AS s\nADD a.tar /x/\nFROM scratch\nCOPY --from=s /x /y")
    members = {member.name: member for member in built.layers[0]}
    assert members["y/b"].islnk() and members["y/b"].linkname == "y/a"
    assert members["y/c"].isreg() and members["y/d"].isreg()


def test_a_hard_link_outlives_the_directory_of_the_file(project):
    first = {"d": {}, "d/f": "1", "d/g": {"hardlink": "d/f"}, "h": {"hardlink": "d/f"}}
    first |= {"i": {"hardlink": "d/g"}, "o": "2", "d/o": {"hardlink": "o"}}
    second = images.archive({"d": "a file"})
    (project.top / "a.tar").write_bytes(_joined(images.archive(first), second))
    built = project.build("FROM scratch\nADD a.tar /x/")
    assert sorted(built.tree) == ["x", "x/d", "x/h", "x/i", "x/o"]
    assert [built.read(f"x/{name}") for name in "dhio"] == ["a file", "1", "1", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("second", [{"f": "new"}, {"f": {}}, {"f": {"link": "n"}}])
def test_a_hard_link_to_a_file_of_the_image_that_the_archive_replaces(project, second):
    project.image("base:1", {"x": {}, "x/f": "old"})
    first = images.archive({"g": {"hardlink": "f"}})
    (project.top / "a.tar").write_bytes(_joined(first, images.archive(second)))
    with pytest.raises(LayerError, match="hard link to /x/f, which a later member replaces"):
        project.build("FROM base:1\nADD a.tar /x/")


@pytest.mark.slow
def test_a_hard_link_to_a_file_of_the_image_whose_directory_is_replaced(project):
    project.image("base:1", {"x": {}, "x/d": {}, "x/d/f": "old"})
    first, second = images.archive({"g": {"hardlink": "d/f"}}), images.archive({"d": "a file"})
    (project.top / "a.tar").write_bytes(_joined(first, second))
    with pytest.raises(LayerError, match="hard link to /x/d/f, which a later member replaces"):
        project.build("FROM base:1\nADD a.tar /x/")


@pytest.mark.parametrize(
    "parts",
    [({"a": "1"}, {"a": {"hardlink": "a"}}), ({"c/x": "1"}, {"c": {"hardlink": "c/x"}})],
)
def test_a_hard_link_to_what_its_own_name_removes(project, parts):
    (project.top / "a.tar").write_bytes(_joined(*map(images.archive, parts)))
    with pytest.raises(LayerError, match="hard link to a missing file"):
        project.build("FROM scratch\nADD a.tar /x/")


def test_a_file_that_becomes_a_link_to_its_other_name(project):
    parts = ({"a": "1", "b": {"hardlink": "a"}}, {"a": {"hardlink": "b", "mode": 0o600}})
    (project.top / "a.tar").write_bytes(_joined(*map(images.archive, parts)))
    built = project.build("FROM scratch\nADD a.tar /x/")
    assert built.read("x/a") == built.read("x/b") == "1"
    assert built.tree["x/a"] == built.tree["x/b"] and built.tree["x/a"].startswith("0 600 ")


@pytest.mark.slow
def test_a_hard_link_below_a_directory_of_the_image_that_a_file_replaces(project):
    project.image("base:1", {"x": {}, "x/d": {}, "x/d/f": "old"})
    with pytest.raises(LayerError, match="hard link to a missing file"):
        add(project, {"d": "1", "g": {"hardlink": "d/f"}}, base="base:1")


@pytest.mark.slow
def test_a_link_of_the_image_that_a_file_replaces_is_no_longer_followed(project):
    project.image("base:1", {"x": {}, "x/e": {}, "x/l": {"link": "e"}})
    with pytest.raises(BuildError, match="cannot copy to non-directory: /x/l"):
        add(project, {"l/f": "1", "l": "2", "l/g": "3"}, base="base:1")
    project.image("base:2", {"x": {}, "x/b": {}, "x/b/l": {"link": "/b"}})
    with pytest.raises(LayerError, match="hard link to a missing file"):
        add(project, {"b/l/l": "1", "g": {"hardlink": "b/l/l"}}, base="base:2")


@pytest.mark.slow
def test_a_directory_of_the_image_that_is_replaced_twice_is_refused(project):
    project.image("base:1", {"x": {}, "x/d": {}, "x/d/old": "old", "x/f": "old"})
    (project.top / "a.tar").write_bytes(
        _joined(images.archive({"d": "1", "f": "1"}), images.archive({"f": {}, "d": {}}))
    )
    with pytest.raises(LayerError, match="replaces the directory /x/d of the image by a file"):
        project.build("FROM base:1\nADD a.tar /x/")
