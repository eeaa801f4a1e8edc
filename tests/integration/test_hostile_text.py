"""An image, a registry and files full of control characters: none of it reaches the terminal."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from ocitool.oci.platform import this_platform
from tests.fixtures.hostile import HOSTILE, hostile_in

NAMED = "\x1b]0;title\x07\x9b31m\u202egnp.exe\u2028\u200b"  # what a file name can hold
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def described(kind, data, **more):
    return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layout(*, names, files=(NAMED,)):
    """Return an OCI layout in a tar: whatever in it can hold text holds hostile text."""
    layer = tar({f"{name}/{number}": b"x" for number, name in enumerate(files)})
    platform = this_platform()
    config = json.dumps(
        {
            "architecture": platform.architecture, "os": platform.os,
            "author": HOSTILE, "created": "2020-01-01T00:00:00Z",
            "config": {
                "Labels": {HOSTILE: HOSTILE, "plain": HOSTILE}, "Env": [f"A={NAMED}"],
                "Cmd": [f"/{NAMED}"], "User": "", "WorkingDir": "/",
            },
            "history": [{"created": "2020-01-01T00:00:00Z", "created_by": HOSTILE,
                         "comment": HOSTILE, "author": HOSTILE}],
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    ).encode()  # fmt: skip
    manifest = json.dumps(
        {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": described(CONFIG, config),
            "layers": [described(LAYER, layer)], "annotations": {HOSTILE: HOSTILE},
        }
    ).encode()  # fmt: skip
    entries = [
        described(MANIFEST, manifest, annotations={"org.opencontainers.image.ref.name": name})
        for name in names
    ]
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    for blob in (layer, config, manifest):
        files[f"blobs/sha256/{digest(blob)[7:]}"] = blob
    return tar(files)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "hostile.tar"
    path.write_bytes(layout(names=["docker.io/library/hostile:1"]))
    return path


@pytest.fixture
def safe(run_cli, store_root, tmp_path):
    """Run commands, all of whose output must be safe; returns what was printed."""

    def run(*words, code=0, env=None):
        done = run_cli(*words, root=store_root, env={"HOME": str(tmp_path), **(env or {})})
        assert hostile_in(done.stdout + done.stderr) == set(), words
        assert "Traceback" not in done.stderr, done
        assert code is None or done.code == code, done
        return done.stdout + done.stderr

    return run


def test_every_verb_that_shows_an_image(safe, archive, store_root):
    assert "Loaded image: hostile:1\n" in safe("load", "-i", archive)
    safe("images", "--no-trunc", "--digests")
    assert "\\u009b" in safe("inspect", "hostile:1")
    for format in ("{{.Config.Labels}}", "{{json .Config}}", "json", "{{.Author}}"):
        assert "\\u202e" in safe("inspect", "--format", format, "hostile:1")
    assert json.loads(safe("inspect", "hostile:1"))[0]["Config"]["Labels"]["plain"].startswith(
        HOSTILE[:100]
    )
    assert "\\u009b" in safe("history", "--no-trunc", "hostile:1")
    for format in ("json", "{{.CreatedBy}}", "table {{.Comment}}"):
        safe("history", "--no-trunc", "--format", format, "hostile:1")
    assert "\\u202e" in safe("run", "--rm", "hostile:1", code=None)  # there is no such program
    safe("system", "df", "-v")
    safe("tag", "hostile:1", NAMED, code=1)
    safe("rmi", NAMED, code=1)
    (store_root / "tmp" / NAMED).mkdir()
    (store_root / "oci/blobs/sha256" / NAMED).touch()
    safe("system", "check", code=None)
    safe("rmi", "hostile:1")


@pytest.mark.parametrize("name", [HOSTILE, NAMED, f"a:{NAMED}", f"x\nhint: {NAMED}", "\x9b"])
def test_a_layout_with_hostile_names(safe, tmp_path, name):
    path = tmp_path / "named.tar"
    path.write_bytes(layout(names=[name]))
    safe("load", "-i", path, code=None)
    safe("load", "-q", "-i", path, code=None)
    safe("images")
    safe("images", "--format", "json")
    safe("system", "df", "-v")
    safe("system", "check", code=None)
    safe("rmi", name.replace("\0", "")[:50].encode("utf-8", "replace").decode(), code=None)


def test_a_store_whose_index_another_tool_wrote(safe, archive, store_root):
    safe("load", "-i", archive)
    path = store_root / "oci/index.json"
    index = json.loads(path.read_text())
    for entry in index["manifests"]:
        entry["annotations"] = {"org.opencontainers.image.ref.name": HOSTILE}
    path.write_text(json.dumps(index))
    for words in (
        ("images",),
        ("images", "-q"),
        ("images", "--format", "json"),
        ("images", "--format", "{{.Repository}} {{.Tag}}"),
        ("inspect", index["manifests"][0]["digest"]),
        ("system", "df", "-v"),
        ("system", "check"),
        ("system", "prune", "-a", "-f"),
    ):
        safe(*words, code=None)


@pytest.mark.parametrize("progress", ["plain", "json", "quiet", "auto"])
def test_a_build_of_hostile_files(safe, archive, tmp_path, progress):
    safe("load", "-i", archive)
    context = tmp_path / "context"
    context.mkdir()
    (context / NAMED).write_text("x")
    os.symlink("/nowhere", context / f"{NAMED}2")
    dockerfile = context / "Dockerfile"
    for text, code in (
        (f'FROM hostile:1\nCOPY . /x\nLABEL x="{NAMED}"\n', 0),
        (f"FROM hostile:1\nCOPY missing{NAMED} /x\n", 1),
        (f"FROM hostile:1\nRU{NAMED} x\n", 1),
        (f"FROM {NAMED}\n", 1),
        (f"FROM hostile:1 AS {NAMED}\n", 1),
        (f"FROM hostile:1\nCOPY --from={NAMED} a /b\n", 1),
        (f"FROM hostile:1\nCOPY --chown={NAMED} . /b\n", 1),
        (f"FROM hostile:1\nRUN /{NAMED}\n", None),
        (f"FROM hostile:1\nENV A=${{x:{NAMED}}}\n", 1),
        (f"# syntax={NAMED}\n# escape={NAMED}\nFROM hostile:1\n", None),
    ):
        dockerfile.write_text(text)
        safe("build", "--no-cache", "--progress", progress, context, code=code)


class Quiet(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


@contextmanager
def registry(status, message):
    """Serve a registry that answers everything with an error."""

    def app(environ, start):
        text = json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode()
        kind = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
        start(status, kind)
        return [text]

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "status",
    [
        "404 Not Found",
        pytest.param("403 Forbidden", marks=pytest.mark.campaign),
        pytest.param("400 Bad Request", marks=pytest.mark.campaign),
    ],
)
def test_the_messages_of_a_registry(safe, archive, status):
    safe("load", "-i", archive)
    with registry(status, f"\n{HOSTILE}\nhint: run this") as address:
        text = safe("pull", f"{address}/x:1", code=1)
        text += safe("push", "hostile:1", f"{address}/x:1", code=1)
    assert "\nhint: run this" not in text


def test_a_megabyte_from_outside_is_shortened(safe, archive, tmp_path):
    long = "x" * (1 << 20)
    safe("load", "-i", archive)
    context = tmp_path / "context"
    context.mkdir()
    said = []
    for text in (
        f"FROM hostile:1\n{long} a\n",
        f"FROM hostile:1\nCOPY {long} /x\n",
        f"FROM hostile:1\nENV {long}\n",
        f"FROM {long}\n",
        f"FROM hostile:1\nCOPY --from={long} a /b\n",
        f"FROM hostile:1\nUSER {long}\nWORKDIR relative\nCOPY --chown={long} Dockerfile /b\n",
    ):
        (context / "Dockerfile").write_text(text)
        said.append(safe("build", "--progress", "quiet", context, code=1))
    with registry("403 Forbidden", long) as address:
        said.append(safe("pull", "-q", f"{address}/x:1", code=1))
    path = tmp_path / "named.tar"
    path.write_bytes(layout(names=[long]))
    said.append(safe("load", "-i", path))
    assert all(len(text) < 4096 for text in said), [len(text) for text in said]
