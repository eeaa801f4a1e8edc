"""Names, IDs and histories as the docker engine has them, for the same images."""

from __future__ import annotations

import json
import os

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import file
from ocitool.image.archive.save import NamedImage, save
from ocitool.oci.config import History
from tests.fixtures.stores import put_image

REPOSITORY = f"ocitool-ids-{os.getpid()}"
NAMES = (f"{REPOSITORY}:1", f"{REPOSITORY}:2", f"{REPOSITORY}-other:1")


def same_in_every_process(value):
    """Return the ID of a parameter."""
    return (value if isinstance(value, str) else " ".join(value)).replace(REPOSITORY, "ids")


@pytest.fixture
def image(docker, store_root):
    """An image without a name, in our store and in docker's; its content is this test's own."""
    with Store.open(str(store_root)) as store:
        made = put_image(store, "", [file("f", os.urandom(20).hex().encode())])
        archive = store_root / "image.tar"
        with open(archive, "wb") as out:
            save([NamedImage(made, "")], out.write)
        docker("load", "-q", "-i", archive)
        yield made
        docker("rmi", "-f", str(made.id), check=False)


@pytest.fixture
def both(docker, run_cli, store_root, image):
    """Return a function that runs a command with docker and with us; ID stands for the image's."""

    def run(*words):
        given = [word.replace("ID", image.id.encoded) for word in words]
        theirs = docker(*given, check=False)
        ours = run_cli(*given, root=store_root)
        return (
            Answer(ours.code, ours.stdout, str(image.id)),
            Answer(theirs.returncode, theirs.stdout, str(image.id)),
        )

    return run


class Answer:
    """What a command said of removed names and of the image, whatever its other lines."""

    def __init__(self, code, output, image_id):
        lines = output.splitlines()
        self.code = code
        self.untagged = sorted(line for line in lines if line.startswith("Untagged: "))
        self.deleted = f"Deleted: {image_id}" in lines
        self.output = output

    def said(self):
        return self.code, self.untagged, self.deleted


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (NAMES, ("rmi", NAMES[0])),
        (NAMES[:2], ("rmi", "ID")),
        (NAMES[::2], ("rmi", "ID")),
        (NAMES, ("rmi", "-f", "ID")),
        (NAMES, ("rmi", "-f", NAMES[0])),
        (NAMES, ("rmi", *NAMES)),
        (NAMES[:1], ("rmi", NAMES[0])),
        (NAMES[:1], ("rmi", "ID")),
        (NAMES[:1], ("rmi", "sha256:ID")),
        ((), ("rmi", "ID")),
        ((), ("rmi", f"{REPOSITORY}:none")),
        ((), ("rmi", "sha256:" + "0" * 64)),
        ((), ("rmi", "UPPER")),
    ],
    ids=same_in_every_process,
)
def test_rmi_removes_what_dockers_does(both, tags, words):
    for name in tags:
        ours, theirs = both("tag", "ID", name)
        assert ours.code == theirs.code == 0
    ours, theirs = both(*words)
    assert ours.said() == theirs.said()


@pytest.mark.parametrize("length", [3, 12, 63, 64])
@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_the_beginning_of_an_id_is_the_image(both, image, prefix, length):
    word = prefix + image.id.encoded[:length]
    ours, theirs = both("image", "inspect", "-f", "{{.Id}}", word)
    assert ours.output == theirs.output == f"{image.id}\n"


DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "name",
    [f"{REPOSITORY}@{DIGEST}", f"{REPOSITORY}:1@{DIGEST}", "sha256:12", "sha256", "http://host/x"],
    ids=same_in_every_process,
)
@pytest.mark.parametrize("words", [("tag", "ID", "NAME"), ("import", "EMPTY", "NAME")])
def test_what_cannot_be_a_new_name(both, docker, tmp_path, words, name):
    (tmp_path / "empty.tar").write_bytes(bytes(1024))
    given = {"NAME": name, "EMPTY": str(tmp_path / "empty.tar")}
    ours, theirs = both(*(given.get(word, word) for word in words))
    assert (ours.code, theirs.code) == (1, 1)


def test_what_was_saved_by_digest_is_loaded_by_docker(docker, run_cli, store_root, image, tmp_path):
    name = f"localhost:1/app@{image.digest}"
    with Store.open(str(store_root)) as store:
        store.refs.set(name, image.descriptor)
    run_cli("save", "-o", tmp_path / "saved.tar", name, root=store_root).ok()
    docker("rmi", str(image.id))
    done = docker("load", "-i", tmp_path / "saved.tar")
    assert f"Loaded image ID: {image.id}" in done.stdout
    again = run_cli("load", "-i", tmp_path / "saved.tar", root=tmp_path / "again").ok()
    assert again.stdout == f"Loaded image ID: {image.id}\n"


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_docker_loads_what_stands_on_a_base_of_any_history(
    docker, run_cli, store_root, tmp_path, count
):
    """Each of the two layers of the base keeps its size in the history, whatever their number."""
    name = f"{REPOSITORY}-history:{count}"
    with Store.open(str(store_root)) as store:
        put_image(
            store,
            "docker.io/library/base:1",
            [file("one", b"1" * 1000)],
            [file("two", os.urandom(50_000))],
            history=tuple(History(created_by=f"step {at}") for at in range(count)),
        )
    (tmp_path / "f").write_bytes(os.urandom(2000))
    (tmp_path / "Dockerfile").write_text("FROM base:1\nCOPY f /\n")
    run_cli("build", "-q", "-t", name, tmp_path, root=store_root).ok()
    run_cli("save", "-o", tmp_path / "saved.tar", name, root=store_root).ok()
    docker("load", "-q", "-i", tmp_path / "saved.tar")
    try:
        words = ("history", "--human=false", "--no-trunc", "--format")
        theirs = docker(*words, "{{.Size}} {{.CreatedBy}}", name).stdout.splitlines()
        listed = run_cli("history", "--no-trunc", "--format", "json", name, root=store_root).ok()
        ours = [json.loads(line) for line in listed.stdout.splitlines()]
    finally:
        docker("rmi", "-f", name, check=False)
    assert [line.partition(" ")[2] for line in theirs] == [row["CreatedBy"] for row in ours]
    assert [line.partition(" ")[0] for line in theirs if not line.startswith("0 ")] == [
        *("2000", "50000", "1000"),
    ]
    filled = [row["CreatedBy"] for row in ours if row["Size"] != "0B"]
    assert filled[0] == "COPY f /"
    assert len(filled) == 3
