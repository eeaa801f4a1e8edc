"""Git repositories as build contexts, and SOURCE_DATE_EPOCH that is the time of a context."""

from __future__ import annotations

import io
import socket
import tarfile

import pytest

from ocitool import BuildOptions, build, check
from ocitool.builder.calls.calls import targets
from ocitool.builder.secrets.ssh.agent import ForwardedAgent
from ocitool.builder.secrets.ssh.agents import agent_of_environment
from ocitool.errors import OcitoolError
from tests.fixtures.git_server import FIRST, GitServer, Repository
from tests.fixtures.servers import file_server
from tests.unit.builder.conftest import RecordedEvents, failure, kept, scratch

pytestmark = pytest.mark.slow

FILE = scratch("COPY . /c/")
EPOCH = "SOURCE_DATE_EPOCH"


@pytest.fixture
def context(git_server: GitServer) -> Repository:
    """Three Dockerfiles, and an ignore file that does not count; another ``a.txt`` in a branch."""
    made = git_server.repository("c.git")
    made.commit(
        {
            "Dockerfile": FILE,
            ".dockerignore": "a.txt\n",
            "a.txt": "one\n",
            "run": {"text": "x", "mode": 0o755},
            "sub/Dockerfile": scratch("COPY b.txt ../a.tx[t] /s/"),
            "sub/other": scratch("COPY b.txt /o/"),
            "sub/b.txt": "b\n",
            "sub/out": {"link": "/etc/passwd"},
        }
    )
    made.commit({"a.txt": "side\n"}, branch="team/side")
    made.git("checkout", "-q", "main")
    return made


def test_the_dockerfile_and_the_files_of_the_repository(project, context):
    built = project.build(context=context.url)
    members = {each.name.rstrip("/"): f"{each.mode:o}" for each in built.layers[0]}
    assert members["c/a.txt"] == "644" and members["c/run"] == "755" and members["c/sub"] == "755"
    assert "c/.dockerignore" in members and "c/.git" not in members
    assert kept(project) == []


@pytest.mark.parametrize(
    ("suffix", "options", "path", "text"),
    [
        ("#team/side", {}, "c/a.txt", "side\n"),
        ("?branch=team/side", {}, "c/a.txt", "side\n"),
        ("#:sub", {}, "s/b.txt", "b\n"),
        ("?subdir=sub", {"file": "other"}, "o/b.txt", "b\n"),
        ("", {"file": "sub/other", "dockerfile": scratch("COPY run /r")}, "r", "x"),
    ],
)
def test_ref_directory_and_dockerfile(project, context, suffix, options, path, text):
    assert project.build(context=context.url + suffix, **options).read(path) == text


def test_nothing_above_the_subdirectory_is_in_the_context(project, context):
    assert list(project.build(context=f"{context.url}#:sub").tree) == ["s", "s/b.txt"]


def test_no_link_leads_out_of_the_repository(project, context):
    error = failure(project, scratch("COPY out /"), context=f"{context.url}#:sub")
    assert error.message == '"/out": not found'


def test_a_second_build_is_cached(project, context):
    first = project.build(context=context.url)
    context.commit({})
    second = project.build(context=context.url)
    assert second.executed == [] and second.digest == first.digest


@pytest.mark.parametrize("suffix", ["", "#:sub"])
def test_a_commit_is_fetched_once(project, git_server, context, suffix):
    """Its server is asked which commit it is; of one that is named it is asked nothing."""
    first = project.build(context=context.url + suffix, source_date_epoch="context")
    git_server.requests.clear()
    second = project.build(context=context.url + suffix, no_cache=True, source_date_epoch="context")
    assert second.digest == first.digest
    assert [path.partition(".git/")[2] for path in git_server.asked] == [
        "info/refs?service=git-upload-pack", "git-upload-pack",
    ]  # fmt: skip
    git_server.requests.clear()
    commit = context.git("rev-parse", "main")
    named = f"{context.url}#{commit}{suffix.removeprefix('#')}"
    assert project.build(context=named, source_date_epoch="context").digest == first.digest
    assert git_server.requests == [] and kept(project) == []


