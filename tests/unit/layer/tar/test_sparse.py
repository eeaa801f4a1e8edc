"""Files with holes: read as others write them, unpacked with their holes, refused when they lie."""

from __future__ import annotations

import io
import os
import shutil
import subprocess

import pytest

from ocitool.errors import LayerError, TooLarge, UnsupportedEntry
from ocitool.layer.entry import Limits
from ocitool.layer.index.index import index_of, parse
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.sparse import Filler, Sparse
from tests.unit.layer.holes import FORMS, sparse, whole
from tests.unit.layer.tars import extended, header, members, padded, record

END = bytes(1024)
RUNS = [(0, b"begin"), (5, b"next"), (5000, b"x" * 700), (70_000, b"y")]
MANY = [(at * 1000, b"%d" % at) for at in range(1, 90)]
FILES = {
    "hole": (1 << 20, []),
    "whole": (3, [(0, b"abc")]),
    "middle": (1 << 20, [(1 << 16, b"x" * 5000)]),
    "ends": ((1 << 20) + 7, [(0, b"a" * 10), (1 << 20, b"zzzzzzz")]),
    "many": (300 * 8192 + 5, [(at * 8192, bytes([at % 251 + 1]) * 4096) for at in range(300)]),
    "a/" + "long-name-" * 15: (50_000, [(40_000, b"deep")]),
}


@pytest.fixture
def holes(tmp_path):
    """A folder of sparse files."""
    for name, (size, runs) in FILES.items():
        place = tmp_path / "tree" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "wb") as file:
            for at, data in runs:
                os.pwrite(file.fileno(), data, at)
            file.truncate(size)
    return tmp_path / "tree"


