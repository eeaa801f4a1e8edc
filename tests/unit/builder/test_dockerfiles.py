"""Which Dockerfile a build reads: its names, several as one, from URLs; and which ignore file."""

from __future__ import annotations

import gzip
import os

import pytest

from ocitool import BuildOptions
from ocitool.builder.calls.calls import check, targets
from ocitool.errors import DockerfileError
from tests.fixtures import images
from tests.fixtures.servers import file_server
from tests.unit.builder.conftest import failure, scratch


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with file_server() as served:
        yield served


def test_several_files_are_read_as_one(project, server, monkeypatch):
    monkeypatch.chdir(project.top)
    (project.top / "a").write_text("FROM scratch AS one\nENV a=1\n")
    (project.top / "sub").mkdir()
    (project.top / "sub/b").write_text("ENV b=2\nFROM one\nCOPY a /a\n")
    url = server.put("/c", b"COPY none /\n")
    built = project.build(file=("a", "sub/b"))
    assert {"a=1", "b=2"} <= set(built.config["Env"]) and built.names() == ["a"]
    error = failure(project, file=("a", "sub/b", url))
    assert error.where == f"http://{server.address}/c:1"
    data = images.archive({"x/a": scratch("ENV a=1"), "x/b": "ENV b=2"})
    assert "b=2" in project.build(context=data, file=("x/a", "../x/b")).config["Env"]


@pytest.mark.slow
def test_a_question_is_of_the_dockerfiles_wherever_they_are(project, server, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = os.listdir(tmp_path)
    data = gzip.compress(images.archive({"Dockerfile": "FROM scratch AS one"}))
    for options in ({"context": data}, {"context": server.put("/c", data)},
                    {"context": b"FROM scratch AS one"},
                    {"file": server.put("/d", b"FROM scratch AS one")}):  # fmt: skip
        (target,) = targets(BuildOptions(**options)).targets
        assert target.name == "one"
        assert check(BuildOptions(**options)).warnings == ()
    first, second = server.put("/e", b"FROM scratch AS one"), server.put("/f", b"FROM one AS two")
    both = targets(BuildOptions(file=(first, second))).targets
    assert [(each.name, each.default) for each in both] == [("one", False), ("two", True)]
    assert os.listdir(tmp_path) == before


def test_a_file_is_looked_for_in_the_context_too(project, tmp_path, monkeypatch):
    """As buildah does, behind the working directory."""
    monkeypatch.chdir(tmp_path)
    (project.top / "D").write_text(scratch("ENV a=1"))
    assert "a=1" in project.build(file="D").config["Env"]
    (tmp_path / "D").write_text(scratch("ENV a=2"))
    assert "a=2" in project.build(file="D").config["Env"]


def test_a_file_is_looked_for_in_an_archive_alone(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "D").write_text(scratch())
    error = failure(project, context=images.archive({"Dockerfile": scratch()}), file="D")
    message = "failed to read dockerfile: open D in the context: no such file or directory"
    assert error.message == message
    assert error.hint == (
        "it is looked for in the context; give a file that is not in it by -f - <D"
    )


@pytest.mark.parametrize("name", ["Dockerfile", "dockerfile", "Containerfile"])
def test_the_names_of_a_dockerfile(project, name):
    assert "a=1" in project.build(context=images.archive({name: scratch("ENV a=1")})).config["Env"]
    (project.top / name).write_text(scratch("ENV a=2"))
    assert "a=2" in project.build().config["Env"]


def test_a_name_in_lower_case_stands_for_the_one_that_is_given(project):
    packed = images.archive({"sub/dockerfile": scratch("ENV a=1")})
    assert "a=1" in project.build(context=packed, file="sub/Dockerfile").config["Env"]
    (project.top / "sub").mkdir()
    (project.top / "sub/dockerfile").write_text(scratch("ENV a=2"))
    assert "a=2" in project.build(file="sub/Dockerfile").config["Env"]
    assert "a=2" in project.build(file=str(project.top / "sub/Dockerfile")).config["Env"]
    (project.top / "sub/Dockerfile").write_text(scratch("ENV a=3"))
    assert "a=3" in project.build(file="sub/Dockerfile").config["Env"]
    error = failure(project, file="sub/DOCKERFILE")
    assert error.message.startswith("failed to read dockerfile: open ")


@pytest.mark.parametrize("scheme", ["ftp", "htps"])
def test_a_url_of_another_scheme(project, scheme):
    error = failure(project, file=f"{scheme}://user:password@h/D")
    shown = f"{scheme}://xxxxx:xxxxx@h/D"
    assert error.message == (
        f"failed to read dockerfile: {shown} is neither an HTTP URL nor a file"
    )


def test_two_dockerfiles_that_are_not_read_as_one_are_an_error(project):
    error = failure(project, context=b"FROM scratch\n", file="D")
    assert error.message == "there are two Dockerfiles: the context, which is no archive, and D"


def test_standard_input_is_read_once(project):
    error = failure(project, file=("-", "-"))
    assert error.message == "standard input cannot be both the context and the Dockerfile"


def test_an_ignore_file_that_is_named_has_to_be_there(project, tmp_path):
    (project.top / ".dockerignore").write_text("f\n")
    (project.top / "f").write_text("x")
    (tmp_path / "rules").write_text("*\n!f\n")
    built = project.build(scratch("COPY . /"), ignorefile=tmp_path / "rules")
    assert built.names() == ["f"]
    error = failure(project, dockerfile=scratch(), ignorefile=tmp_path / "none")
    assert error.message == (
        f"failed to read ignore file: open {tmp_path}/none: No such file or directory"
    )


def test_a_dockerfile_is_fetched_for_a_directory(project, server):
    (project.top / "f").write_text("x")
    (project.top / ".dockerignore").write_text("g\n")
    (project.top / "g").write_text("x")
    url = server.put("/D", scratch("COPY . /").encode())
    assert project.build(file=url).names() == [".dockerignore", "f"]
    url = server.put("/wrong?token=s3cret", b"FROM scratch\nNONSENSE\n")
    with pytest.raises(DockerfileError) as caught:
        project.build(file=url)
    assert caught.value.where == f"http://{server.address}/wrong:2"
    error = failure(project, file=server.put("/a.tgz", gzip.compress(b"x")))
    assert error.message == (
        f"failed to read dockerfile: http://{server.address}/a.tgz is an archive"
    )
