"""Files with environment variables, as docker reads them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ocitool.containers.variables import file_entries, variables
from ocitool.errors import ContainerError


def read(tmp_path, content, **caller):
    (tmp_path / "env").write_bytes(content)
    return list(file_entries(str(tmp_path / "env"), caller))


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        (b"A=1\nB=2", ["A=1", "B=2"]),
        (b"\xef\xbb\xbfA=1\r\n", ["A=1"]),
        (b"# comment\n\n  # another\n", []),
        (b"  A= x # no comment \n", ["A= x # no comment "]),
        (b'A="quoted"\n', ['A="quoted"']),
        (b"A=\n", ["A="]),
        (b"HERE\nNOWHERE\n", ["HERE=caller's"]),
        (b"A=b=c\n", ["A=b=c"]),
        (b"A=\xc3\xa4\n", ["A=\xe4"]),
    ],
)
def test_lines(tmp_path, content, entries):
    assert read(tmp_path, content, HERE="caller's") == entries


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A B=1\n", "the name of variable 'A B' has white space"),
        (b"export A=1\n", "the name of variable 'export A' has white space"),
        (b"=1\n", "no variable name on line '=1'"),
        (b"A=\xff\n", "it is not UTF-8"),
    ],
)
def test_lines_that_are_refused(tmp_path, content, said):
    with pytest.raises(ContainerError, match=said) as caught:
        read(tmp_path, content)
    assert f"{tmp_path}/env" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ContainerError, match="cannot read the env file"):
            list(file_entries(str(path), {}))


def test_a_pipe_is_read_to_its_end(tmp_path):
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: Path(path).write_text("A=1\n"))
    writer.start()
    assert list(file_entries(path, {})) == ["A=1"]
    writer.join()


def test_a_name_alone_takes_the_callers_value_or_removes_the_images():
    env = variables(("A", "B", "C=3"), {"A": "image", "B": "image"}, {"A": "caller"})
    assert env == {"A": "caller", "C": "3"}