def made(program, *args):
    """The tar that *program* writes; skips where it is not there, or is another program."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    done = subprocess.run([program, "-c", "-f", "-", *args], capture_output=True)
    if b"unrecognized option" in done.stderr:
        pytest.skip("needs GNU tar")
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(data):
    """See that *data* holds `FILES`, some of them sparse, and that an index finds its data."""
    index = {placed.entry.path: placed for placed in parse(index_of(io.BytesIO(data))).entries()}
    reader = TarReader(io.BytesIO(data))
    seen = {}
    for entry in reader:
        if entry.path in FILES:
            size, runs = FILES[entry.path]
            seen[entry.path] = reader.sparse
            placed = index.get(entry.path)
            assert placed == (entry, reader.offset, reader.sparse)
            assert entry.size == size
            assert reader.read() == whole(size, runs)
            if placed.sparse is not None:
                stream = io.BytesIO(data[placed.offset :])
                filler = Filler(Sparse(size, placed.sparse), stream.read)
                assert filler.read() == whole(size, runs)
    assert set(seen) == set(FILES)
    assert seen["hole"] == ()
    assert seen["whole"] is None
    assert len(seen["many"]) == 300
    return reader


@pytest.mark.parametrize("found", ["raw", "seek"])
@pytest.mark.parametrize(
    "form", [["gnu"], *(["posix", f"--sparse-version={version}"] for version in FORMS[1:])]
)
def test_gnu_tar(holes, form, found):
    form = [f"--format={form[0]}", *form[1:]]
    check(made("tar", "--sparse", f"--hole-detection={found}", *form, "-C", holes, "."))


@pytest.mark.parametrize("form", ["pax", "paxr"])
def test_bsdtar(holes, form):
    check(made("bsdtar", f"--format={form}", "-C", holes, "."))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("runs", [[], RUNS, MANY, [(99_999, b"!")]], ids=len)
def test_each_form_by_hand(form, runs):
    data = sparse(form, 100_000, runs) + sparse(form, 0, []) + header(b"after")
    assert [(e.path, e.size, c) for e, c in members(data + END)] == [
        ("f", 100_000, whole(100_000, runs)),
        ("f", 0, b""),
        ("after", 0, b""),
    ]
    reader = TarReader(io.BytesIO(data + END))
    assert [entry.path for entry in reader] == ["f", "f", "after"]  # none is read
    assert reader.sparse is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", [1, 3, 1000, 1 << 20])
def test_reads_of_any_size(form, step):
    reader = TarReader(io.BytesIO(sparse(form, 6000, RUNS[:3]) + END))
    for _ in reader:
        pieces = list(iter(lambda: reader.read(step), b""))
        assert b"".join(pieces) == whole(6000, RUNS[:3])
        assert max(map(len, pieces)) <= step


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_unpacked_there_are_holes(stack, form):
    size = 16 << 20
    runs = [(1 << 20, b"data" * 1024), (10 << 20, b"more")]
    stack.apply_tar(sparse(form, size, runs) + sparse(form, size, [], b"hole") + END)
    for name, content in (("f", whole(size, runs)), ("hole", bytes(size))):
        place = stack.place(name)
        assert place.read_bytes() == content
        # An image itself has no holes; the file that holds the content has.
        place = stack.top / "0.holes" if stack.erofs else place
        assert place.stat().st_blocks * 512 < 1 << 20


LIES = [
    ("the map rises", {"spans": [(10, 2), (0, 2)]}),
    ("no overlap", {"spans": [(0, 3), (2, 1)]}),
    ("beyond the end", {"spans": [(99, 4)]}),
    ("more data than there is", {"spans": [(0, 5)]}),
    ("less data than there is", {"spans": [(0, 3)]}),
    ("a sum beyond any file", {"spans": [(0, 4), (1 << 32, 1 << 32)]}),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("claims", [lie for _, lie in LIES], ids=[what for what, _ in LIES])
def test_maps_that_lie(form, claims):
    with pytest.raises(LayerError, match=r"^f: the map of a sparse file"):
        members(sparse(form, 100, [(0, b"abcd")], **claims) + END)


@pytest.mark.parametrize("form", FORMS)
def test_limits(form):
    data = sparse(form, 1 << 40, RUNS) + END
    with pytest.raises(TooLarge, match="when unpacked"):
        members(data)
    with pytest.raises(TooLarge, match=r"^f: a sparse file has more than 3 runs"):
        members(sparse(form, 100_000, MANY) + END, Limits(spans=3))
    assert members(sparse(form, 100_000, MANY) + END, Limits(spans=len(MANY)))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"9", b"9\n", b"x\n", b"-1\n", b"1\n0\n", b"1\n0\n4", b"1\n\n4\n", b"9" * 600,
        b"1\n" + b"0" * 600, b"1\n0\n4\n" * 200, b"99999999999999999999\n",
    ],
)  # fmt: skip
def test_corrupt_maps_of_version_1_0(content):
    records = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
    records += record(b"GNU.sparse.realsize", b"4")
    data = padded(content)
    member = extended(records) + header(b"f", size=b"%o" % len(data)) + data
    with pytest.raises(LayerError, match=r"^f: "):
        members(member + END)


@pytest.mark.parametrize(
    "records",
    [
        record(b"GNU.sparse.size", b"1"),
        record(b"GNU.sparse.map", b"0,0"),
        record(b"GNU.sparse.size", b"x") + record(b"GNU.sparse.map", b"0,0"),
        record(b"GNU.sparse.size", b"1") + record(b"GNU.sparse.map", b"0"),
        record(b"GNU.sparse.size", b"1") + record(b"GNU.sparse.map", b"0,,"),
        record(b"GNU.sparse.size", b"1") + record(b"GNU.sparse.offset", b"0"),
        record(b"GNU.sparse.numbytes", b"1"),
        record(b"GNU.sparse.offset", b"0,1") + record(b"GNU.sparse.numbytes", b"2"),
    ],
)
def test_records_that_do_not_go_together(records):
    with pytest.raises(LayerError):
        members(extended(records) + header(b"f") + END)


@pytest.mark.parametrize("version", [(b"1", b"1"), (b"2", b"0"), (b"0", b"2")])
def test_other_versions_are_refused_by_name(version):
    records = record(b"GNU.sparse.major", version[0]) + record(b"GNU.sparse.minor", version[1])
    records += record(b"GNU.sparse.name", b"hole") + record(b"GNU.sparse.size", b"0")
    with pytest.raises(UnsupportedEntry, match=r"^hole: version .* of sparse members"):
        members(extended(records) + header(b"GNUSparseFile.0/hole") + END)


def test_star_s_form_is_refused_by_name():
    with pytest.raises(UnsupportedEntry, match=r"^hole: this format of sparse members"):
        members(header(b"hole", kind=b"S") + END)


@pytest.mark.parametrize("kind", [b"1", b"2", b"5", b"6"])
def test_only_files_have_holes(kind):
    records = record(b"GNU.sparse.size", b"0") + record(b"GNU.sparse.map", b"0,0")
    with pytest.raises(LayerError, match="only a regular file can be sparse"):
        members(extended(records) + header(b"f", kind=kind, link=b"t") + END)


def test_a_map_without_an_end():
    data = sparse("gnu", 100_000, MANY)
    for cut in range(512, 512 * 6, 512):
        with pytest.raises(LayerError):
            members(data[:cut])
    goes_on = bytearray(data)
    goes_on[512:] = (bytes(504) + b"\1" + bytes(7)) * 9
    with pytest.raises(LayerError, match="an empty part"):
        members(bytes(goes_on))
