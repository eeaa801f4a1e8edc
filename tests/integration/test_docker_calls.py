"""A docker user's calls: the same exit code and output as docker's, or a difference with a reason.

Every call of ``testdata/docker-calls.yaml`` is run by ocitool and, where there is one, by the real
engine: so the table is true of both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import uuid

import pytest

from tests.fixtures.docker_calls import Caller, table
from tests.fixtures.programs import Finished, python_environment

CALLS = table()
DOCKERFILE = """\
FROM {base} AS first
COPY hello /hello
FROM first
LABEL color=blue
ENV A=1
WORKDIR /w
CMD ["cat", "/hello"]
"""
AROUND = """\
FROM {base}
RUN grep -q 1.2.3.4 /etc/hosts
RUN grep -q "/dev/shm .*size=1024k" /proc/mounts
RUN test "$(ulimit -Sn) $(ulimit -Hn)" = "100 200"
"""
FAILING = "FROM {base}\nRUN exit 3\n"


@pytest.fixture(scope="module")
def directory(session_tree, busybox_base):
    """The directory in which the calls are typed."""
    top = session_tree / "docker-calls"
    context = top / "app"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=busybox_base))
    (context / "Failing").write_text(FAILING.format(base=busybox_base))
    (context / "Around").write_text(AROUND.format(base=busybox_base))
    (context / "Wrong").write_text("FROM scratch\nCOPPY hello /\n")
    # The image is nobody else's, who might remove it by its ID.
    (context / "hello").write_text(f"hello {top.parent.name}\n")
    (top / "variables").write_text("B=2\n# a comment\nC=3\n")
    (top / "script").write_text("echo from stdin\n")
    with tarfile.open(top / "tree.tar", "w") as tree:
        tree.add(context / "hello", "hello")
    (top / "plain").write_text(f"FROM {busybox_base}\nLABEL read=stdin\n")
    (top / "garbage").write_text("no archive\n")
    yield top
    shutil.rmtree(top)


def values(registry, base, directory, number):
    return {
        "repo": f"{registry}/docker-calls/{number}",
        "none": f"{registry}/docker-calls/none",
        "base": base,
        "registry": registry,
        "dir": str(directory),
        "app": f"{registry}/docker-calls/app-{directory.parent.name}",
        "number": number,
        "unique": directory.parent.name,
    }


def execute(command, stdin, **how):
    """Run *command* with the file *stdin* of its directory, or with nothing to read."""
    with open(how["cwd"] / stdin if stdin else os.devnull, "rb") as stream:
        done = subprocess.run(
            command, stdin=stream, capture_output=True, text=True, errors="replace", **how
        )
    return Finished(tuple(command), done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def ours(directory, registry, busybox_base, session_tree, run_cli):
    """Calls by ocitool, in a store of its own."""
    root = session_tree / "docker-calls-store"
    home = session_tree / "docker-calls-home"
    home.mkdir()
    environment = {"HOME": str(home), "DOCKER_CONFIG": str(home), "XDG_RUNTIME_DIR": ""}

    def call(words, stdin):
        if not stdin:
            return run_cli(*words, root=root, cwd=directory, env=environment)
        command = (sys.executable, "-m", "ocitool", "--root", str(root), *words)
        return execute(command, stdin, cwd=directory, env=python_environment(environment))

    def caller(number):
        return Caller(call, values(registry, busybox_base, directory, number))

    _prepare(caller("app"))
    return caller


@pytest.fixture(scope="module")
def theirs(directory, registry, busybox_base, docker, session_tree):
    """Calls by docker, whose engine here has no network of its own."""
    home = session_tree / "docker-calls-docker"
    home.mkdir()
    environment = {**os.environ, "DOCKER_CONFIG": str(home), "DOCKER_BUILDKIT": "0"}

    def call(words, stdin):
        words = list(words)
        for verb in ("run", "build"):
            if verb in words[:2] and not any(word.startswith("--net") for word in words):
                words[words.index(verb) + 1 : words.index(verb) + 1] = ["--network", "host"]
        return execute([*docker.words, *words], stdin, cwd=directory, env=environment)

    def caller(number):
        return Caller(call, values(registry, busybox_base, directory, number))

    app = caller("app")
    _prepare(app)
    yield caller
    app.run(f"rmi -f {app.run('images -q --no-trunc @app@').stdout.split()[0]}")


def _prepare(caller):
    for call in ("pull -q @base@", "build -q -t @app@:1 app", "push @app@:1"):
        done = caller.run(call)
        assert done.code == 0, done.stderr


def _clear(caller, name):
    listed = caller.run(f"images --format {{{{.Repository}}}}:{{{{.Tag}}}} {name}").stdout.split()
    if listed:
        caller.run(f"rmi -f {' '.join(listed)}")


def _unique():
    return uuid.uuid4().hex[:8] + "x"  # no digits alone, which are taken for IDs


@pytest.fixture(params=range(len(CALLS)), ids=[call.words for call in CALLS])
def call(request):
    return CALLS[request.param]


@contextlib.contextmanager
def named(caller, call):
    """With the name ``@repo@:1`` for the image, if *call* has this name."""
    if not any("@repo@" in words for words in (call.words, *call.before)):
        yield
        return
    assert caller.run("tag @app@:1 @repo@:1").code == 0
    try:
        yield
    finally:
        _clear(caller, "@repo@")


def test_a_call(call, ours, containers):
    caller = ours(_unique())
    with named(caller, call):
        found = caller.outcome(call)
    assert call.expected.matches(found), found


@pytest.mark.campaign
def test_the_same_call_of_docker(call, theirs):
    caller = theirs(_unique())
    with named(caller, call):
        found = caller.outcome(call)
    assert call.docker.matches(found), found


def test_the_table_has_a_reason_for_each_difference():
    assert len({(call.words, call.stdin) for call in CALLS}) == len(CALLS) >= 80
    assert [call.words for call in CALLS if (call.expected != call.docker) != bool(call.why)] == []