def test_a_check_takes_a_commit_that_the_store_has(project, git_server, context):
    """Without a build, too: what the first check fetches is there for the second one."""
    commit = context.git("rev-parse", "main")
    options = BuildOptions(context=f"{context.url}#{commit}")
    assert check(options, store=project.store).error is None
    assert git_server.requests != []
    git_server.requests.clear()
    assert check(options, store=project.store).error is None
    assert targets(options, store=lambda: project.store).targets
    assert git_server.requests == [] and kept(project) == []
    assert check(options, store=lambda: None).error is None
    assert git_server.requests != []


def test_submodules_are_part_of_the_context(project, parent):
    built = project.build(scratch("COPY lib/r/a.txt /"), context=parent.url)
    assert built.read("a.txt") == "two\n"


@pytest.mark.parametrize(
    ("suffix", "value", "kept_there", "warns"),
    [
        ("", "1", True, False),
        ("", "false", False, False),
        ("?keep-git-dir=true", "0", True, False),
        ("", "maybe", False, True),
    ],
)
def test_git_is_kept_by_a_build_argument(project, context, suffix, value, kept_there, warns):
    """It need not be declared; what it cannot mean is ignored, as in BuildKit, with a warning."""
    arguments = {"BUILDKIT_CONTEXT_KEEP_GIT_DIR": value}
    built = project.build(context=context.url + suffix, build_args=arguments)
    assert ("c/.git/HEAD" in built.tree) == kept_there
    assert bool(built.warnings) == warns


def test_what_is_fetched_is_a_step(project, git_server, context):
    """It shows the commit, and what git says meanwhile, without the values of secrets."""
    commit = context.git("rev-parse", "main")
    url = context.url.replace("//", "//ann:password@")
    name = "[internal] load git source " + context.url.replace("//", "//xxxxx:xxxxx@")
    built = project.build(context=url, secrets={"hidden": b"Counting"})
    assert built.events.ended() == {name: "done", "[stage-0 1/1] COPY . /c/": "done"}
    assert built.output.splitlines()[0] == f"{commit}\trefs/heads/main"
    assert "*** objects: 100%" in built.output and "Counting" not in built.output
    built = project.build(scratch("COPY --from=g a.txt /"), build_contexts={"g": context.url})
    assert built.events.ended() == {
        f"[context g] load git source {context.url}": "cached",
        "[stage-0 1/1] COPY --from=g a.txt /": "done",
    }
    with pytest.raises(OcitoolError) as caught:
        build(
            BuildOptions(context=f"{context.url}#none"),
            store=project.store,
            progress=(sink := RecordedEvents()),
        )
    assert sink.ended() == {f"[internal] load git source {context.url}#none": str(caught.value)}


def test_a_private_context(project, git_server, context):
    git_server.header = "right"
    secrets = {"GIT_AUTH_HEADER": b"right"}
    assert project.build(context=context.url, secrets=secrets).read("c/a.txt") == "one\n"
    assert "GIT_AUTH_TOKEN" in failure(project, context=context.url).hint


@pytest.mark.parametrize(
    ("suffix", "options", "message"),
    [
        ("#mian", {}, "repository does not contain ref mian"),
        ("#:nothing", {}, 'failed to open subdir "nothing": not found'),
        ("?subdir=sub", {"file": "none"}, "failed to read dockerfile: open none in "),
        ("?tag=a&branch=b", {}, "branch conflicts with tag"),
        (".git", {}, "failed to fetch remote "),
    ],
)
def test_a_mistake_has_a_remedy(project, context, suffix, options, message):
    assert failure(project, context=context.url + suffix, **options).message.startswith(message)


def test_what_the_caller_names_may_use_the_callers_agent(tmp_path):
    """Where there is one: other contexts do not need it."""
    path, file = str(tmp_path / "agent"), tmp_path / "file"
    file.touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
    agent = agent_of_environment({"SSH_AUTH_SOCK": path})
    assert isinstance(agent, ForwardedAgent) and agent.path == path
    for other in ("", str(file), str(tmp_path / "none")):
        assert agent_of_environment({"SSH_AUTH_SOCK": other}) is None


