"""Dockerfiles and ignore files that are not files, or too large: refused at once, by name."""

from __future__ import annotations

import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

IGNORE_FILES = (  # the first that is there counts
    "Dockerfile.dockerignore",
    "Dockerfile.containerignore",
    ".containerignore",
    ".dockerignore",
)
NAMES = ("Dockerfile", *IGNORE_FILES)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (tmp_path / "f").write_text("x")
    return tmp_path


def fifo(path):
    os.mkfifo(path)


def link_to_fifo(path):
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


def open_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # an address is short
        server.bind(path.name)
        os.chdir(here)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [fifo, link_to_fifo, open_socket])
def test_what_is_not_a_regular_file_is_refused(context, run_cli, store_root, name, make):
    (context / name).unlink(missing_ok=True)
    make(context / name)
    done = run_cli("build", context, root=store_root, timeout=60)
    assert done.code == 1
    assert f"{name}: expected a regular file, got a" in done.stderr


@pytest.mark.parametrize("option", ["-f", "--ignorefile"])
@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null", "/proc/self/fd/0"])
def test_nor_is_what_an_option_names(context, run_cli, store_root, option, target):
    assert not stat.S_ISREG(os.stat("/dev/null").st_mode)
    (context / "link").symlink_to(target)
    done = run_cli("build", option, "link", ".", root=store_root, cwd=context, timeout=60)
    assert done.code == 1
    assert "link: expected a regular file, got a" in done.stderr


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null", "/proc/self/fd/0"])
def test_links_out_of_the_context_are_not_followed(context, run_cli, store_root, target):
    (context / ".dockerignore").symlink_to(target)
    run_cli("build", context, root=store_root, timeout=60).ok()
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to(target)
    done = run_cli("build", context, root=store_root, timeout=60)
    assert done.code == 1 and "Dockerfile: no such file or directory" in done.stderr


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_directory_named_as_an_ignore_file_means_nothing(context, run_cli, store_root, name):
    (context / name).mkdir()
    (context / name / "f").write_text("f\n")
    run_cli("build", "-q", context, root=store_root).ok()


def test_a_directory_is_no_dockerfile(context, run_cli, store_root):
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").mkdir()
    done = run_cli("build", context, root=store_root)
    assert done.code == 1
    assert "Dockerfile: Is a directory" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_what_is_too_large_is_refused(context, run_cli, store_root, name):
    with open(context / name, "ab") as file:
        file.write(b"#\n")
        file.truncate((16 << 20) + 1)
    done = run_cli("build", context, root=store_root)
    assert done.code == 1
    assert f"{name}: the file has more than 16777216 bytes" in done.stderr


def test_so_is_a_dockerfile_on_standard_input(context, run_cli, store_root):
    done = run_cli("build", "-f", "-", context, root=store_root, stdin="#" * ((16 << 20) + 1))
    assert done.code == 1
    assert "Dockerfile: the file has more than 16777216 bytes" in done.stderr


def test_the_largest_is_read(context, run_cli, store_root):
    text = (context / "Dockerfile").read_bytes()
    comment = b"#" * 99 + b"\n"
    (context / "Dockerfile").write_bytes(text + comment * (((16 << 20) - len(text)) // 100))
    run_cli("build", "-q", context, root=store_root).ok()


@pytest.mark.parametrize("progress", ["plain", "json"])
def test_a_path_that_is_not_utf_8(tmp_path, run_cli, store_root, progress):
    context = tmp_path / os.fsdecode(b"c\xff")
    (context / os.fsdecode(b"d\xfe")).mkdir(parents=True)
    (context / os.fsdecode(b"d\xfe/f\xfd")).write_text("x")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /all/\nCOPY d? /d\n")
    words = ("build", "--progress", progress, "-t", "a:1", context)
    root = store_root / os.fsdecode(b"r\xff")
    run_cli(*words, root=root).ok()
    assert "all 2 steps were cached" in run_cli(*words, root=root).ok().stdout
    (context / "Dockerfile").write_text("FROM scratch\nCOPY gone /\n")
    failed = run_cli(*words, root=root)
    assert failed.code == 1 and "not found" in failed.stderr and "udcff" in failed.stderr


def test_a_change_that_is_not_utf_8(tmp_path, run_cli, store_root):
    change = os.fsdecode(b"ENV a=\xff")
    done = run_cli("import", "--change", change, "-", "a:1", root=store_root, stdin="")
    assert done.code == 1 and "--change:2: invalid UTF-8 text" in done.stderr


def test_a_change_may_record_triggers(tmp_path, run_cli, store_root):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("f"))
    words = ("-c", "ONBUILD COPY f /x", "--change", "ONBUILD ENV a=$b", tmp_path / "t.tar", "a:1")
    run_cli("import", *words, root=store_root).ok()
    shown = run_cli("inspect", "-f", "{{json .Config.OnBuild}}", "a:1", root=store_root).ok()
    assert shown.stdout == '["COPY f /x","ENV a=$b"]\n'


def test_without_a_context_the_dockerfile_is_on_standard_input(tmp_path, run_cli, store_root):
    (tmp_path / "f").touch()
    text = "FROM scratch\nENV A=1\nCOPY . /\n"
    words = ("build", "-q", "-t", "a:1", "-")
    run_cli(*words, root=store_root, stdin=text, cwd=tmp_path).ok()
    shown = run_cli("inspect", "-f", "{{.Config.Env}}", "a:1", root=store_root).ok().stdout
    assert "A=1" in shown
    names = run_cli("export", "a:1", root=store_root).ok().stdout
    assert "f\0" not in names
    missing = run_cli(*words, root=store_root, stdin=f"{text}COPY f /\n", cwd=tmp_path)
    assert missing.code == 1 and '"/f": not found' in missing.stderr
    assert "hint: the context is empty" in missing.stderr
