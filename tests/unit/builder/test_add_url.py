"""ADD of URLs, with --checksum and --unpack, from a server on this machine."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from collections.abc import Iterator

import pytest

from ocitool.errors import BuildError, DigestMismatch, LayerError, OcitoolError
from tests.fixtures import images
from tests.fixtures.servers import FileServer, file_server
from tests.unit.builder.conftest import BuildFixture, scratch

LAST_MODIFIED = {"Last_Modified": "Tue, 05 Mar 2002 10:11:12 GMT"}
TIME = 1015323072  # the same


@pytest.fixture
def server(monkeypatch) -> Iterator[FileServer]:
    """A server of files without any."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with file_server() as served:
        yield served


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def kept(project: BuildFixture) -> list[str]:
    """Return the files of this process's lease, where unfinished work is."""
    return os.listdir(project.store.lease().path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x", "x"),
        ("/v1/a.bin?v=1/2", "a.bin"),
        ("/a%20b.txt", "a b.txt"),
        ("/a%2Fb", "b"),
        ("/%C3%A9", "é"),
        ("/dir/", "dir"),
        ("/", "__unnamed__"),
        ("/?q=a", "__unnamed__"),
    ],
)
def test_the_name_is_the_last_part_of_the_path(project, server, path, name):
    url = server.put(path, b"text", Content_Disposition='attachment; filename="other"')
    built = project.build(scratch(f'ADD ["{url}", "/d/"]'))
    assert built.names() == ["d", f"d/{name}"] and built.read(f"d/{name}") == "text"


@pytest.mark.slow
def test_is_a_file_of_root_with_the_time_of_the_server(project, server):
    url = server.put("/x", b"text", **LAST_MODIFIED)
    old = server.put("/old", b"text", Last_Modified="Sat, 01 Jan 1955 00:00:00 GMT")
    odd = server.put("/odd", b"text", Last_Modified="yesterday")
    plain = server.put("/plain", b"")
    built = project.build(scratch(f"ADD {url} /etc/named", f"ADD {old} {odd} {plain} /d/"))
    directory, file = built.layers[0]
    assert (directory.name, directory.mode) == ("etc", 0o755)
    assert (file.name, file.mode, file.uid, file.gid) == ("etc/named", 0o600, 0, 0)
    assert file.mtime == TIME
    assert [each.mtime for each in built.layers[1][1:]] == [0, 0, 0]
    assert built.history[0]["created_by"] == f"ADD {url} /etc/named"


def test_flags_and_the_epoch_apply(project, server):
    url = server.put("/f", b"text", **LAST_MODIFIED)
    text = scratch("ARG U", "ADD --chmod=755 --chown=4:5 --link $U /b/")
    built = project.build(text, build_args={"U": url}, source_date_epoch=1000)
    file = built.layers[0][1]
    assert (file.mode, file.uid, file.gid, file.mtime) == (0o755, 4, 5, 1000)


def test_files_are_added_in_the_order_of_the_line(project, server):
    (project.top / "x").write_text("of the context")
    url = server.put("/x", b"fetched")
    assert project.build(scratch(f"ADD {url} x /d/")).read("d/x") == "of the context"
    built = project.build(scratch(f"ADD x {url} <<y /d/\nheredoc\ny"))
    assert built.read("d/x") == "fetched" and built.read("d/y") == "heredoc\n"


@pytest.mark.slow
def test_archives_are_unpacked_if_that_is_asked_for(project, server):
    tar = gzip.compress(images.archive({"in": {"text": "member", "uid": 3}}))
    url, plain = server.put("/a.tgz", tar), server.put("/plain", b"no archive")
    assert project.build(scratch(f"ADD {url} /d/")).names() == ["d", "d/a.tgz"]
    assert project.build(scratch(f"ADD --unpack=false {url} /d/")).names() == ["d", "d/a.tgz"]
    built = project.build(scratch(f"ADD --unpack {url} {plain} /d/"))
    assert built.names() == ["d", "d/in", "d/plain"] and built.layers[0][1].uid == 3
    (project.top / "local.tar").write_bytes(tar)
    assert project.build(scratch("ADD --unpack=false local.tar /")).names() == ["local.tar"]
    assert project.build(scratch("ADD --unpack=true local.tar /")).names() == ["in"]
    assert kept(project) == []


