"""File names that are not UTF-8: bytes on the disk, the same bytes in the layer."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from ocitool import BuildOptions, Store, build
from ocitool.errors import BuildError
from ocitool.store.database.build_cache import DirectoryRecord
from tests.unit.builder.conftest import BuildFixture

#: Latin-1, a byte that UTF-8 never has, and an overlong form.
A, B, NUL = (os.fsdecode(name) for name in (b"a\xe4", b"b\xff", b"\xc0\x80"))


@pytest.fixture
def odd(tmp_path, store_root):
    """A project whose context, directories, files, links and archive have such names."""
    top = tmp_path / f"top{A}"
    (top / f"d{A}" / f"e{B}").mkdir(parents=True)
    (top / f"d{A}" / f"e{B}" / f"f{NUL}").write_text("content")
    (top / f"d{A}" / f"h{B}").hardlink_to(top / f"d{A}" / f"e{B}" / f"f{NUL}")
    (top / f"l{B}").symlink_to(f"d{A}")
    (top / f"ignored{B}").write_text("secret")
    (top / ".dockerignore").write_bytes(b"ignoredb\xff\n")
    (top / f"b{B}").write_text("kept")
    with tarfile.open(top / f"t{A}.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo(f"m{B}")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"1"))
    with Store.open(os.fspath(store_root)) as store:
        yield BuildFixture(top, store)


LINES = (
    "FROM scratch AS one",
    "COPY . /all/",
    "COPY d* b?? /some/",
    "COPY l* /linked",
    "ADD t* /unpacked/",
    "FROM scratch",
    "COPY --from=one /all/d* /again",
    "COPY --from=one / /",
)


def test_they_are_copied_byte_for_byte_and_then_cached(odd):
    built = odd.build("\n".join(LINES))
    tree = set(built.tree)
    below = {f"e{B}", f"e{B}/f{NUL}", f"h{B}"}
    assert {f"all/d{A}", f"all/l{B}", f"all/b{B}", f"some/b{B}", f"unpacked/m{B}"} <= tree
    for place in (f"all/d{A}", "some", "linked", "again"):
        assert {f"{place}/{name}" for name in below} <= tree
    assert not any(f"ignored{B}" in path for path in tree)
    again = odd.build("\n".join(LINES))
    assert again.executed == [] and again.digest == built.digest


def test_records_of_directories_are_found_by_their_bytes(odd):
    """Also where another path is what messages show of the first."""
    records, top = odd.store.build_cache, os.fspath(odd.top)
    shown = top.encode("utf-8", "backslashreplace").decode()
    paths = [top, f"{top}/d{A}", f"{top}/d{A}/e{B}", shown, f"{shown}/d"]
    given = [DirectoryRecord(path, b"state", str(at), b"c") for at, path in enumerate(paths)]
    records.put_directories("rules", given)
    assert {each.directory: each.digest for each in records.directories("rules", top)} == {
        path: str(at) for at, path in enumerate(paths[:3])
    }
    assert {each.directory for each in records.directories("rules", shown)} == set(paths[3:])
    assert all(records.directory_content("rules", path) == b"c" for path in paths)


def test_a_context_that_is_missing_is_named(odd):
    with pytest.raises(BuildError, match="unable to prepare context") as caught:
        build(BuildOptions(context=odd.top / f"none{B}"), store=odd.store)
    assert f"none{B}" in str(caught.value)
