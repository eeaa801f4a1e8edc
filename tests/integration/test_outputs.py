"""What `build --output` prints, where, and with which exit code; and disks that are full."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile

import pytest

from tests.fixtures.disks import disk
from tests.fixtures.programs import python_environment
from tests.fixtures.servers import served


@pytest.fixture
def context(tmp_path):
    top = tmp_path / "context"
    top.mkdir()
    (top / "Dockerfile").write_text("FROM scratch\nCOPY f /d/\nCOPY big /\nCMD /d/f\n")
    (top / "f").write_text("content\n")
    (top / "big").write_bytes(os.urandom(1 << 20))
    return top


def command(root, *words):
    """Run the program as it is, with its standard output as bytes."""
    line = [sys.executable, "-m", "ocitool", "--root", root, "build", *words]
    return subprocess.run(line, capture_output=True, env=python_environment())


def test_standard_output_has_the_archive_and_nothing_else(store_root, context):
    for words, name in ((("-o", "-"), "d/f"), (("-o", "type=oci", "-t", "a"), "oci-layout"),
                        (("-o", "type=docker,dest=-", "-q"), "manifest.json")):  # fmt: skip
        done = command(store_root, *words, context)
        assert done.returncode == 0, done.stderr
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            assert name in tar.getnames()
        # Whole blocks, and nothing behind the end.
        assert len(done.stdout) % 512 == 0 and not done.stdout[-1024:].strip(b"\0")
        assert (b"Image sha256:" in done.stderr) == ("-o type=oci" in " ".join(words))
    assert done.stderr == b""


def test_a_build_that_is_cached_has_nothing_to_do_but_to_write(run_cli, store_root, context):
    run_cli("build", context, root=store_root).ok()
    again = run_cli("build", context, root=store_root).ok()
    assert again.stdout.startswith("Nothing to do: all 2 steps were cached.\nImage ")
    written = run_cli("build", "-o", "out", context, root=store_root, cwd=context.parent).ok()
    assert written.stdout == "All 2 steps were cached.\nWrote out\n"


def test_a_terminal_gets_no_archive(store_root, context, screen):
    line = [sys.executable, "-m", "ocitool", "--root", store_root, "build", "-o", "-", context]
    done = subprocess.run(
        line, stdout=screen.inner, stderr=subprocess.PIPE, text=True, env=python_environment()
    )
    assert done.returncode == 2 and not screen.read()
    assert "--output -: cannot write an archive to a terminal: add dest=FILE" in done.stderr


def test_what_is_printed_of_several_outputs(run_cli, store_root, context, tmp_path):
    with served(tmp_path / "served") as (_, address):
        words = ("-t", f"{address}/a:1", "-o", "type=registry", "-o", f"type=tar,dest={tmp_path}/t",
                 "-o", tmp_path / "out", "--metadata-file", tmp_path / "m", "--iidfile",
                 tmp_path / "i")  # fmt: skip
        done = run_cli("build", *words, context, root=store_root).ok()
    lines = done.stdout.splitlines()
    assert lines[2:] == [
        f"Tagged {address}/a:1",
        f"Pushed {address}/a:1",
        f"Wrote {tmp_path}/t",
        f"Wrote {tmp_path}/out",
    ]
    metadata = json.loads((tmp_path / "m").read_text())
    assert lines[:2] == [
        f"Image {metadata['containerimage.config.digest']}",
        f"Digest {metadata['containerimage.digest']}",
    ]
    assert (tmp_path / "i").read_text() == metadata["containerimage.config.digest"]
    assert metadata["image.name"] == f"{address}/a:1"
    assert metadata["buildx.build.ref"].count("/") == 2


def test_files_alone_have_no_digest_of_an_image(run_cli, store_root, context, tmp_path):
    words = ("-t", "a:1", "-o", tmp_path / "out", "--metadata-file", tmp_path / "m")
    done = run_cli("build", *words, context, root=store_root).ok()
    assert done.stdout == f"Wrote {tmp_path}/out\n"
    assert json.loads((tmp_path / "m").read_text()).keys() == {"buildx.build.ref"}
    assert run_cli("images", "-q", root=store_root).ok().stdout == ""
    quiet = run_cli("build", "-q", "-o", tmp_path / "out", context, root=store_root).ok()
    assert quiet.stdout.startswith("sha256:") and quiet.stderr == ""


def test_what_an_output_that_fails_leaves(run_cli, store_root, context, tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l/mine").touch()
    words = ("-o", f"type=oci,tar=false,dest={tmp_path}/l", "-o", "type=registry", "-t",
             "127.0.0.1:1/a:1", "-o", tmp_path / "out", "--iidfile", tmp_path / "i",
             "--metadata-file", tmp_path / "m")  # fmt: skip
    (tmp_path / "i").write_text("of another build")
    done = run_cli("build", *words, context, root=store_root)
    assert done.code == 1
    assert done.stdout.splitlines()[2:] == ["Tagged 127.0.0.1:1/a:1", f"Wrote {tmp_path}/out"]
    assert "Error: " + str(tmp_path / "l") in done.stderr
    assert "Error: pushing 127.0.0.1:1/a:1: " in done.stderr
    assert not (tmp_path / "i").exists() and not (tmp_path / "m").exists()
    assert os.listdir(tmp_path / "l") == ["mine"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-o", "type=imag"), 2, "unknown output type 'imag' (did you mean image?)"),
        (("-o", "type=oci,dst=x"), 2, "unknown attribute 'dst' for output type oci (did you mean"),
        (("-o", "type=local"), 2, "dest is required for local output (add dest=DIR)"),
        (("-o", "a,b"), 2, "invalid field 'a': it must be a key=value pair"),
        (("-o", "f"), 1, "--output f: destination directory f is a file"),
        (
            ("-o", "type=tar,dest=."),
            1,
            "--output type=tar,dest=.: destination file . is a directory",
        ),
        (("-o", "type=tar,dest=no/x"), 1, "cannot write no/x: there is no directory"),
        (("-o", "type=registry"), 1, "--output type=registry: a name is needed to push the image"),
        (
            ("--format", "docker", "--annotation", "a=b"),
            1,
            "docker's media types do not support annotations",
        ),
        (("--compression-format", "zst"), 1, "unsupported compression 'zst'"),
        (("--timestamp", "1", "--source-date-epoch", "1"), 2, "are mutually exclusive"),
        (("--annotation", "index:a=b"), 2, "index annotations are not supported for a single"),
    ],
)
def test_mistakes(run_cli, store_root, context, words, code, said):
    before = sorted(os.listdir(context))
    done = run_cli("build", *words, ".", root=store_root, cwd=context)
    assert done.code == code and said in done.stderr
    assert "#1" not in done.stderr  # nothing was built
    assert sorted(os.listdir(context)) == before


def test_a_pipe_that_is_closed(store_root, context):
    line = [
        sys.executable,
        "-m",
        "ocitool",
        "--root",
        store_root,
        "build",
        "-q",
        "-o",
        "-",
        context,
    ]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=python_environment()
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


@pytest.fixture(scope="module")
def full(session_tree):
    """A file system with less than a megabyte."""
    with disk(session_tree, "ext4", "-m", "0") as top:
        state = os.statvfs(top)
        free = state.f_bavail * state.f_frsize - (600 << 10)
        with open(top / "filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free)
        yield top


@pytest.mark.parametrize(
    "output", ["DIR", "DIR/new/deep", "type=tar,dest=DIR/x", "type=oci,dest=DIR/x",
               "type=oci,tar=false,dest=DIR/l"],
)  # fmt: skip
def test_a_full_disk(run_cli, store_root, context, full, output):
    before = sorted(os.listdir(full))
    done = run_cli("build", "-o", output.replace("DIR", str(full)), context, root=store_root)
    assert done.code == 1 and "No space left on device" in done.stderr
    assert "system prune" not in done.stderr  # which does not help for another disk
    assert sorted(os.listdir(full)) == before


@pytest.mark.slow
@pytest.mark.parametrize("who", ["ordinary_user", "rangeless_user"])
def test_an_ordinary_user_exports_what_it_may(run_cli, request, who, context, tmp_path):
    """Archives are root's, byte by byte; also those of a user with a single ID."""
    user = request.getfixturevalue(who)
    user.home.joinpath("c").mkdir(exist_ok=True)
    for name in ("Dockerfile", "f", "big"):
        (user.home / "c" / name).write_bytes((context / name).read_bytes())
    home = user.home
    tars = ("-o", f"type=tar,dest={home}/t.tar", "-o", f"type=oci,dest={home}/o.tar")
    words = ("build", "--source-date-epoch", "5", "-o", home / "out", *tars, home / "c")
    run_cli(*words, user=user, root=home / "store").ok()
    state = (home / "out/d/f").stat()
    assert (state.st_uid, state.st_mtime) == (user.uid, 5)
    mine = ("build", "--source-date-epoch", "5", "-o", f"type=tar,dest={tmp_path}/t.tar", "-o",
            f"type=oci,dest={tmp_path}/o.tar", context)  # fmt: skip
    run_cli(*mine, root=tmp_path / "store").ok()
    for name in ("t.tar", "o.tar"):
        assert (tmp_path / name).read_bytes() == (home / name).read_bytes()
    refused = run_cli("build", "-o", "/out", home / "c", user=user, root=home / "store")
    assert refused.code == 1 and "cannot write /out: this user may not write to /" in refused.stderr