def test_a_truncated_archive_is_an_error_that_names_the_url(project, server):
    url = server.put("/a.tar", images.archive({"f": "text" * 1000})[:1024])
    with pytest.raises(LayerError) as caught:
        project.build(scratch(f"ADD --unpack {url} /d/"))
    assert caught.value.where == f"Dockerfile:2: {url}"
    assert kept(project) == []


@pytest.mark.slow
def test_the_same_content_is_cached_and_another_is_not(project, server):
    url = server.put("/x", b"one")
    first = project.build(scratch(f"ADD {url} /x"))
    again = project.build(scratch(f"ADD {url} /x"))
    assert again.executed == [] and again.digest == first.digest
    # The time is the file's: what a cache gives is what a build without it makes.
    for tag in ({}, {"ETag": '"1"'}):
        server.put("/x", b"one", **LAST_MODIFIED, **tag)
        project.build(scratch(f"ADD {url} /x"))
        later = project.build(scratch(f"ADD {url} /x"))
        assert later.executed == [] and later.layers[0][0].mtime == TIME
    server.put("/x", b"two")
    changed = project.build(scratch(f"ADD {url} /x"))
    assert changed.executed and changed.read("x") == "two"
    assert kept(project) == []


@pytest.mark.slow
def test_what_has_an_entity_tag_is_fetched_once(project, server):
    url = server.put("/x", b"one", ETag='"1"')
    project.build(scratch(f"ADD {url} /x"))
    assert project.build(scratch(f"ADD {url} /x")).executed == [] and server.bodies == 1
    # The digest is known, but the content is needed once more.
    assert project.build(scratch(f"ADD {url} /y")).read("y") == "one" and server.bodies == 2
    server.put("/x", b"two", ETag='"2"')
    assert project.build(scratch(f"ADD {url} /x")).read("x") == "two" and server.bodies == 3


def test_credentials_are_in_no_key_of_what_is_known_of_a_url(project, server):
    server.put("/x", b"one", ETag='"1"')
    for user in ("ann:s3cret", "bob:other"):
        project.build(scratch(f"ADD http://{user}@{server.address}/x /x"))
    assert server.bodies == 1


def test_a_weak_entity_tag_does_not_count(project, server):
    url = server.put("/x", b"one", ETag='W/"1"')
    project.build(scratch(f"ADD {url} /x"))
    server.put("/x", b"two", ETag='W/"1"')
    assert project.build(scratch(f"ADD {url} /x")).read("x") == "two"


def test_a_server_that_lies_about_changes_is_found_out(project, server):
    url = server.put("/x", b"one", ETag='"1"')
    project.build(scratch(f"ADD {url} /x"))
    server.put("/x", b"two", ETag='"1"')
    with pytest.raises(DigestMismatch):
        project.build(scratch(f"ADD {url} /y"))
    assert kept(project) == []


def test_with_a_checksum_a_cached_step_sends_no_request(project, server):
    url = server.put("/x", b"one")
    text = scratch(f"ADD --checksum={sha256(b'one')} {url} /x")
    first = project.build(text)
    assert first.read("x") == "one" and len(server.requests) == 1
    server.files.clear()
    again = project.build(text)
    assert again.digest == first.digest and again.executed == [] and len(server.requests) == 1


