"""Reading what other programs write, in every format they have."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile

import pytest

from ocitool.errors import LayerError, UnsupportedEntry
from ocitool.layer.entry import Entry, Kind, kind_of
from ocitool.layer.tar.reader import TarReader
from tests.unit.layer.tars import extended, header, members, padded, record, tar

LONG = "/".join(["directory-with-a-long-name"] * 5)  # 134 bytes
LONGER = "/".join(["directory-with-a-long-name"] * 12)  # 323 bytes


@pytest.fixture
def tree(tmp_path):
    """A small tree with one of each kind that anybody can make."""
    top = tmp_path / "tree"
    (top / LONG).mkdir(parents=True)
    (top / "empty").write_bytes(b"")
    (top / "file").write_bytes(bytes(range(256)) * 10)
    (top / "file").chmod(0o4751)
    (top / "link").symlink_to("file")
    os.link(top / "file", top / "other")
    os.mkfifo(top / "pipe")
    (top / LONG / "deep").write_bytes(b"deep")
    for path in ("file", "empty", "link", "pipe", f"{LONG}/deep", LONG):
        os.utime(top / path, ns=(10**18, 10**18), follow_symlinks=False)
    return top


def check(data, tree, *, times=True):
    """Compare what is read from *data* with the tree it was made of."""
    found = {entry.path: (entry, content) for entry, content in members(data)}
    assert {"file", "other", "empty", "link", "pipe", LONG, f"{LONG}/deep"} <= set(found)
    for path, (entry, content) in found.items():
        state = os.lstat(tree / path)
        if entry.kind == Kind.HARDLINK:
            assert os.lstat(tree / entry.link).st_ino == state.st_ino
            continue
        assert kind_of(state.st_mode) == entry.kind
        assert (entry.uid, entry.gid) == (state.st_uid, state.st_gid)
        if entry.kind != Kind.SYMLINK:
            assert entry.mode == state.st_mode & 0o7777
        if times and path != LONG:
            assert entry.mtime // 10**9 == state.st_mtime_ns // 10**9
        assert content == ((tree / path).read_bytes() if entry.kind == Kind.FILE else b"")
    assert found["link"][0].link == "file"
    assert {found["file"][0].kind, found["other"][0].kind} == {Kind.FILE, Kind.HARDLINK}


@pytest.fixture(scope="module")
def gnu_tar():
    """Skip unless the tar here is GNU's."""
    said = b""
    if shutil.which("tar"):
        said = subprocess.run(["tar", "--version"], capture_output=True).stdout
    if b"GNU tar" not in said:
        pytest.skip("needs GNU tar")


@pytest.mark.usefixtures("gnu_tar")
@pytest.mark.parametrize("kind", ["gnu", "oldgnu", "pax", "posix", "ustar"])
def test_gnu_tar(tree, kind):
    args = ["tar", "-c", f"--format={kind}", "-C", tree, "."]
    check(subprocess.run(args, capture_output=True, check=True).stdout, tree)


@pytest.mark.usefixtures("gnu_tar")
def test_gnu_tar_of_the_seventh_edition(tree):
    args = ["tar", "-c", "--format=v7", "-C", tree, "empty", "file", "link"]
    data = subprocess.run(args, capture_output=True, check=True).stdout
    assert [entry.path for entry, _ in members(data)] == ["empty", "file", "link"]
    assert members(data)[1][1] == (tree / "file").read_bytes()


def test_busybox(tree):
    if shutil.which("busybox") is None:
        pytest.skip("needs busybox")
    done = subprocess.run(["busybox", "tar", "-c", "-C", tree, "."], capture_output=True)
    if done.returncode:
        pytest.skip(f"this busybox cannot make tars: {done.stderr.decode()}")
    check(done.stdout, tree)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_python(tree, kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        archive.add(tree, arcname=".")
    check(out.getvalue(), tree)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    ("name", "fields", "attribute", "value"),
    [
        (LONGER, {}, "path", LONGER),
        ("caf\udce9", {}, "path", "caf\udce9"),
        ("café", {}, "path", "café"),
        ("x", {"uid": 3_000_000}, "uid", 3_000_000),
        ("x", {"gid": (1 << 32) - 2}, "gid", (1 << 32) - 2),
        ("x", {"mtime": -1}, "mtime", -(10**9)),
        ("x", {"mtime": -(10**10)}, "mtime", -(10**19)),
        ("x", {"mtime": 1 << 34}, "mtime", (1 << 34) * 10**9),
        ("x", {"type": tarfile.SYMTYPE, "linkname": LONGER}, "link", LONGER),
        ("x", {"type": tarfile.LNKTYPE, "linkname": LONGER}, "link", LONGER),
        ("x", {"type": tarfile.CHRTYPE, "devmajor": 10, "devminor": 200}, "device", (10, 200)),
        ("x", {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 1}, "device", (8, 1)),
        ("x/", {"type": tarfile.DIRTYPE}, "path", "x"),
        ("x", {"type": tarfile.CONTTYPE}, "kind", Kind.FILE),
        ("x", {"type": tarfile.AREGTYPE}, "kind", Kind.FILE),
        ("./x//y/.", {"type": tarfile.DIRTYPE}, "path", "x/y"),
        (".", {"type": tarfile.DIRTYPE}, "path", ""),
    ],
)
def test_values_that_octal_fields_do_not_hold(kind, name, fields, attribute, value):
    info = tarfile.TarInfo(name)
    for field, given in fields.items():
        setattr(info, field, given)
    data = info.tobuf(kind, encoding="utf-8", errors="surrogateescape") + bytes(1024)
    (found,) = members(data)
    assert getattr(found[0], attribute) == value


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_size_beyond_octal(kind):
    info = tarfile.TarInfo("huge")
    info.size = 9 << 30
    data = info.tobuf(kind)
    assert next(iter(TarReader(io.BytesIO(data)))).size == 9 << 30


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1700000000.123456789", 1700000000_123456789),
        (b"1700000000.1234567899", 1700000000_123456789),
        (b"1700000000.5", 1700000000_500000000),
        (b"1700000000.", 1700000000_000000000),
        (b"-1.5", -1_500000000),
        (b"0", 0),
    ],
)
def test_times_are_cut_off_and_never_rounded(text, nanoseconds):
    data = extended(record(b"mtime", text)) + header() + bytes(1024)
    assert members(data)[0][0].mtime == nanoseconds


