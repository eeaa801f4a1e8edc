"""Contexts that are no directories: archives, streams and URLs are what they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import subprocess
import tarfile

import pytest

from ocitool.errors import BuildError
from ocitool.progress import Transfer
from tests.fixtures import images
from tests.fixtures.servers import file_server
from tests.unit.builder.conftest import BuildFixture, failure, scratch

DOCKERFILE = scratch("COPY . /all", "COPY d /copy/", "COPY f* /x/")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with file_server() as served:
        yield served


@pytest.fixture
def packed(sources):
    """The context ``sources`` with a Dockerfile, hard links and an attribute, as a tar."""
    top = sources.top
    (top / "Dockerfile").write_text(DOCKERFILE)
    (top / "d/hard").hardlink_to(top / "f")
    os.setxattr(top / "f", "user.note", b"kept")
    return pack(sources)


def pack(project: BuildFixture, *options: str) -> bytes:
    command = ["tar", "-C", str(project.top), "--xattrs", "-c", *options, "."]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def kept(project: BuildFixture) -> list[str]:
    """The files of this process's lease, where unfinished work is."""
    return os.listdir(project.store.lease().path)


def records(project: BuildFixture) -> int:
    return project.store.database.rows("SELECT COUNT(*) FROM files")[0][0]


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-c"], check=True, input=data, stdout=subprocess.PIPE).stdout


COMPRESSORS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}


# -- archives ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", COMPRESSORS)
def test_an_archive_gives_the_image_that_its_directory_gives(project, packed, how, tmp_path):
    data = COMPRESSORS[how](packed)
    file = tmp_path / "context.any"
    file.write_bytes(data)
    of_archive = project.build(context=data, source_date_epoch=1 << 31)
    before = records(project)
    assert len(of_archive.executed) == 3 and before == 0
    of_file = project.build(context=file, source_date_epoch=1 << 31)
    assert of_file.digest == of_archive.digest and of_file.executed == []
    of_directory = project.build(source_date_epoch=1 << 31)
    assert of_directory.digest == of_archive.digest and of_directory.executed == []
    fresh = project.build(source_date_epoch=1 << 31, no_cache=True)
    assert fresh.tree == of_archive.tree and fresh.digest == of_archive.digest
    assert "user.note" not in fresh.tree["all/f"] and kept(project) == []


@pytest.mark.slow
def test_a_stream_is_read_once_and_not_whole(project, packed):
    class Stream(io.BytesIO):
        largest = 0

        def read(self, size=-1):
            assert size > 0
            self.largest = max(self.largest, size)
            return super().read(size)

    data = images.archive({"Dockerfile": scratch("COPY big /"), "big": "x" * (8 << 20)})
    stream = Stream(data)
    assert project.build(context=stream).names() == ["big"]
    assert stream.largest <= 1 << 20