def test_a_wrong_checksum_is_an_error(project, server):
    url = server.put("/x", b"other")
    with pytest.raises(DigestMismatch) as caught:
        project.build(scratch(f"ADD --checksum={sha256(b'one')} {url} /x"))
    assert f"expected {sha256(b'one')}, got {sha256(b'other')}" in str(caught.value)
    assert caught.value.where == f"Dockerfile:2: {url}"
    assert f"--checksum={sha256(b'other')}" in caught.value.hint
    assert kept(project) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--checksum=sha256:{0} http://h/a http://h/b /d/", "checksum can't be specified for mult"),
        ("--checksum=sha256:{0} f /d/", "checksum requires HTTP(S) or Git sources"),
        ("--checksum=sha512:{0}{0} http://h/a /d/", "--checksum with sha512 is not supported"),
        ("--checksum=sha256:1 http://h/a /d/", "invalid digest 'sha256:1'"),
        ("http://h:port/a /d/", "invalid URL"),
        ("http://[::1/a /d/", "invalid URL"),
        ("http:///a /d/", "invalid URL"),
        ("http://a..b/a /d/", "invalid URL"),
        ("http://*/a /d/", "invalid URL"),
        ('["http://h /a", "/d/"]', "invalid URL"),
        (f"http://{'a' * 64}.test/a /d/", "invalid URL"),
        ("http://h/.. /d/", "the URL does not name a file"),
        ("http://h/a%00 /d/", "the URL does not name a file"),
        ("ftp://h/a /d/", "ADD of an ftp:// URL is not supported"),
    ],
)
def test_is_refused_before_any_request(project, line, message):
    (project.top / "f").write_text("text")
    with pytest.raises(OcitoolError) as caught:
        project.build(scratch(f"ADD {line.format('0' * 64)}"))
    assert caught.value.message.startswith(message) and "Dockerfile:2" in str(caught.value)


@pytest.mark.parametrize("status", [204, 304, 401, 403, 404, 410])
def test_an_error_has_url_and_status_and_what_to_do(project, server, status):
    server.put("/x?key=s3cret", b"", status)
    url = f"http://ann:s3cret@{server.address}/x?key=s3cret"
    if status == 204:
        assert project.build(scratch(f"ADD {url} /x")).read("x") == ""
        return
    with pytest.raises(BuildError) as caught:
        project.build(scratch(f"ADD {url} /x"))
    error = caught.value
    where = f"http://{server.address}/x"
    assert error.message == f"failed to fetch {where}: invalid response status {status}"
    assert error.hint and error.where == "Dockerfile:2" and "s3cret" not in str(error)
    assert kept(project) == []


def test_what_ends_too_early_leaves_nothing_behind(project, server):
    url = server.put("/x", b"half", Content_Length="8")
    with pytest.raises(BuildError, match="failed to fetch"):
        project.build(scratch(f"ADD {url} /x"))
    assert kept(project) == []


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "4, 4", "four", ""])
def test_a_length_that_is_no_number_is_refused(project, server, length):
    url = server.put("/x", b"text", Content_Length=length)
    with pytest.raises(BuildError, match=r"failed to fetch .*: invalid Content-Length") as caught:
        project.build(scratch(f"ADD {url} /x"))
    assert caught.value.hint and kept(project) == []


def test_a_body_whose_pieces_are_malformed_is_an_error_that_says_it(project, server):
    url = server.put("/x", b"zz\r\ntext", Transfer_Encoding="chunked")
    with pytest.raises(BuildError, match=r"failed to fetch .*: the response ended too early"):
        project.build(scratch(f"ADD {url} /x"))


