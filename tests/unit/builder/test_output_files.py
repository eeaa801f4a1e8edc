"""The files of a result: in a directory, and as a tar."""

from __future__ import annotations

import fcntl
import io
import os
import stat
import tarfile
import threading

import pytest

from ocitool import BuildOptions, build
from ocitool.builder.outputs import local as directory
from ocitool.errors import OcitoolError
from tests.unit.builder.conftest import RecordedEvents, scratch

ME = (os.geteuid(), os.getegid())
EPOCH = 1_000_000_000


def run(project, dockerfile, *outputs, **options):
    """Build with *outputs*; returns the result and what was written to standard output."""
    out = io.BytesIO()
    given = BuildOptions(
        context=str(project.top), dockerfile=dockerfile, outputs=outputs, **options
    )
    return build(given, store=project.store, stdout=out.write), out.getvalue()


def listed(top):
    """Return each path of a tree with its type, mode and content or target."""
    found = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        if stat.S_ISLNK(state.st_mode):
            what = os.readlink(path)
        else:
            what = path.read_text() if path.is_file() else ""
        found[str(path.relative_to(top))] = (stat.filemode(state.st_mode), what)
    return found


@pytest.fixture
def files(sources):
    """A Dockerfile whose result has files of several kinds, of several owners."""
    sources.put({"hard": "x\n"})
    members = [("a", b"one\n", 0o640, 7, 8), ("big", b"\0" * 3_000_000, 0o644, 0, 0)]
    with tarfile.open(sources.top / "t.tar", "w") as tar:
        for name, data, mode, uid, gid in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid, info.mtime = len(data), mode, uid, gid, 5
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("b")
        link.type, link.linkname, link.mode, link.uid, link.gid = tarfile.LNKTYPE, "a", 0o640, 7, 8
        link.mtime = 5
        tar.addfile(link)
    return scratch("COPY d /d/", "ADD t.tar /t/", "COPY --chmod=4755 run.sh /bin/")


@pytest.mark.slow
def test_a_directory_has_the_whole_file_system(sources, files, tmp_path):
    result, _ = run(sources, files, str(tmp_path / "new/out"))
    top = tmp_path / "new/out"
    found = listed(top)
    assert found["d/a"] == ("-rw-r--r--", "a\n") and found["d/sub"] == ("drwx------", "")
    assert found["d/link"] == ("lrwxrwxrwx", "a") and found["d/out"][1] == "/etc/passwd"
    assert found["bin/run.sh"] == ("-rwsr-xr-x", "#!/bin/sh\n")
    assert found["t/a"] == found["t/b"] == ("-rw-r-----", "one\n")
    assert (top / "t/a").stat().st_ino == (top / "t/b").stat().st_ino
    assert (top / "t/a").stat().st_mtime == 5
    assert {(p.lstat().st_uid, p.lstat().st_gid) for p in top.rglob("*")} == {ME}
    assert [each.action for each in result.exports] == ["wrote"] and result.tags == ()
    assert sources.store.refs.all() == ()  # no image is kept under a name, or without


@pytest.mark.slow
def test_source_date_epoch_is_the_time_of_all_files(sources, files, tmp_path):
    run(sources, files, str(tmp_path / "out"), source_date_epoch=EPOCH)
    times = {path.lstat().st_mtime for path in (tmp_path / "out").rglob("*")}
    assert times == {EPOCH}
    _, tar = run(sources, files, "-", source_date_epoch=EPOCH)
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert {member.mtime for member in opened} == {EPOCH}


def test_a_tar_has_the_owners_of_the_image(sources, files, tmp_path):
    result, tar = run(sources, files, "-", f"type=tar,dest={tmp_path}/x.tar")
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        member = opened.getmember("t/a")
        assert (member.uid, member.gid, member.mode, member.mtime) == (7, 8, 0o640, 5)
        assert (opened.getmember("t/b").linkname, opened.getmember("d").type) == ("t/a", b"5")
    assert (tmp_path / "x.tar").read_bytes() == tar
    assert [each.where for each in result.exports] == ["-", f"{tmp_path}/x.tar"]


