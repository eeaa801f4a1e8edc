"""The search of an image for the values of secrets: forms, paths, and what it lets pass."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import random
import tracemalloc
import zipfile
from urllib.parse import quote, quote_plus

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ocitool.builder.secret_scan import compressed_members
from ocitool.builder.secret_scan import search as search_module
from ocitool.builder.secret_scan.search import Search
from ocitool.builder.secrets.forms import forms_of
from ocitool.builder.secrets.secrets import Secrets
from ocitool.errors import BuildError
from tests.fixtures import images
from tests.unit.builder.conftest import BuildFixture, scratch

VALUE = b'tok?en/with "odd"+chars\xc3\xa9:0123456789abcdef'
PEM = "-----BEGIN KEY-----\n" + "\n".join(f"{n:02}" * 30 for n in range(20)) + "\n-----END-----\n"


def wrapped(data: bytes, width: int, end: bytes = b"\n") -> bytes:
    code = base64.b64encode(data)
    return b"".join(code[at : at + width] + end for at in range(0, len(code), width))


FORMS = {
    "plain": VALUE,
    "in text": b"before" + VALUE + b"after",
    "URL": quote(VALUE, safe="").encode(),
    "URL with slashes": quote(VALUE).encode(),
    "URL of a form": quote_plus(VALUE).encode(),
    "URL of JavaScript": quote(VALUE, safe="!'()*").encode(),
    "URL in lower case": quote(VALUE, safe="").lower().encode(),
    "hexadecimal": VALUE.hex().encode(),
    "hexadecimal in capitals": VALUE.hex().upper().encode(),
    "JSON": json.dumps({"a": VALUE.decode()}).encode(),
    "JSON with other letters": json.dumps([VALUE.decode()], ensure_ascii=False).encode(),
    **{f"base64 behind {n}": base64.b64encode(b"x" * n + VALUE + b"\n") for n in range(4)},
    **{f"base64 for URLs behind {n}": base64.urlsafe_b64encode(b"x" * n + VALUE) for n in range(3)},
    **{f"base64 in lines of {n}": wrapped(b"user:" + VALUE * 3, n) for n in (64, 76)},
    "base64 in lines of Windows": wrapped(b"x" * 40 + VALUE, 76, b"\r\n"),
    "base64 in YAML": wrapped(b"x" * 61 + VALUE, 64, b"\n        "),
}


def failed(project: BuildFixture, text: str, value: bytes = VALUE, **more) -> BuildError:
    """Return the error of a build, after which there is no image, and whose text has no value."""
    with pytest.raises(BuildError) as caught:
        project.build(text, "app:1", secrets={"token": value}, **more)
    assert list(project.store.refs.all()) == []
    error = caught.value
    shown = f"{error} {error.hint} {error.excerpt}"
    assert value.decode("utf-8", "replace").strip() not in shown
    return error


@pytest.mark.parametrize("form", FORMS)
def test_each_form_in_a_file_is_found(project, form):
    (project.top / "f").write_bytes(b"x\n" * 1000 + FORMS[form] + b"\n")
    error = failed(project, scratch("LABEL a=b", "COPY f /etc/conf"), VALUE + b"\n")
    assert str(error) == (
        "Dockerfile:3: secret token is in the image: /etc/conf in the layer of "
        "[stage-0 1/1] COPY f /etc/conf"
    )
    assert (error.line, error.excerpt) == (3, ("COPY f /etc/conf",))
    assert "--secret-scan=off" in error.hint and error.exit_code == 1


def found_in(search, data, size=lambda: 1 << 18):
    """Return where *search* finds values in *data*, which is fed in pieces of *size()* bytes."""
    finder, at = search.finder(), 0
    while at < len(data):
        piece = data[at : at + size()]
        finder.feed(piece)
        at += len(piece)
    return finder.found()


@given(data=st.binary(min_size=6, max_size=200), before=st.binary(max_size=100))
def test_any_value_is_found_in_what_base64_makes_of_it(data, before):
    search = Search(Secrets({"x": data}))
    if not search:
        assert len(data.strip()) < 4
        return
    stripped = len(data.strip()) >= 6
    for text in (before + data, *([base64.b64encode(before + data)] if stripped else [])):
        assert search.find_in(text) == ["x"]
        assert found_in(search, text) == {"x": pytest.approx(0, abs=len(text))}
    if len(data.strip()) > 40:
        assert search.find_in(wrapped(before + data, 76)) == ["x"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "base64 behind 1", "base64 in lines of 76"])
def test_a_value_is_found_wherever_pieces_end(form):
    search, text = Search(Secrets({"x": VALUE})), FORMS[form]
    for at in range((1 << 18) - len(text) - 2, (1 << 18) + 3, 1):
        data = bytes(at) + text + bytes(1 << 18)
        found = found_in(search, data)["x"]
        assert at <= found < at + len(text)


def test_a_value_is_found_in_short_reads():
    search, chance = Search(Secrets({"x": VALUE})), random.Random(5)
    for _ in range(50):
        data = os.urandom(chance.randrange(500)) + FORMS["base64 in lines of 64"]
        assert "x" in found_in(search, data, lambda: chance.randrange(1, 40))


def test_short_pieces_are_searched_together(monkeypatch):
    """Each search looks again at as many bytes as a value has, which may be many."""
    searched = []
    monkeypatch.setattr(search_module, "_first", lambda _, data: searched.append(len(data)) or -1)
    value = os.urandom(1 << 16)
    finder = Search(Secrets({"x": value})).finder()
    for _ in range(1000):
        finder.feed(bytes(10))
    assert finder.found() == {} and searched == [10_000]


@pytest.mark.slow
def test_a_large_value_is_found(project):
    value = os.urandom(500 << 10)
    (project.top / "f").write_bytes(bytes(300 << 10) + wrapped(value, 76) + bytes(300 << 10))
    assert "/f in the layer" in str(failed(project, scratch("COPY f /f"), value))


@pytest.mark.slow
def test_random_data_has_no_value():
    search = Search(Secrets({"x": b"abcdef", "y": b"hunter2", "z": VALUE}))
    data = base64.b64encode(random.Random(7).randbytes(3 << 20))
    assert found_in(search, data) == {}


def test_a_piece_of_a_value_is_no_value():
    """Such as the first line, which all keys have in common."""
    search = Search(Secrets({"x": PEM.encode()}))
    other = PEM.replace("0505", "0550").encode()
    for text in (other, base64.b64encode(other), wrapped(other, 64), PEM[:-15].encode()):
        assert search.find_in(text) == []
    assert search.find_in(wrapped(PEM.encode(), 64)) == ["x"]


@pytest.mark.parametrize(
    "recipe",
    [
        {"d/topsecret1234": "x"},
        {"d/topsecret1234/f": "x"},
        {"d/link": {"link": "/x/topsecret1234"}},
        {f"d/{'long' * 30}/topsecret1234": "x"},
    ],
)
def test_a_value_in_a_name_is_found_and_masked(project, recipe):
    project.put(recipe)
    error = failed(project, scratch("COPY d /d"), b"topsecret1234")
    assert "secret token is in the image: /d/" in str(error)
    assert "topsecret1234" not in f"{error}{error.hint}"


def test_a_value_in_the_line_itself_is_masked(project):
    project.put({"f": "x"})
    error = failed(project, scratch("COPY f /topsecret1234"), b"topsecret1234")
    assert error.excerpt == ("COPY f /***",)


def test_the_path_is_that_of_the_file_of_several(project):
    project.put({"d/a": "x" * 600, "d/b": "", "d/c": "a topsecret1234", "d/e": "x", "d/sub/f": "x"})
    assert "/d/c in" in str(failed(project, scratch("COPY d /d"), b"topsecret1234"))


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("ENV A=topsecret1234", "config.Env[1]"),
        ("ENV A=dG9wc2VjcmV0MTIzNA==", "config.Env[1]"),
        ("LABEL a.b=xtopsecret1234x", "config.Labels.a.b"),
        ("LABEL topsecret1234=x", "config.Labels.***"),
        ("ARG A=topsecret1234", "history[0].created_by"),
        ('CMD ["topsecret1234"]', "config.Cmd[0]"),
        ("WORKDIR /topsecret1234", "/*** in the layer of [stage-0 1/1] WORKDIR /***"),
    ],
)
def test_a_value_in_the_configuration_is_found_and_masked(project, line, place):
    error = failed(project, scratch(line), b"topsecret1234")
    assert place in str(error) and "topsecret1234" not in f"{error}{error.hint}"


def test_a_value_in_an_annotation_or_an_argument_is_found(project):
    text = scratch("ARG A", "LABEL a=b")
    more = {"annotations": {"a": "topsecret1234"}}
    assert "annotations.a" in str(failed(project, text, b"topsecret1234", **more))
    more = {"build_args": {"A": "topsecret1234"}}
    assert "history[0].created_by" in str(failed(project, text, b"topsecret1234", **more))


def test_all_that_is_found_is_named_the_first_as_the_error(project):
    project.put({"a": "topsecret1234", "b": "topsecret1234 second5678"})
    text = scratch("COPY a /a", "COPY b /b", "ENV A=second5678")
    shown = []

    class Sink:
        def emit(self, event) -> None:
            shown.append(getattr(event, "text", ""))

    from ocitool import BuildOptions, build

    options = BuildOptions(
        context=project.top, dockerfile=text, secrets={"x": "topsecret1234", "y": "second5678"}
    )
    with pytest.raises(BuildError, match=r"^Dockerfile:2: secret x .* /a in"):
        build(options, store=project.store, progress=Sink())
    assert [text.partition(" is in")[0] for text in shown if "secret" in text] == [
        "Dockerfile:3: secret x", "Dockerfile:3: secret y", "secret y", "secret y",
    ]  # fmt: skip


def test_a_step_that_is_cached_is_searched_and_the_secret_is_no_part_of_its_key(project):
    project.put({"a": "topsecret1234"})
    text = scratch("COPY a /a")
    assert project.build(text).executed == ["COPY a /a"]
    assert project.build(text, secrets={"x": b"another value"}).executed == []
    assert "/a in the layer" in str(failed_with_image(project, text))


def test_a_step_that_wrote_a_secret_is_no_cache_hit_of_a_build_without_it(project):
    """Its key has no secrets: a build that is given none would have the value, and no search."""
    project.put({"a": "topsecret1234", "b": "x"})
    text = scratch("COPY b /b", "COPY a /a")
    assert "/a in the layer" in str(failed_with_image(project, text))
    assert project.build(text).executed == ["COPY a /a"]


def failed_with_image(project: BuildFixture, text: str) -> BuildError:
    with pytest.raises(BuildError) as caught:
        project.build(text, secrets={"x": b"topsecret1234"})
    return caught.value


@pytest.mark.slow
def test_what_the_base_image_has_is_its_own(project):
    project.image("base:1", {"f": "topsecret1234"}, config={"Env": ["A=topsecret1234"]})
    built = project.build("FROM base:1\nLABEL a=b", secrets={"x": b"topsecret1234"})
    assert built.config["Env"][0] == "A=topsecret1234" and built.warnings == ()


def test_a_stage_that_the_image_does_not_have_is_a_warning(project):
    project.put({"a": "topsecret1234", "b": "x"})
    text = "FROM scratch AS first\nCOPY a b /d/\nFROM scratch\nCOPY --from=first /d/b /b"
    built = project.build(text, "app:1", secrets={"x": b"topsecret1234"})
    (warning,) = built.warnings
    assert warning == (
        "Dockerfile:2: secret x is in the build cache, not in the image: /d/a in the layer of "
        "[first 1/1] COPY a b /d/"
    )


def test_it_can_be_turned_off(project):
    project.put({"a": "topsecret1234"})
    more = {"secrets": {"x": b"topsecret1234"}, "secret_scan": False}
    assert project.build(scratch("COPY a /a", "ENV A=topsecret1234"), **more).warnings == ()


@pytest.mark.slow
@pytest.mark.parametrize("value", [b"abc", b" abc\n", b"n"])
def test_a_short_value_is_not_searched_for_with_a_warning(project, value):
    project.put({"a": "abc n"})
    built = project.build(scratch("COPY a /a"), secrets={"x": value, "y": b"another value"})
    assert built.warnings == ("secret x is too short to be searched for in the image",)


def test_four_bytes_are_searched_for_as_they_are(project):
    project.put({"a": "abcd"})
    failed(project, scratch("COPY a /a"), b"abcd")
    assert [form.text for form in forms_of(b"abcd")] == [b"61626364", b"abcd"]


def zipped(*contents: bytes, method: int = zipfile.ZIP_DEFLATED, seekable: bool = True) -> bytes:
    """An archive; one that is not *seekable* has the sizes of its members behind them."""
    out = io.BytesIO()
    target = out if seekable else Unseekable(out)
    with zipfile.ZipFile(target, "w", method) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"f{number}", content)
    return out.getvalue()


class Unseekable:
    """A file as a pipe is one."""

    def __init__(self, file: io.BytesIO) -> None:
        self.write, self.flush = file.write, file.flush


SECRET = b"topsecret1234"
#: Half of it is left when it is compressed: nothing stays as it is, nor comes by one read.
NOISE = random.Random(3).randbytes(150_000).hex().encode()
INSIDE = NOISE + SECRET * 3 + NOISE
TAR = images.archive({"d/f": {"text": "x" * 9000 + SECRET.decode()}})
COMPRESSED = {
    "gzip": lambda: gzip.compress(INSIDE),
    "two members of gzip": lambda: gzip.compress(NOISE) + gzip.compress(SECRET * 9),
    "tar.gz": lambda: gzip.compress(TAR),
    "base64 in gzip": lambda: gzip.compress(wrapped(b"x" * 50 + SECRET * 4, 76)),
    "bzip2": lambda: bz2.compress(INSIDE),
    "xz": lambda: lzma.compress(INSIDE),
    "two streams of xz": lambda: lzma.compress(NOISE) + bytes(8) + lzma.compress(SECRET * 9),
    "zstd": lambda: zstandard.compress(INSIDE),
    "zip": lambda: zipped(NOISE, b"x" * 500, INSIDE),
    "zip from a pipe": lambda: zipped(NOISE, b"x" * 500, INSIDE, seekable=False),
    "zip in a zip that only stores": lambda: zipped(
        NOISE, zipped(INSIDE), method=zipfile.ZIP_STORED
    ),
    "gzip that is cut off": lambda: gzip.compress(INSIDE)[:-50_000],
    "zip that is cut off": lambda: zipped(SECRET * 9 + NOISE)[:-100_000],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPRESSED)
def test_what_is_compressed_is_searched(project, name):
    """In one layer with files before and behind it; the path is that of the compressed file."""
    project.put({"d/a": "x" * 5000, "d/z": "last"})
    content = COMPRESSED[name]()
    assert SECRET not in content
    (project.top / "d/f").write_bytes(content)
    error = failed(project, scratch("COPY d /d"), SECRET)
    assert "secret token is in the image: /d/f (decompressed) in the layer of" in str(error)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(gzip.compress(SECRET * 9)),  # as docs/security.md says
        b"BZh" + NOISE,
        b"\x1f\x8b" + NOISE,
        b"PK\3\4" + NOISE,
        b"PK\3\4xx",
        b"\xfd7zXZ\0" + NOISE[:90],
        b"\x28\xb5\x2f\xfd" + NOISE,
        zipped(b""),
        gzip.compress(NOISE)[:50],
    ],
    ids=lambda content: content[:4].hex() + str(len(content)),
)
def test_what_cannot_be_decompressed_is_no_fault(project, content):
    (project.top / "f").write_bytes(content)
    built = project.build(scratch("COPY f /"), secrets={"x": SECRET})
    assert built.names() == ["f"] and built.warnings == ()


def test_a_value_as_it_is_is_found_behind_compressed_files(project):
    project.put({"d/z": f"a {SECRET.decode()}"})
    (project.top / "d/f").write_bytes(gzip.compress(NOISE)[:-50_000])
    (project.top / "d/g").write_bytes(zipped(b"nothing"))
    assert "/d/z in the layer" in str(failed(project, scratch("COPY d /d"), SECRET))


@pytest.mark.slow
@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress, zipped]
)
def test_archives_of_zeros_are_not_searched_to_their_end(project, monkeypatch, pack):
    """What several of them are decompressed to is bounded, and what is in memory of them."""
    monkeypatch.setattr(compressed_members, "_FREE", 1 << 18)
    for name in "abc":
        (project.top / name).write_bytes(pack(bytes(4 << 20)))
    tracemalloc.start()
    built = project.build(scratch("COPY a b c /d/"), secrets={"x": SECRET})
    assert tracemalloc.get_traced_memory()[1] < 14 << 20
    tracemalloc.stop()
    (warning,) = built.warnings
    assert warning.startswith("/d/a decompresses to too much data")


def test_an_archive_that_is_unpacked_is_searched(project):
    (project.top / "a.tar").write_bytes(images.archive({"f": "topsecret1234"}))
    assert "/d/f in" in str(failed(project, scratch("ADD a.tar /d/"), b"topsecret1234"))