def test_credentials_are_sent_and_not_shown(project, server):
    server.put("/x", b"text")
    built = project.build(scratch(f"ADD http://a%40b:c%3Ad@{server.address}/x /x"))
    expected = f"Basic {base64.b64encode(b'a@b:c:d').decode()}"
    assert server.requests[0][1]["Authorization"] == expected
    shown = f"ADD http://xxxxx:xxxxx@{server.address}/x /x"
    assert built.history[0]["created_by"] == shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"HTTP_AUTH_TOKEN_127.0.0.1": b"t0ken\n"}, "Bearer t0ken"),
        ({"HTTP_AUTH_HEADER_127.0.0.1": b"Basic YTpi"}, "Basic YTpi"),
        (
            {"HTTP_AUTH_HEADER_127.0.0.1": b"Basic YTpi", "HTTP_AUTH_TOKEN_127.0.0.1": b"t0ken"},
            "Bearer t0ken",
        ),
        ({"HTTP_AUTH_TOKEN_localhost": b"t0ken", "HTTP_AUTH_TOKEN": b"t0ken"}, None),
    ],
)
def test_secrets_of_the_host_are_sent(project, server, given, expected):
    """The names and what they mean are BuildKit's; the port is no part of them."""
    url = server.put("/x", b"text")
    built = project.build(scratch(f"ADD {url} /x"), secrets=given)
    assert server.requests[0][1]["Authorization"] == expected
    assert built.history[0]["created_by"] == f"ADD {url} /x"


def test_a_secret_of_one_host_is_not_sent_to_another_by_a_redirect(project, server):
    target = server.put("/target", b"text").replace("127.0.0.1", "localhost")
    url = server.put("/x", b"", 302, Location=target)
    project.build(scratch(f"ADD {url} /x"), secrets={"HTTP_AUTH_TOKEN_127.0.0.1": b"t0ken"})
    sent = [headers["Authorization"] for _, headers in server.requests]
    assert sent == ["Bearer t0ken", None]


def test_a_secret_that_is_no_header_is_refused_without_its_value(project, server):
    url = server.put("/x", b"text")
    with pytest.raises(BuildError, match=r"HTTP_AUTH_TOKEN_127\.0\.0\.1 cannot be sent") as caught:
        project.build(scratch(f"ADD {url} /x"), secrets={"HTTP_AUTH_TOKEN_127.0.0.1": b"se\ncret"})
    assert "cret" not in f"{caught.value} {caught.value.hint}".replace("secret", "")
    assert server.requests == []


def test_a_server_that_wants_credentials_is_answered_with_what_to_do(project, server):
    url = server.put("/x", b"", 401)
    with pytest.raises(BuildError, match="status 401") as caught:
        project.build(scratch(f"ADD {url} /x"))
    assert "--secret id=HTTP_AUTH_TOKEN_127.0.0.1,src=FILE" in caught.value.hint


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://h/x"])
def test_a_redirect_to_another_scheme_is_refused(project, server, target):
    url = server.put("/x", b"", 302, Location=target)
    with pytest.raises(BuildError, match="expected http or https"):
        project.build(scratch(f"ADD {url} /x"))


def test_a_redirect_is_followed_and_the_name_stays(project, server):
    target = server.put("/target", b"text")
    url = server.put("/x", b"", 302, Location=target)
    assert project.build(scratch(f"ADD {url} /d/")).names() == ["d", "d/x"]


def test_a_trigger_fetches_as_the_line_itself_does(project, server):
    url = server.put("/x", b"text")
    text = f"FROM scratch AS base\nONBUILD ADD {url} /x\nFROM base"
    assert project.build(text).read("x") == "text"


def test_user_and_password_are_not_in_progress_nor_in_lines_that_errors_show(project, server):
    url = server.put("/x", b"x").replace("http://", "http://ann:s3cret@")
    built = project.build(scratch(f"ADD {url} /x"))
    shown = url.replace("ann:s3cret", "xxxxx:xxxxx")
    assert built.executed == [f"ADD {shown} /x"]
    for line in (f"ADD {url}/gone /x", f"ADD --nope {url} /x", f"COPY {url} /x"):
        with pytest.raises(OcitoolError) as caught:
            project.build(scratch(line))
        assert caught.value.excerpt == (line.replace(url, shown),)
        assert "s3cret" not in f"{caught.value} {caught.value.hint}"
