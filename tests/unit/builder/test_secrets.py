"""--secret and `BuildOptions.secrets`: where values come from, and which are refused."""

from __future__ import annotations

import os
import threading

import click
import pytest

from ocitool import BuildOptions
from ocitool.builder.secrets.secrets import LARGEST, Secrets
from ocitool.cli.build_options import secrets as option
from ocitool.errors import BuildError, FormatError, OcitoolError
from tests.unit.builder.conftest import scratch


def read(*words: str) -> dict[str, bytes]:
    """Return what --secret makes of *words*."""

    @click.command()
    @option.options
    def command(secrets: dict[str, bytes], **others: object) -> dict[str, bytes]:
        return secrets

    arguments = [part for word in words for part in ("--secret", word)]
    return command.main(arguments, standalone_mode=False)


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    """Two files and two variables, of which one of each is called "both"."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both").write_bytes(b"of the file both\n")
    (tmp_path / "file").write_bytes(b"of the file\0\xff")
    (tmp_path / "a,b").write_bytes(b"with a comma")
    (tmp_path / "id").write_bytes(b"of the file id")
    monkeypatch.setenv("both", "of the variable both")
    monkeypatch.setenv("VARIABLE", "of the variable\udcff")
    monkeypatch.delenv("id", raising=False)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("id=id,src=file", b"of the file\0\xff"),
        ("id=id,source=file", b"of the file\0\xff"),
        ("ID=id,SRC=file", b"of the file\0\xff"),
        ("src=file,id=id,type=file", b"of the file\0\xff"),
        ('"src=a,b",id=id', b"with a comma"),
        ("id=id,env=VARIABLE", b"of the variable\xff"),
        ("id=id,type=env,env=VARIABLE", b"of the variable\xff"),
        ("id=id,type=env,src=VARIABLE", b"of the variable\xff"),
        ("id=id,env=UNSET_VARIABLE", b""),
        ("id=id", b"of the file id"),
        ("id=id,type=file", b"of the file id"),
    ],
)
def test_where_a_value_comes_from(word, value):
    assert read(word) == {"id": value}


def test_an_id_alone_means_the_variable_of_that_name_or_else_the_file():
    assert read("id=both") == {"both": b"of the variable both"}
    assert read("id=both,type=env") == {"both": b"of the variable both"}
    assert read("id=both,type=file") == {"both": b"of the file both\n"}
    assert read("id=VARIABLE", "id=file") == {
        "VARIABLE": b"of the variable\xff",
        "file": b"of the file\0\xff",
    }


def test_a_pipe_is_read_to_its_end():
    """As of ``--secret id=x,src=<(command)``; the writer may be slow."""
    reading, writing = os.pipe()
    os.write(writing, b"first ")

    def write_rest() -> None:
        os.write(writing, b"second")
        os.close(writing)

    timer = threading.Timer(0.05, write_rest)
    timer.start()
    assert read(f"id=x,src=/dev/fd/{reading}") == {"x": b"first second"}
    timer.join()
    os.close(reading)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([""], "id is missing"),
        (["topsecret"], "is not KEY=VALUE, with a key of id, src, source, env, type"),
        (["src=file"], "id is missing, expected id=NAME[,src=FILE|env=NAME]"),
        (["id=,src=file"], "id is missing"),
        (["id=x,value=topsecret"], "unexpected key 'value', expected one of id, src,"),
        (["id=x,id=y"], "id is given twice"),
        (["id=x,src=file", "id=x,env=VARIABLE"], "the id is used twice"),
        (["id=x,type=vault"], "type 'vault' is not supported, expected file or env"),
        (["id=x,src=file,env=VARIABLE"], "a secret has one source, src or env"),
        (["id=x,src=file,source=file"], "a secret has one source"),
        (["id=x,type=file,env=VARIABLE"], "a secret has one source"),
        (['"id=x'], "invalid --secret"),
    ],
)
def test_a_word_of_another_form_is_wrong_usage_and_not_repeated(words, text):
    with pytest.raises(click.UsageError) as caught:
        read(*words)
    assert text in caught.value.message and "topsecret" not in caught.value.message


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("id=x,src=/no/file", "failed to read secret x: open /no/file: No such file or directory"),
        ("id=missing", "failed to read secret missing: open missing: No such file"),
        ("id=x,src=.", "failed to read secret x: . is not a file"),
        ("id=x,src=/dev/null", "failed to read secret x: /dev/null is not a file"),
        ("id=x,src=file/x", "failed to read secret x: open file/x: Not a directory"),
    ],
)
def test_a_source_that_cannot_be_read_is_an_error(word, text):
    with pytest.raises(BuildError) as caught:
        read(word)
    assert text in str(caught.value) and "src=FILE" in caught.value.hint


def test_a_path_that_a_shell_would_have_expanded_has_its_own_remedy():
    with pytest.raises(BuildError, match="open ~/token: No such file") as caught:
        read("id=x,src=~/token")
    assert "$HOME" in caught.value.hint


def test_a_value_has_a_largest_size():
    assert Secrets({"x": b"a" * LARGEST}).read("x") is not None
    with pytest.raises(BuildError, match="secret x is too large: more than 512000 bytes"):
        Secrets({"x": b"a" * (LARGEST + 1)})


def test_of_a_large_file_no_more_is_read_than_shows_that_it_is(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 40)
    assert len(read("id=x,src=large")["x"]) == LARGEST + 1


def test_options_take_text_and_bytes_and_never_show_them(project):
    options = BuildOptions(secrets={"x": "topsecret", "y": b"topsecret"})
    assert options.secrets == {"x": b"topsecret", "y": b"topsecret"}
    assert "topsecret" not in repr(options) and "topsecret" not in repr(Secrets(options.secrets))
    for wrong in ({"x": None}, {"x": 5}, ["x=topsecret"], {5: b"topsecret"}):
        with pytest.raises(FormatError, match=r"BuildOptions\.secrets") as caught:
            BuildOptions(secrets=wrong)  # type: ignore[arg-type]
        assert "topsecret" not in str(caught.value)


def test_an_empty_id_is_refused_and_an_empty_value_is_a_warning(project):
    with pytest.raises(OcitoolError, match="a secret has an empty id"):
        project.build(scratch("LABEL a=b"), secrets={"": b"x"})
    built = project.build(scratch("LABEL a=b"), secrets={"token": b""})
    assert built.warnings == ("secret token is empty",)