def test_standard_input_is_an_archive_or_a_dockerfile(project, packed, monkeypatch):
    def given(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    given(packed)
    assert "all/d/a" in project.build(context="-").tree
    given(scratch("ENV a=1").encode())
    assert "a=1" in project.build(context="-").config["Env"]
    given(scratch("COPY f /").encode())
    with pytest.raises(BuildError, match='"/f": not found') as caught:
        project.build(context="-")
    assert caught.value.hint == "the context is empty" and kept(project) == []


def test_an_archive_from_before_posix_is_one(project):
    data = bytearray(images.archive({"Dockerfile": scratch("COPY f /"), "f": "x"}))
    for at in range(0, len(data), 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 257 : at + 265] = bytes(8)
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    assert project.build(context=bytes(data)).read("f") == "x"


def test_owners_are_roots_and_implied_directories_0755(project):
    data = images.archive(
        {
            "Dockerfile": scratch("COPY . /"),
            "a/b/f": {"text": "x", "uid": 4, "gid": 5, "mode": 0o4711},
        }
    )
    previous = os.umask(0o077)
    try:
        built = project.build(context=data)
    finally:
        os.umask(previous)
    members = {each.name: (each.mode, each.uid, each.gid) for each in built.layers[0]}
    assert members["a"] == members["a/b"] == (0o755, 0, 0)
    assert members["a/b/f"] == (0o4711, 0, 0)


def test_the_later_of_two_members_counts(project):
    recipe = [
        ("f", {"text": "one"}), ("f", {"text": "two"}),
        ("d", {}), ("d/in", {"text": "gone"}), ("d", {"text": "a file"}),
        ("e", {"text": "gone"}), ("e/in", {"text": "x"}),
    ]  # fmt: skip
    parts = [
        images.archive({name: how})[: 1024 if "text" in how else 512] for name, how in recipe[:6]
    ]
    parts.append(images.archive({"Dockerfile": scratch("COPY . /")}))
    built = project.build(context=b"".join(parts))
    assert built.read("f") == "two" and built.read("d") == "a file"
    assert "d/in" not in built.names()


def test_names_and_links_stay_inside(project, tmp_path):
    """Names with ``..`` begin at the top, and members behind links go where these lead inside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    data = images.archive(
        {
            "Dockerfile": scratch("COPY . /"),
            "../../up": "up",
            "/abs": "abs",
            "out": {"link": str(outside)},
            "out/f": "behind a link",
            "far": {"link": "../../../../../.." + str(outside)},
            "far/g": "behind another",
            "passwd": {"link": "/etc/passwd"},
        }
    )
    built = project.build(context=data)
    inside = str(outside).lstrip("/")
    assert {"up", "abs", f"{inside}/f", f"{inside}/g"} <= set(built.names())
    assert os.listdir(outside) == []
    assert refused_read(project, "COPY passwd /p").startswith('"/passwd": not found')


def refused_read(project: BuildFixture, line: str) -> str:
    data = images.archive({"Dockerfile": scratch(line), "passwd": {"link": "/etc/passwd"}})
    with pytest.raises(BuildError) as caught:
        project.build(context=data)
    return caught.value.message


def test_a_dockerfile_behind_a_link_is_read_inside(project):
    built = project.build(
        context=images.archive({"real": scratch("ENV a=1"), "Dockerfile": {"link": "/real"}})
    )
    assert "a=1" in built.config["Env"]
    error = failure(project, context=images.archive({"Dockerfile": {"link": "/etc/passwd"}}))
    assert "open Dockerfile in the context: no such file" in error.message


def test_ignore_files_of_an_archive_do_not_count(project, tmp_path):
    """As with BuildKit, for which who packs an archive has chosen its files."""
    data = images.archive({"Dockerfile": scratch("COPY . /"), ".dockerignore": "f\n", "f": "x"})
    assert "f" in project.build(context=data).names()
    (tmp_path / "rules").write_text("f\n")
    built = project.build(context=data, ignorefile=tmp_path / "rules")
    assert "f" not in built.names() and ".dockerignore" in built.names()


def test_sparse_files_fifos_and_odd_names(project, tmp_path):
    top = project.top
    with open(top / "sparse", "wb") as file:
        file.truncate(4 << 20)
        file.seek(1 << 20)
        file.write(b"data")
    os.mkfifo(top / "fifo", 0o640)
    (top / os.fsdecode(b"n\xff")).write_text("x")
    (top / "Dockerfile").write_text(scratch("COPY . /"))
    of_archive = project.build(context=pack(project, "-S"))
    assert project.build().digest == of_archive.digest
    assert of_archive.tree["fifo"]


def with_attribute(name: str, value: str) -> bytes:
    """Return an archive of one file, which has an extended attribute."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a")
        member.pax_headers = {f"SCHILY.xattr.{name}": value}
        tar.addfile(member)
    return written.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda tar: tar[:3000], "unexpected end of the archive"),
        (lambda tar: gzip.compress(tar)[:400], "unexpected end of the gzip stream"),
        (lambda tar: gzip.compress(b"text"), "invalid tar archive"),
        (lambda tar: zstd(tar)[:-20], "unexpected end of the zstd stream"),
        (lambda tar: bz2.compress(tar)[:300], "compressed data is corrupt"),
        (lambda tar: lzma.compress(tar)[:300], "compressed data is corrupt"),
        (
            lambda tar: images.archive({"a": "x", "h": {"hardlink": "none"}}),
            "h: it is a hard link to none, which is missing",
        ),
        (
            lambda tar: images.archive({"a": "x", "a/b": "x"}),
            "a/b: a parent of it is not a directory",
        ),
        (
            lambda tar: images.archive({"null": {"device": (1, 3)}}),
            "null: a build context cannot have a device",
        ),
        (
            lambda tar: with_attribute("user.x", "y" * 70000),
            "a: the attribute user.x of 70000 bytes is refused by the kernel",
        ),
        (
            lambda tar: with_attribute("system.posix_acl_access", "y"),
            "a: the attribute system.posix_acl_access of 1 bytes is refused by the kernel",
        ),
    ],
)  # fmt: skip
def test_an_archive_that_cannot_be_unpacked_is_an_error(project, packed, data, message):
    given = data(packed)
    error = failure(project, scratch("ENV a=1"), context=given)
    assert error.message.startswith(f"unable to prepare context: the context: {message}")
    file = project.top.parent / "a.tar"
    file.write_bytes(given)
    assert f"{file}: " in failure(project, scratch("ENV a=1"), context=file).message