def test_attributes_and_names_are_bytes():
    records = (
        record(b"hdrcharset", b"BINARY")
        + record(b"path", b"\xff\xfe")
        + record(b"SCHILY.xattr.user.raw", b"\0\n=\xff")
        + record(b"SCHILY.xattr.user.empty", b"")
        + record(b"comment", b"passed over")
    )
    ((entry, _),) = members(extended(records) + header() + bytes(1024))
    assert os.fsencode(entry.path) == b"\xff\xfe"
    assert entry.xattrs == {"user.raw": b"\0\n=\xff", "user.empty": b""}


def test_an_empty_record_takes_back_the_one_before():
    records = record(b"path", b"wrong") + record(b"uid", b"7") + record(b"path", b"")
    ((entry, _),) = members(extended(records) + header(b"right") + bytes(1024))
    assert (entry.path, entry.uid) == ("right", 7)


def test_the_last_of_several_headers_wins_and_reaches_one_member():
    data = (
        extended(record(b"path", b"first") + record(b"gid", b"5"))
        + extended(record(b"path", b"second"))
        + header()
        + header(b"plain")
        + bytes(1024)
    )
    assert [(e.path, e.gid) for e, _ in members(data)] == [("second", 5), ("plain", 0)]


def test_global_headers_are_passed_over():
    comment = extended(record(b"comment", b"commit") + record(b"path", b"wrong"), b"g")
    pax = extended(record(b"path", b"right"))
    assert [e.path for e, _ in members(comment + header(b"a") + bytes(1024))] == ["a"]
    assert [e.path for e, _ in members(pax + comment + header(b"a") + bytes(1024))] == ["right"]
    assert members(comment + bytes(1024)) == []


def test_the_prefix_field_is_ustar_s_alone():
    assert members(header(b"x", prefix=b"a/b") + bytes(1024))[0][0].path == "a/b/x"
    gnu = header(b"x", prefix=b"a/b", magic=b"ustar  \0")
    assert members(gnu + bytes(1024))[0][0].path == "x"


def test_before_posix_a_directory_was_a_name_with_a_slash():
    assert members(header(b"d/", kind=b"\0") + bytes(1024))[0][0].kind == Kind.DIRECTORY
    data = header(b"f/", kind=b"0", size=b"1") + padded(b"x") + bytes(1024)
    ((entry, content),) = members(data)
    assert (entry.path, entry.kind, content) == ("f", Kind.FILE, b"x")


def test_links_and_directories_have_no_content_whatever_they_say():
    data = b"".join(
        header(name, kind=kind, size=b"1000", link=b"t")
        for name, kind in ((b"h", b"1"), (b"s", b"2"), (b"d", b"5"), (b"p", b"6"))
    )
    assert [e.size for e, _ in members(data + header(b"last") + bytes(1024))] == [0] * 5


def test_an_absolute_hard_link_means_the_layer_s_root():
    assert members(header(kind=b"1", link=b"/a/b") + bytes(1024))[0][0].link == "a/b"


def test_checksums_of_signed_bytes_are_taken():
    block = bytearray(header(b"caf\xe9"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(struct.unpack("512b", block))
    assert members(bytes(block) + bytes(1024))[0][0].path == "caf\udce9"


@pytest.mark.parametrize("kind", [b"V", b"M", b"D", b"A", b"9", b"\xff"])
def test_unknown_kinds_are_refused_by_name(kind):
    with pytest.raises(UnsupportedEntry, match=r"^label: type"):
        members(header(b"label", kind=kind) + bytes(1024))


@pytest.mark.parametrize(
    "odd",
    [
        header(b"x", mode=b"0009"),
        header(b"x", uid=b"1_0"),
        header(b"x", size=b"+7"),
        header(b"x", size=b"0o7"),
        header(b"x", size=b"9"),
        header(b"x", mtime=b"1 2"),
        header(b"x", mtime=b"8"),
    ],
)
def test_numbers_that_are_none_are_refused_wherever_they_stand(odd):
    for before in (b"", header(b"a"), header(b"a") + header(b"b")):
        with pytest.raises(LayerError, match="is not a number"):
            members(before + odd + bytes(1024))


def test_a_wrong_checksum_is_refused_wherever_it_stands():
    wrong = bytearray(header(b"x"))
    wrong[0] ^= 1
    for before in (b"", header(b"a"), header(b"a") + header(b"b")):
        with pytest.raises(LayerError, match=f"at byte {len(before)} has a wrong checksum"):
            members(before + wrong + bytes(1024))


def test_an_archive_ends_with_zeros_with_one_block_of_them_or_with_nothing():
    whole = tar(Entry("a", Kind.FILE), end=False)
    for end in (b"", bytes(512), bytes(1024), bytes(10240), bytes(512) + b"anything"):
        assert [e.path for e, _ in members(whole + end)] == ["a"]
    assert members(b"") == []
