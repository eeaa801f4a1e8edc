"""SOURCE_DATE_EPOCH that is the name of a context, or of a stage that fetches something."""

from __future__ import annotations

import io
import tarfile

import pytest

from ocitool import BuildOptions, check
from ocitool.errors import DockerfileError, OcitoolError
from tests.fixtures.git_server import FIRST, GitServer
from tests.fixtures.servers import file_server
from tests.unit.builder.conftest import failure, kept

EPOCH = "SOURCE_DATE_EPOCH"
DATED = "Tue, 05 Mar 2002 10:11:12 GMT"
DATE, NEWEST = "2002-03-05T10:11:12Z", "2001-09-09T01:46:40Z"
#: What is built: its own time, and what the variable is.
LAST = f"FROM scratch\nARG {EPOCH}\nENV A=${{{EPOCH}-none}}\nCOPY f /\n"


@pytest.fixture
def files(project, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    project.put({"f": "f"})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, kind, time in (
            ("a", tarfile.REGTYPE, FIRST - 7),
            ("b", tarfile.REGTYPE, FIRST),
            ("d", tarfile.DIRTYPE, FIRST + 7),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.mtime = kind, time
            tar.addfile(member)
    with file_server() as server:
        server.put("/plain.tgz", packed.getvalue())
        server.put("/dated.tgz", packed.getvalue(), Last_Modified=DATED)
        server.put("/file", b"no archive")
        yield server


def stage(*lines: str, base: str = "scratch", at: str = "source") -> str:
    return "\n".join([f"ARG {EPOCH}={at}", f"FROM {base} AS Source", *lines, LAST])


def created(built) -> str | None:
    """Return the time of the image and of its file; None where there is no epoch."""
    time = built.document["created"]
    epoch = next(each[2:] for each in built.config["Env"] if each.startswith("A="))
    if "." in time:
        assert epoch == "none"
        return None
    assert {each.mtime for each in built.layers[0]} == {int(epoch)}
    return str(time)


@pytest.mark.parametrize(
    ("path", "time"), [("plain.tgz", NEWEST), ("dated.tgz", DATE), ("file", None)]
)
def test_the_time_of_a_file_that_a_stage_adds(project, files, path, time):
    url = f"http://{files.address}/{path}"
    assert created(project.build(stage(f"ADD {url} /"))) == time
    lines = (f"ARG HOST={files.address} NONE", f"ARG P=$HOST/{path}", "ADD http://$P /x/")
    assert created(project.build(stage(*lines, at="SOURCE"))) == time
    assert kept(project) == []


def test_a_build_argument_is_a_name_too_and_comes_before_the_arg(project, files):
    text = stage(f"ADD http://{files.address}/dated.tgz /")
    assert created(project.build(text, build_args={EPOCH: "7"})) == "1970-01-01T00:00:07Z"
    text = text.replace(f"ARG {EPOCH}=source\n", "", 1)
    assert created(project.build(text, build_args={EPOCH: "Source"})) == DATE
    assert created(project.build(text, source_date_epoch="source")) == DATE
    assert created(project.build(text)) is None


@pytest.mark.slow
def test_the_time_of_a_commit_that_a_stage_adds(project, files, git_server: GitServer):
    made = git_server.repository("s.git")
    made.commit({"a": "1"})
    made.commit({"a": "2"})
    assert created(project.build(stage(f"ADD {made.url} /"))) == "2001-09-09T02:46:40Z"
    contexts = {"src": made.url}
    built = project.build(f"ARG {EPOCH}=src\n{LAST}", build_contexts=contexts)
    assert created(built) == "2001-09-09T02:46:40Z"
    assert built.warnings == ()


@pytest.mark.parametrize(
    ("path", "time"), [("plain.tgz", NEWEST), ("dated.tgz", DATE), ("file", None)]
)
def test_the_time_of_a_named_context_which_comes_before_a_stage(project, files, path, time):
    contexts = {"source": f"http://{files.address}/{path}"}
    text = stage("COPY f /")
    assert created(project.build(text, build_contexts=contexts)) == time
    assert created(project.build(LAST, build_contexts=contexts, source_date_epoch="source")) == time


def test_a_directory_has_no_time(project, files):
    contexts = {"source": str(project.top)}
    assert created(project.build(stage("COPY f /"), build_contexts=contexts)) is None


REQUIRED = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], REQUIRED),
        (["ARG A=1"], REQUIRED),
        (["ADD http://h/a /", "ADD http://h/b /"], REQUIRED),
        (["ADD http://h/a http://h/b /x/"], f"{REQUIRED} source"),
        (["ADD <<E /x", "a", "E"], f"{REQUIRED} source"),
        (["ADD f /"], "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD"),
        (
            ["COPY f /"],
            "SOURCE_DATE_EPOCH stage does not meet source-only requirements:"
            " unsupported COPY instruction",
        ),
        (["ADD http://:/a /"], "invalid URL"),
    ],
)
def test_a_stage_that_has_no_time(project, files, lines, message):
    error = failure(project, stage(*lines))
    assert isinstance(error, DockerfileError)
    assert (error.message, str(error.where)) == (message, "Dockerfile:2")


def test_a_stage_with_files_of_its_base_has_no_time(project, files):
    error = failure(project, stage("ADD http://h/a /", base="x"))
    assert str(error) == "Dockerfile:2: SOURCE_DATE_EPOCH stage must use FROM scratch"


def test_checks_know_the_name_and_fetch_nothing(project, files):
    def checked(text):
        return check(BuildOptions(context=str(project.top), dockerfile=text.encode()))

    assert checked(stage(f"ADD http://{files.address}/dated.tgz /")).error is None
    assert files.requests == []
    assert "source-only" in str(checked(stage("RUN x")).error)
    assert str(checked(f"ARG {EPOCH}=sauce\n{LAST}").error) == f"invalid {EPOCH} 'sauce'"


@pytest.mark.parametrize("name", ["sauce", "-1", "1.5", "Source:x"])
def test_a_name_of_nothing(project, files, name):
    with pytest.raises(OcitoolError, match=f"invalid {EPOCH} '{name}'"):
        project.build(stage("ADD http://h/a /", at=name))
