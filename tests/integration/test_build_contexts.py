"""Contexts of the command: archives on standard input, in files and from a server; Dockerfiles."""

from __future__ import annotations

import gzip
import os

import pytest

from tests.fixtures import images
from tests.fixtures.servers import file_server

DOCKERFILE = "FROM scratch\nCOPY f /f\n"
FILES = {"Dockerfile": DOCKERFILE, "f": "x", "other": "FROM f\n"}
ARCHIVE = gzip.compress(images.archive(FILES), mtime=0)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with file_server() as served:
        yield served


@pytest.fixture
def context(tmp_path):
    (tmp_path / "c").mkdir()
    for name, text in FILES.items():
        (tmp_path / "c" / name).write_text(text)
        os.utime(tmp_path / "c" / name, (0, 0))
    return tmp_path / "c"


def left(root) -> list[str]:
    return os.listdir(root / "tmp") if (root / "tmp").exists() else []


def test_all_kinds_of_contexts_give_one_image(run_cli, context, store_root, server, tmp_path):
    (tmp_path / "a.tgz").write_bytes(ARCHIVE)
    env = {"SOURCE_DATE_EPOCH": "0", "NO_PROXY": "127.0.0.1", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()

    def digest(*words, stdin=None) -> str:
        done = run_cli("build", "--progress", "none", *words, root=store_root, env=env, stdin=stdin)
        return done.ok().stdout.partition("Digest ")[2].split()[0]

    first = digest(context)
    assert digest(tmp_path / "a.tgz") == first
    assert digest("-", stdin=ARCHIVE) == first
    assert digest(server.put("/a", ARCHIVE)) == first
    assert digest("-f", "-", context, stdin=DOCKERFILE) == first
    assert digest("-f", "-", tmp_path / "a.tgz", stdin=DOCKERFILE) == first
    assert digest("-f", server.put("/d", DOCKERFILE.encode()), context) == first
    assert left(store_root) == os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize(
    ("words", "stdin", "code", "message"),
    [
        (["-f", "-", "-"], "", 2, "standard input cannot be both the context and the Dockerfile"),
        (["-f", "-", "-f", "-", "."], "", 2, "standard input cannot be both"),
        (["-f", "D", "-"], "FROM scratch\n", 1, "there are two Dockerfiles: standard input, which"),
        (["-"], ARCHIVE[:-30], 1, "unable to prepare context: standard input: unexpected end"),
        (["-"], gzip.compress(b"no tar", mtime=0), 1, "standard input: invalid tar archive"),
        (["-f", "none", "-"], ARCHIVE, 1, "open none in standard input: no such file"),
        (["-f", "other", "-"], ARCHIVE, 1, "other:1: "),
        (["none"], None, 1, 'unable to prepare context: path "none" not found'),
        (["-f", "-", "."], ARCHIVE, 1, "failed to read dockerfile: Dockerfile is an archive"),
        (["--ignorefile", "none", "."], None, 1, "failed to read ignore file: open none: No such"),
    ],
)
def test_a_mistake_is_an_error_and_nothing_is_left(
    run_cli, context, store_root, words, stdin, code, message
):
    env = {"OCITOOL_DOCKER": "", "NO_PROXY": "127.0.0.1"}
    words = ["--pull=never", *words]
    done = run_cli("build", *words, root=store_root, stdin=stdin, cwd=context, env=env)
    assert done.code == code and message in done.stderr
    assert "hint: " in done.stderr
    assert left(store_root) == []