# -- named contexts -------------------------------------------------------------------------


def test_a_repository_as_a_named_context(project, git_server, context):
    contexts = {"lib": f"{context.url}#team/side", "unused": f"{context.url}#mian"}
    file = "FROM lib AS all\nFROM scratch\nCOPY --from=lib a.txt /x/\nCOPY --from=all run /x/\n"
    built = project.build(file, build_contexts=contexts)
    assert built.read("x/a.txt") == "side\n" and "x/run" in built.tree
    assert kept(project) == [] and project.build(file, build_contexts=contexts).executed == []


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("#mian", "repository does not contain ref mian"),
        ("?subdirr=a", 'unexpected query "subdirr"'),
    ],
)
def test_a_mistake_in_a_named_context(project, context, suffix, message):
    contexts = {"lib": context.url + suffix}
    error = failure(project, scratch("COPY --from=lib a.txt /"), build_contexts=contexts)
    assert error.message == message


# -- SOURCE_DATE_EPOCH ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "head"),
    [
        ({"source_date_epoch": "context"}, ""),
        ({"build_args": {EPOCH: "context"}}, ""),
        ({}, f"ARG {EPOCH}=context\n"),
    ],
)
def test_the_epoch_is_the_time_of_the_commit(project, context, options, head):
    file = f"{head}FROM scratch\nARG {EPOCH}\nLABEL at=${EPOCH}\nCOPY <<a /a\na\nCOPY . /\n"
    built = [
        project.build(file, context=f"{context.url}#team/side", no_cache=True, **options)
        for _ in range(2)
    ]
    assert built[0].digest == built[1].digest
    time = FIRST + 3600
    assert {each.mtime for layer in built[0].layers for each in layer} == {time}
    assert built[0].document["created"] == "2001-09-09T02:46:40Z"
    assert built[0].config["Labels"] == {"at": str(time)}


@pytest.mark.parametrize("given", [FIRST - 7, FIRST + 100])
def test_with_an_epoch_files_have_the_time_of_the_commit_at_most(project, context, given):
    built = project.build(context=context.url, source_date_epoch=given)
    assert {each.mtime for each in built.layers[0] if each.isfile()} == {min(given, FIRST)}


def test_the_time_of_a_fetched_archive_is_that_of_the_server_or_of_its_newest_file(
    project, monkeypatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text, time in (("Dockerfile", FILE, FIRST), ("f", "f", FIRST - 7)):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), time
            tar.addfile(member, io.BytesIO(text.encode()))
    data = packed.getvalue()
    with file_server() as server:
        plain = server.put("/plain.tgz", data)
        dated = server.put("/dated.tgz", data, Last_Modified="Tue, 05 Mar 2002 10:11:12 GMT")
        epoch = {"source_date_epoch": "context"}
        assert project.build(context=dated, **epoch).document["created"] == "2002-03-05T10:11:12Z"
        newest = project.build(context=plain, **epoch)
    times = {each.mtime for each in newest.layers[0] if each.isfile()}
    assert times == {FIRST - 7, FIRST} and newest.document["created"] == "2001-09-09T01:46:40Z"


@pytest.mark.parametrize("declared", ["", f"ARG {EPOCH}=context\n"])
def test_a_context_of_this_machine_has_no_time(project, declared):
    """Then there is no epoch, as in BuildKit."""
    (project.top / "f").write_text("f")
    file = f"{declared}FROM scratch\nARG {EPOCH}\nLABEL at=${EPOCH}\nCOPY f /\n"
    options = {} if declared else {"source_date_epoch": "context"}
    built = project.build(file, **options)
    assert "." in built.document["created"] and built.config["Labels"] == {"at": ""}


def test_no_other_word_is_an_epoch(project):
    with pytest.raises(OcitoolError, match="invalid SOURCE_DATE_EPOCH 'contxt'"):
        project.build(FILE, build_args={EPOCH: "contxt"})
