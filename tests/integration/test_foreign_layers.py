"""Layers as other tools write them, in every verb that reads layers, with every driver of root."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

#: Members of a layer, in their order: a name, and a link's target or a file's text.
MEMBERS = (
    ("/", None), ("/opt", None), ("/opt/f", "absolute"), ("opt/../g", "clamped"),
    ("var", None), ("var/run", "-> /srv"), ("srv", None), ("var/run/pid", "through a link"),
    ("r", "-> /"), ("r/top", "at the top"), ("a", None), ("a/up", "-> ../../.."),
    ("a/up/high", "not above the top"),
)  # fmt: skip
FILES = {
    "/opt/f": "absolute", "/g": "clamped", "/srv/pid": "through a link", "/top": "at the top",
    "/high": "not above the top",
}  # fmt: skip
SHOW = f"cd / && cat {' '.join(FILES)}"
pytestmark = pytest.mark.usefixtures("root_only", "containers")


def layer():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, what in MEMBERS:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if what is None:
                info.type = tarfile.DIRTYPE
            elif what.startswith("-> "):
                info.type, info.linkname = tarfile.SYMTYPE, what[3:]
            else:
                info.size = len(what)
            tar.addfile(info, io.BytesIO((what or "").encode()))
    return out.getvalue()


@pytest.fixture
def archive(run_cli, tools_store, tmp_path):
    """A docker archive of an image with the tools below such a layer."""
    base = tmp_path / "base.tar"
    run_cli("export", "-o", base, "tools:1", root=tools_store).ok()
    layers = {"base/layer.tar": base.read_bytes(), "odd/layer.tar": layer()}
    diffs = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers.values()]
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": ["odd:1"], "Layers": [*layers]}]
    files = layers | {
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def shown(tar):
    """Return the files of `FILES` that an exported archive has."""
    with tarfile.open(fileobj=io.BytesIO(tar.read_bytes())) as found:
        return {name: found.extractfile(name[1:]).read().decode() for name in FILES}


@pytest.mark.parametrize("driver", ["erofs", "overlay", "vfs"])
def test_every_verb_reads_them(run_cli, archive, tmp_path, driver):
    def ocitool(*words):
        return run_cli("--driver", driver, *words, root=tmp_path / "store").ok().stdout

    ocitool("load", "-i", archive)
    assert ocitool("run", "--rm", "odd:1", "sh", "-c", SHOW) == "".join(FILES.values())
    ocitool("export", "-o", tmp_path / "export.tar", "odd:1")
    assert shown(tmp_path / "export.tar") == FILES

    (tmp_path / "odd.layer").write_bytes(layer())
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch AS added\nADD odd.layer /in/\n"
        f"FROM odd:1\nRUN {SHOW} > /seen\nCOPY --from=odd:1 /srv/pid /copied\n"
        "COPY --from=added /in/srv/pid /added\nCMD cat /seen /copied /added\n"
    )
    ocitool("build", "-q", "-t", "built:1", tmp_path)
    assert ocitool("run", "--rm", "built:1") == "".join(FILES.values()) + "through a link" * 2

    ocitool("import", tmp_path / "odd.layer", "imported:1")
    ocitool("export", "-o", tmp_path / "imported.tar", "imported:1")
    assert shown(tmp_path / "imported.tar") == FILES
    ocitool("system", "check")