@pytest.mark.parametrize(
    ("recipe", "hint"),
    [
        ({}, "pass the Dockerfile with -f; the context has no files"),
        ({"b": "", "a": ""}, "pass the Dockerfile with -f; the context has a, b"),
        ({"Dockerfile.dev": ""}, "pass the Dockerfile with -f; there is Dockerfile.dev"),
        (
            {"app/Containerfile": ""},
            "pack what is in app, not the directory itself; or pass -f app/Containerfile",
        ),
        ({"a/Dockerfile": "", "b": ""}, "pass the Dockerfile with -f; there is a/Dockerfile"),
        (
            {f"f{at}": "" for at in range(9)},
            "pass the Dockerfile with -f; the context has f0, f1, f2, f3, f4, f5, f6, f7, ...",
        ),
    ],
)
def test_without_a_dockerfile_the_error_says_what_there_is(project, recipe, hint):
    error = failure(project, context=images.archive(recipe))
    message = "failed to read dockerfile: open Dockerfile in the context: no such file or directory"
    assert (error.message, error.hint) == (message, hint)


def test_what_is_no_archive_is_named(project, monkeypatch):
    monkeypatch.chdir(project.top)
    (project.top / "text").write_text("FROM scratch\n")
    os.mkfifo(project.top / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    for path, fault in (
        ("text", "is neither a directory nor a tar archive"),
        ("fifo", "is neither a directory nor a file"),
        ("socket", "is neither a directory nor a file"),
        ("none", "not found"),
    ):
        error = failure(project, scratch(), context=path)
        assert error.message == f'unable to prepare context: path "{path}" {fault}'


# -- URLs ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_url_is_an_archive_or_a_dockerfile(project, packed, server):
    url = server.put("/c?token=s3cret", gzip.compress(packed), Content_Type="text/plain")
    first = project.build(context=url, source_date_epoch=1 << 31)
    assert first.digest == project.build(source_date_epoch=1 << 31).digest
    (name,) = (name for name in first.events.ended() if name.startswith("[internal]"))
    assert name.startswith(f"[internal] load remote build context http://{server.address}/c")
    assert "s3cret" not in name
    size = len(gzip.compress(packed))
    (*_, last) = [event for event in first.events.events if isinstance(event, Transfer)]
    assert (last.action, last.done, last.total, last.state) == ("fetch", size, size, "done")
    url = server.put("/Dockerfile", scratch("ENV a=1").encode())
    assert "a=1" in project.build(context=url).config["Env"]
    built = project.build(file=url)
    assert built.events.ended() == {f"[internal] load build definition from {url}": "done"}
    assert kept(project) == []


def test_credentials_of_a_host_are_sent(project, server):
    url = server.put("/D", scratch("ENV a=1").encode())
    project.build(context=url, secrets={"HTTP_AUTH_TOKEN_127.0.0.1": b"t0ken"})
    assert server.requests[0][1]["Authorization"] == "Bearer t0ken"


@pytest.mark.slow
@pytest.mark.parametrize("field", ["context", "file"])
def test_a_url_that_cannot_be_fetched_is_an_error_without_its_secrets(project, server, field):
    url = f"http://ann:s3cret@{server.address}/gone?key=s3cret"
    error = failure(project, **{field: url})
    shown = f"http://{server.address}/gone"
    assert error.message == f"failed to fetch {shown}: invalid response status 404"
    error = failure(project, **{field: server.put("/half", b"FROM", Content_Length="9")})
    assert error.message.startswith(f"failed to fetch http://{server.address}/half: ")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        error = failure(project, **{field: f"http://{address}/x"})
        assert error.message.startswith(f"failed to fetch http://{address}/x: ")
    https = f"https://{server.address}/x"
    error = failure(project, **{field: https})
    assert f"failed to fetch {https}: " in error.message and "http://" in error.hint
    assert "s3cret" not in f"{error} {error.hint}"


def test_ftp_is_refused_by_name(project):
    error = failure(project, context="ftp://ann:s3cret@h/x.tgz")
    shown = "ftp://xxxxx:xxxxx@h/x.tgz"
    assert error.message == (f"unable to prepare context: {shown}: FTP URLs are not supported")


@pytest.mark.parametrize("url", ["file://ann:s3cret@h/x", "htp://ann:s3cret@h/x",
                                 "https://ann:s3cret@[::1/r.git", "ssh://ann:s3cret@h/r.git",
                                 "git://ann:s3cret@h/r.git"])  # fmt: skip
def test_a_url_that_cannot_be_a_context_is_refused_without_its_password(project, url):
    shown = url.replace("ann:s3cret", "xxxxx:xxxxx")
    named = failure(project, "FROM scratch\nCOPY --from=x / /\n", build_contexts={"x": url})
    for error in (failure(project, context=url), named):
        text = f"{error} {error.hint}"
        assert "s3cret" not in text and (shown in text or error is named)


@pytest.mark.parametrize("url", ["http://h:port/x", "http://[::1/x", "http:///x"])
def test_an_invalid_url_is_refused(project, url):
    error = failure(project, context=url)
    assert str(error) == "load remote build context: invalid URL"