@pytest.mark.slow
def test_platform_split_puts_the_files_into_a_directory(sources, files, tmp_path):
    text = f"type=local,dest={tmp_path}/out,platform-split=true"
    _, tar = run(sources, files, text, "type=tar,platform-split=true", platform="linux/arm64/v8")
    assert os.listdir(tmp_path / "out") == ["linux_arm64"]
    assert (tmp_path / "out/linux_arm64/t/b").read_text() == "one\n"
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert opened.getmember("linux_arm64/t/b").linkname == "linux_arm64/t/a"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("1", "", ["linux_arm64"]),
        ("t", ",platform-split=false", ["bin", "d", "t"]),
        ("0", "", ["bin", "d", "t"]),
        ("", "", ["bin", "d", "t"]),
    ],
)
def test_a_result_in_the_form_of_several_platforms(sources, files, tmp_path, value, text, expected):
    options = {"platform": "linux/arm64", "build_args": {"BUILDKIT_MULTI_PLATFORM": value}}
    result, _ = run(sources, files, f"type=local,dest={tmp_path}/out{text}", **options)
    assert sorted(os.listdir(tmp_path / "out")) == expected
    assert result.warnings == ()


def test_what_is_no_form_of_several_platforms(sources):
    given = {"context": str(sources.top), "dockerfile": scratch("ENV a=1")}
    options = BuildOptions(build_args={"BUILDKIT_MULTI_PLATFORM": "1"}, **given)
    assert build(options, store=sources.store).warnings == (
        "BUILDKIT_MULTI_PLATFORM has no effect on images: an image has one platform, and no index",
    )
    options = BuildOptions(build_args={"BUILDKIT_MULTI_PLATFORM": "foo"}, **given)
    with pytest.raises(OcitoolError) as caught:
        build(options, store=sources.store)
    assert caught.value.message == "invalid boolean value for multi-platform: foo"


def test_a_directory_of_a_platform_with_a_version(sources, tmp_path):
    """Its name is that of the platform in full."""
    text = f"type=local,dest={tmp_path}/out,platform-split=true"
    run(sources, scratch("COPY d /d/"), text, platform="windows(10.0.17763)/amd64")
    assert os.listdir(tmp_path / "out") == ["windows(10.0.17763)_amd64"]


@pytest.mark.slow
def test_files_are_merged_into_a_directory_that_is_there(sources, files, tmp_path):
    top, outside = tmp_path / "out", tmp_path / "outside"
    (top / "d").mkdir(parents=True)
    outside.mkdir()
    (top / "kept").write_text("kept\n")
    (top / "d/kept").write_text("kept\n")
    (top / "d/a").write_text("old\n")
    (top / "d/sub").write_text("a file where a directory will be\n")
    (top / "d/link").mkdir()
    (top / "d/link/old").touch()
    (top / "t").symlink_to(outside)
    (top / "bin").symlink_to("kept")
    run(sources, files, str(top))
    found = listed(top)
    assert found["kept"][1] == found["d/kept"][1] == "kept\n" and found["d/a"][1] == "a\n"
    assert found["d/sub/c"][1] == "c\n" and found["d/link"][1] == "a"
    assert found["t/a"][1] == "one\n" and found["bin/run.sh"][1] == "#!/bin/sh\n"
    assert os.listdir(outside) == []  # nothing was written through the link
    assert (top / "d").stat().st_mode & 0o777 == 0o755


def test_a_second_export_changes_nothing(sources, tmp_path):
    sources.put({"ro": {"mode": 0o555}, "ro/f": {"text": "f\n", "mode": 0o444}})
    dockerfile = scratch("COPY --chmod=555 ro /x/y/", "COPY d /d/")
    run(sources, dockerfile, str(tmp_path / "out"))
    first = listed(tmp_path / "out")
    run(sources, dockerfile, str(tmp_path / "out"))
    assert listed(tmp_path / "out") == first
    assert first["x/y"] == ("dr-xr-xr-x", "")


