"""Writing tars: readable by others, and the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile

import pytest

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.tar.writer import TarWriter
from tests.unit.layer.tars import directory, file, link, members, symlink, tar

LONG = "/".join(["directory-with-a-long-name"] * 12)
ALL = (
    directory("", 0o700),
    directory("d", 0o1777, uid=5, gid=6, mtime=1_700_000_000_999_999_999),
    file("d/file", b"content" * 100, mode=0o4755),
    file("empty"),
    file(LONG, b"x"),
    file("a" * 100),
    file("p" * 99 + "/" + "n" * 99),
    file("café", b"x"),
    file("caf\udce9", b"x"),
    file("new\nline"),
    file("owned", uid=3_000_000, gid=4_294_967_294),
    file("old", mtime=-5_500_000_000),
    file("future", mtime=(1 << 34) * 10**9),
    file("attributes", xattrs={"user.b": b"\0\xff\n=", "user.a": b"", "security.capability": b"x"}),
    link("hard", LONG),
    symlink("soft", "../" + "t" * 200),
    symlink("short", "/absolute"),
    symlink("raw", "caf\udce9"),
    Entry("char", Kind.CHAR, device=(4095, 1_048_575)),
    Entry("block", Kind.BLOCK, device=(8, 1)),
    Entry("fifo", Kind.FIFO, 0o600),
)


def test_what_is_written_is_read_again():
    for member, (entry, content) in zip(ALL, members(tar(*ALL)), strict=True):
        wanted, data = member if isinstance(member[0], Entry) else (member, b"")
        whole_seconds = wanted.mtime // 10**9 * 10**9
        assert entry == wanted._replace(size=len(data), mtime=whole_seconds)
        assert content == data


def test_the_same_entries_give_the_same_bytes():
    assert tar(*ALL) == tar(*ALL)
    turned = dict(reversed(ALL[13].xattrs.items()))
    assert tar(ALL[13]) == tar(ALL[13]._replace(xattrs=turned))


def test_the_bytes_stay_what_they_were():
    """A digest noted once: another would make every cache and every layer new."""
    data = tar(directory("d"), file("d/f", b"hi", mode=0o600, uid=1, gid=2, mtime=10**18))
    assert len(data) == 2560
    assert data[:3] == b"d/\0"
    assert data[257:265] == b"ustar\x0000"
    assert data[265:329] == bytes(64)  # no names of user and group
    assert hashlib.sha256(data).hexdigest() == (
        "00d8f5051f25157be031df6442fe79ad904a7dd0302a731877ea4cf90da93048"
    )


def test_plain_headers_where_they_do_and_extended_ones_for_just_what_does_not():
    plain = tar(file("a" * 100), file("p" * 99 + "/" + "n" * 99), end=False)
    assert len(plain) == 2 * 512
    for member in ("old", "future", "owned", "café"):
        (one,) = (m for m in ALL if (m[0][0] if isinstance(m[0], Entry) else m[0]) == member)
        assert tar(one)[156:157] == b"x"


@pytest.mark.parametrize("length", [99, 100, 101, 154, 155, 156, 255, 256, 257, 258])
@pytest.mark.parametrize("step", [1, 50, 98, 120])
def test_names_of_every_length(length, step):
    name = "/".join("n" * step for _ in range(length))[:length].rstrip("/")
    for entry in (file(name), directory(name)):
        assert members(tar(entry))[0][0].path == name
        with tarfile.open(fileobj=io.BytesIO(tar(entry))) as archive:
            assert archive.getnames() == [name]


@pytest.mark.parametrize("total", [9, 10, 11, 98, 99, 100, 101, 998, 999, 1000, 1001])
def test_the_length_of_a_record_counts_its_own_digits(total):
    value = b"v" * (total - len("0 SCHILY.xattr.user.a=\n") + 20)
    ((entry, _),) = members(tar(file("x", xattrs={"user.a": value})))
    assert entry.xattrs == {"user.a": value}


def test_python_reads_it():
    with tarfile.open(fileobj=io.BytesIO(tar(*ALL[1:]))) as archive:
        found = {info.name: info for info in archive}
        assert archive.extractfile("d/file").read() == b"content" * 100
    assert found["d"].mtime == 1_700_000_000
    assert (found["owned"].uid, found["owned"].gid) == (3_000_000, 4_294_967_294)
    assert found["old"].mtime == -6
    assert found["hard"].linkname == LONG
    assert found["hard"].islnk()
    assert found["soft"].linkname == "../" + "t" * 200
    assert (found["char"].devmajor, found["char"].devminor) == (4095, 1_048_575)
    assert os.fsencode(found["caf\udce9"].name) == b"caf\xe9"
    assert all(info.uname == info.gname == "" for info in found.values())


ODD = ("", "owned", "old", "future")  # need root, or make tar warn


def test_gnu_tar_reads_it(tmp_path):
    if shutil.which("tar") is None:
        pytest.skip("needs tar")
    safe = [m for m in ALL if not isinstance(m[0], str) or m.kind not in (Kind.CHAR, Kind.BLOCK)]
    safe = [m for m in safe if (m[0] if isinstance(m[0], str) else m[0].path) not in ODD]
    args = ["tar", "-x", "--no-same-owner", "-C", tmp_path]
    done = subprocess.run(args, input=tar(*safe), capture_output=True)
    if b"unrecognized option" in done.stderr:
        pytest.skip("needs GNU tar")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / LONG).read_bytes() == b"x"
    assert (tmp_path / LONG).stat().st_ino == (tmp_path / "hard").stat().st_ino
    assert os.readlink(tmp_path / "soft") == "../" + "t" * 200
    assert b"caf\xe9" in os.listdir(os.fsencode(tmp_path))


def test_the_largest_sum_of_a_header():
    raw = file("\udcff" * 100 + "/" + "x" * 100)
    plain = file("\x7f" * 155 + "/" + "\x7f" * 100, mode=0o7777, uid=0o7777777, gid=0o7777777)
    both = symlink("\x7f" * 155 + "/" + "\x7f" * 100, "\udcff" * 100)
    for entry in (raw, plain, both):
        ((found, _),) = members(tar(entry))
        assert found == entry


def test_sizes_beyond_octal():
    out = bytearray()
    writer = TarWriter(out.extend)
    writer.add(Entry("big", Kind.FILE, size=8 << 30))
    writer.content(bytes(1 << 20))  # enough for the headers to be on their way
    with tarfile.open(fileobj=io.BytesIO(bytes(out))) as archive:
        assert archive.next().size == 8 << 30


def test_a_file_that_grows_or_shrinks_is_refused_by_name():
    writer = TarWriter(bytearray().extend)
    writer.add(Entry("log", Kind.FILE, size=3))
    writer.content(b"ab")
    with pytest.raises(LayerError, match=r"^log: the file grew"):
        writer.content(b"cd")
    with pytest.raises(LayerError, match=r"^log: the file shrank"):
        writer.add(Entry("next", Kind.FILE))
    with pytest.raises(LayerError, match=r"^log: the file shrank"):
        writer.close()


def test_the_offset_is_that_of_what_comes_next():
    out = bytearray()
    writer = TarWriter(out.extend)
    writer.add(Entry("café", Kind.FILE, size=3))
    at = writer.offset
    writer.content(b"abc")
    writer.close()
    assert out[at : at + 3] == b"abc"
    assert writer.offset == len(out)