def test_mode_delete_removes_what_the_result_has_not(sources, files, tmp_path):
    top = tmp_path / "out"
    (top / "d").mkdir(parents=True)
    (top / "d/old").touch()
    (top / "old").mkdir()
    (top / "old/f").touch()
    run(sources, files, f"type=local,dest={top},mode=delete")
    assert sorted(os.listdir(top)) == ["bin", "d", "t"]
    assert sorted(os.listdir(top / "d")) == ["a", "link", "out", "sub"]


@pytest.mark.slow
def test_an_error_leaves_the_destination_as_it_was(sources, files, tmp_path, monkeypatch):
    top = tmp_path / "out"
    (top / "d").mkdir(parents=True)
    (top / "d/a").write_text("old\n")
    before = listed(top)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ocitool.layer.unpack.target.os.symlink", full)
    for dest in (top, tmp_path / "new/deep"):
        with pytest.raises(OcitoolError, match="cannot write the files: No space left on device"):
            run(sources, files, str(dest))
    assert listed(top) == before and sorted(os.listdir(tmp_path)) == ["context", "out"]


@pytest.mark.parametrize("early", [True, False])
def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch, early):
    def interrupted(sink, change):
        sink(bytes(1000))
        raise KeyboardInterrupt

    start = threading.Thread.start

    def interrupted_start(thread):
        start(thread)
        raise KeyboardInterrupt

    if early:
        monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    (tmp_path / "mine").touch()
    for dest in (tmp_path, tmp_path / "new/deep"):
        with pytest.raises(KeyboardInterrupt):
            directory.export_directory(interrupted, str(dest))
        assert os.listdir(tmp_path) == ["mine"]
    assert "export" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.slow
def test_what_a_killed_export_has_left_is_removed_by_the_next_one(sources, files, tmp_path):
    top = tmp_path / "out"
    (top / ".ocitool-0123abcd/d").mkdir(parents=True)
    (top / ".ocitool-0123abcd/d/a").touch()
    (top / ".ocitool-mine").mkdir()
    (top / ".ocitool-89abcdef").mkdir()
    running = os.open(top / ".ocitool-89abcdef", os.O_RDONLY)
    try:
        fcntl.flock(running, fcntl.LOCK_EX)
        run(sources, files, str(top))
    finally:
        os.close(running)
    names = [name for name in os.listdir(top) if name.startswith(".")]
    assert sorted(names) == [".ocitool-89abcdef", ".ocitool-mine"]


@pytest.mark.slow
def test_a_failed_tar_leaves_nothing(sources, files, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ocitool.image.archive.outfile.write_all", broken)
    with pytest.raises(OcitoolError, match="cannot write the archive: No space left on device"):
        run(sources, files, f"type=tar,dest={tmp_path}/x.tar")
    assert not (tmp_path / "x.tar").exists()


def test_devices_are_left_out_where_the_user_may_not_make_them(project, tmp_path, monkeypatch):
    with tarfile.open(project.top / "t.tar", "w") as tar:
        for name, kind in (("null", tarfile.CHRTYPE), ("f", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.devmajor, info.devminor = kind, 1, 3
            tar.addfile(info)

    def refused(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(directory.os, "mknod", refused)
    events = RecordedEvents()
    given = BuildOptions(
        context=str(project.top),
        dockerfile=scratch("ADD t.tar /x/"),
        outputs=(str(tmp_path / "out"),),
    )
    build(given, store=project.store, progress=events)
    assert os.listdir(tmp_path / "out/x") == ["f"]
    said = [each.text for each in events.events if getattr(each, "level", "") == "warning"]
    assert said == [
        f"{tmp_path}/out: device nodes were left out: this user may not make them (1 entries)"
    ]


def test_standard_output_that_there_is_not(sources, files):
    given = BuildOptions(context=str(sources.top), dockerfile=files, outputs=("-",))
    with pytest.raises(OcitoolError, match="there is no standard output to write to"):
        build(given, store=sources.store)


def test_cacheonly_keeps_no_image(sources, files):
    result, _ = run(sources, files, "type=cacheonly", tags=("a:1",))
    assert result.exports == () and sources.store.refs.all() == ()
    again, _ = run(sources, files, "type=cacheonly")
    assert again.cached == again.steps == 3
