"""Builds by the command line: bad input, other users, several at once, ends before the end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.fixtures.programs import python_environment
from tests.fixtures.servers import PASSWORD, USER, protected_registry, served

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


@pytest.fixture
def context(session_tree, tmp_path_factory) -> Path:
    """A context that anyone may read."""
    top = session_tree / tmp_path_factory.mktemp("context").name
    top.mkdir(parents=True, exist_ok=True)
    top.chmod(0o755)
    (top / "f").write_text("1\n")
    (top / "d").mkdir(exist_ok=True)
    (top / "d/g").write_text("2\n")
    return top


# -- bad input -----------------------------------------------------------------------------

BAD = {
    "unknown instruction": ("FROM scratch\nCOPPY f /", "Dockerfile:2", "did you mean COPY"),
    "bad flag": ("FROM scratch\nCOPY --chwon=1 f /", "Dockerfile:2", "did you mean chown"),
    "unterminated heredoc": ("FROM scratch\nCOPY <<X /f\nnever ends\n", "Dockerfile:2", "heredoc"),
    "unterminated quote": ('FROM scratch\nENV A="x\n', "Dockerfile:2", "ENV A"),
    "unknown stage": ("FROM scratch\nCOPY --from=7 f /", "Dockerfile:2", "invalid stage index 7"),
    "cycle": ("FROM scratch AS a\nCOPY --from=a f /", "Dockerfile:2", "circular dependency"),
    "no such file": ("FROM scratch\nCOPY gone /", "Dockerfile:2", '"/gone": not found'),
    "registry down": ("FROM 127.0.0.1:1/x:1\nCOPY f /", "Dockerfile:1", "127.0.0.1:1"),
    "wrong name": ("FROM Not/A:Name:1", "Dockerfile:1", "FROM Not/A:Name:1"),
    "no stage": ("ENV A=1", "Dockerfile:1", "FROM"),
    "empty": ("# nothing\n", "Dockerfile", "no instructions"),
    "not supported": (
        "# syntax=example.com/other:1\nFROM scratch",
        "Dockerfile:1",
        "the frontend example.com/other:1 is not supported",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_tells_its_place(run_cli, store_root, context, case):
    text, place, message = BAD[case]
    (context / "Dockerfile").write_text(text)
    done = run_cli("build", "-t", "x/bad:1", ".", root=store_root, cwd=context)
    assert done.code == 1, str(done)
    assert f"{place}" in done.stderr and message in done.stderr, str(done)
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    _clean(run_cli, store_root)


def test_a_base_that_does_not_exist(run_cli, store_root, context, registry):
    (context / "Dockerfile").write_text(f"FROM {registry}/no/such:image\nCOPY f /\n")
    done = run_cli("build", ".", root=store_root, cwd=context)
    assert done.code == 1 and "Dockerfile:1" in done.stderr
    assert f"failed to resolve source metadata for {registry}/no/such:image: " in done.stderr
    _clean(run_cli, store_root)


def test_base_images_are_pulled_with_the_credentials_of_an_authfile(
    run_cli, store_root, context, tmp_path, free_port
):
    authfile = tmp_path / "auth.json"
    home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "", "DOCKER_CONFIG": ""}

    def build(root, *words):
        return run_cli("build", *words, ".", root=root, cwd=context, env=home)

    with protected_registry(tmp_path / "protected", free_port) as address:
        words = ("login", "-u", USER, "--password-stdin", "--authfile", authfile, address)
        run_cli(*words, root=store_root, env=home, stdin=PASSWORD).ok()
        name = f"{address}/base:1"
        (context / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
        build(store_root, "-t", name).ok()
        run_cli("push", "--authfile", authfile, name, root=store_root, env=home).ok()
        (context / "Dockerfile").write_text(f"FROM scratch\nCOPY --from={name} /f /g\n")
        (context / "On").write_text(f"FROM {name}\nCOPY f /g\n")
        for number, file in enumerate(("Dockerfile", "On")):
            root = tmp_path / f"other-{number}"
            refused = build(root, "-f", file)
            assert refused.code == 1 and f"{file}:" in refused.stderr and "401" in refused.stderr
            built = build(root, "--authfile", authfile, "-f", file).ok()
            assert "DONE" in built.stderr
        missing = build(tmp_path / "other-2", "--authfile", tmp_path / "none.json")
        assert missing.code == 2 and "none.json" in missing.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gone",), 'unable to prepare context: path "gone" not found'),
        (("f",), 'path "f" is neither a directory nor a tar archive'),
        (("d",), "failed to read dockerfile: open d/Dockerfile: no such file or directory"),
        (("-f", "gone", "."), "failed to read dockerfile: open gone: no such file or directory"),
        (("-f", "d", "."), "failed to read dockerfile: open d: Is a directory"),
        (("-t", "Bad Name", "."), "Bad Name"),
        (
            ("--build-arg", "SOURCE_DATE_EPOCH=soon", "-f", "-", "."),
            "invalid SOURCE_DATE_EPOCH 'soon'",
        ),
    ],
)
def test_what_cannot_begin(run_cli, store_root, context, words, message):
    done = run_cli("build", *words, root=store_root, cwd=context, stdin="FROM scratch\n")
    assert done.code == 1 and message in done.stderr, str(done)
    assert "Traceback" not in done.stderr and "hint: " in done.stderr


def test_an_unreadable_file(run_cli, ordinary_user, context):
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (context / "d/g").chmod(0)
    store = ordinary_user.home / "unreadable-store"
    done = run_cli("build", ".", root=store, cwd=context, user=ordinary_user)
    assert done.code == 1
    assert "Dockerfile:2" in done.stderr and "d/g: Permission denied" in done.stderr
    assert "hint: make it readable, or add it to .dockerignore" in done.stderr
    (context / "d/g").chmod(0o644)
    (context / ".dockerignore").write_text("f\n")
    (context / ".dockerignore").chmod(0)
    done = run_cli("build", ".", root=store, cwd=context, user=ordinary_user)
    assert (
        done.code == 1
        and "failed to read ignore file .dockerignore: Permission denied" in done.stderr
    )


def _clean(run_cli, root: Path) -> None:
    """Nothing is left of a build that failed."""
    assert "No problems found" in run_cli("system", "check", root=root).ok().stdout
    assert run_cli("images", "-q", root=root).ok().stdout == ""
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(root) not in mounts
    leases = root / "tmp"
    assert not leases.exists() or list(leases.iterdir()) == []


# -- what is printed -----------------------------------------------------------------------


def test_a_dockerfile_on_stdin_and_what_is_printed(run_cli, store_root, context, tmp_path):
    (context / "-.dockerignore").write_text("f\n")  # belongs to no Dockerfile
    text = "FROM scratch\nCOPY f \\\n  /x/\nENV A=$NONE\n"
    words = ("build", "-f", "-", "-t", "x/y:1", "--iidfile", tmp_path / "id", ".")
    first = run_cli(*words, root=store_root, cwd=context, stdin=text).ok()
    assert "#1 [stage-0 1/1] COPY f /x/\n#1 DONE" in first.stderr
    found = " 1 warning found (use --debug to expand):\n - UndefinedVar: Usage of undefined"
    assert f"\n{found} variable '$NONE' (Dockerfile:4)\n" in first.stderr
    identity = (tmp_path / "id").read_text()
    assert f"Image {identity}\n" in first.stdout and "Tagged" in first.stdout
    second = run_cli(*words, root=store_root, cwd=context, stdin=text).ok()
    assert (
        "#1 CACHED" in second.stderr and "Nothing to do: the only step was cached." in second.stdout
    )
    assert "Digest " in second.stdout and second.stdout.endswith(first.stdout)
    quiet = run_cli("build", "-q", "-f", "-", ".", root=store_root, cwd=context, stdin=text).ok()
    assert quiet.stdout == f"{identity}\n" and "#1" not in quiet.stderr


def test_labels_metadata_and_a_push(run_cli, store_root, context, tmp_path):
    (context / "Dockerfile").write_text("FROM scratch\nCOPY f /\nLABEL a=1\n")
    with served(tmp_path / "served") as (_, address):
        name = f"{address}/app:1"
        words = ("--label", "a=2", "--label=b", "--push", "--metadata-file", tmp_path / "metadata")
        done = run_cli("build", *words, "-t", name, root=store_root, cwd=context).ok()
        assert f"Tagged {name}\nPushed {name}\n" in done.stdout
        metadata = json.loads((tmp_path / "metadata").read_text())
        digest = run_cli("inspect", "-f", "{{.Digest}}", name, root=store_root).ok().stdout.strip()
        assert metadata["containerimage.digest"] == digest
        assert metadata["containerimage.descriptor"]["digest"] == digest
        assert f"Image {metadata['containerimage.config.digest']}\n" in done.stdout
        assert metadata["image.name"] == name
        run_cli("rmi", name, root=store_root).ok()
        run_cli("pull", f"{name}@{digest}", root=store_root).ok()
    labels = run_cli("inspect", "-f", "{{json .Config.Labels}}", digest, root=store_root)
    assert json.loads(labels.ok().stdout) == {"a": "2", "b": ""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--push", "--push requires --tag"),
        ("--pull=sometimes", "'sometimes' is not one of"),
        ("--platform=linux/amd64,linux/arm64", "building for several platforms is not supported"),
        ("--label==x", "invalid label '=x'"),
        ("--rm=false", "keeping intermediate containers is not supported"),
        ("--source-date-epoch=-1", "'-1' is not a number of seconds since 1970"),
        ("--source-date-epoch=253402300800", "before the year 10000"),
        ("--timestamp=never", "'never' is not a number of seconds since 1970"),
        ("--annotation==x", "invalid annotation '=x'"),
        ("--annotation=manifest:=x", "invalid annotation 'manifest:'"),
        ("--annotation=index:k=v", "--annotation index annotations are not supported for a single"),
        ("--annotation=manifest,index[linux/amd64]:k=v", "export: manifest,index[linux/amd64]:k"),
    ],
)
def test_options_of_a_build_that_cannot_be_followed(run_cli, words, said):
    done = run_cli("build", words, ".")
    assert (done.code, said in done.stderr) == (2, True)


def test_options_that_have_the_last_word(run_cli, store_root, context, tmp_path):
    (context / "Dockerfile").write_text("FROM scratch\nENV A=1 B=2 C=3\nLABEL a=1 b=2\nCOPY f /\n")
    words = (
        "--unsetenv", "A,B", "--unsetenv=PATH", "--unsetlabel", "b", "--omit-history",
        "--annotation", "a=1=2", "--annotation=manifest:b=:", "--annotation", "c:d", "-t", "x:1",
    )  # fmt: skip
    run_cli("build", *words, root=store_root, cwd=context).ok()
    shown = run_cli("inspect", "-f", "{{json .Config}}", "x:1", root=store_root).ok().stdout
    config = json.loads(shown)
    assert (config["Env"], config["Labels"]) == (["C=3"], {"a": "1"})
    run_cli("save", "-o", tmp_path / "x.tar", "x:1", root=store_root).ok()
    documents = [json.loads(text) for text in _documents(tmp_path / "x.tar")]
    manifest = next(each for each in documents if "layers" in each)
    assert manifest["annotations"] == {"a": "1=2", "b": ":", "c:d": ""}
    assert next(each for each in documents if "rootfs" in each)["history"] == []


@pytest.mark.parametrize(
    ("words", "variable", "year"),
    [
        (("--source-date-epoch", "0"), "", "1970"),
        (("--source-date-epoch=0",), "1700000000", "1970"),
        (("--source-date-epoch=0",), "soon", "1970"),  # which nothing needs to read
        (("--source-date-epoch=0", "--build-arg=SOURCE_DATE_EPOCH=1700000000"), "", "1970"),
        (("--source-date-epoch=",), "1700000000", "2023"),
    ],
)
def test_the_option_of_the_epoch_wins(
    run_cli, store_root, context, tmp_path, words, variable, year
):
    text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nENV E=$SOURCE_DATE_EPOCH\nCOPY f /\n"
    (context / "Dockerfile").write_text(text)
    env = {"SOURCE_DATE_EPOCH": variable}
    run_cli("build", *words, "-t", "x:1", root=store_root, cwd=context, env=env).ok()
    run_cli("save", "-o", tmp_path / "x.tar", "x:1", root=store_root).ok()
    documents = [json.loads(each) for each in _documents(tmp_path / "x.tar")]
    config = next(each for each in documents if "rootfs" in each)
    times = [config["created"], *(entry["created"] for entry in config["history"])]
    assert {time[:4] for time in times} == {year}
    assert ("E=0" in config["config"]["Env"]) == (year == "1970")
    run_cli("export", "-o", tmp_path / "f.tar", "x:1", root=store_root).ok()
    with tarfile.open(tmp_path / "f.tar") as tar:
        assert tar.getmember("f").mtime == (0 if year == "1970" else 1_700_000_000)


def _documents(archive: Path) -> list[bytes]:
    """Return the JSON documents among the blobs of an archive."""
    with tarfile.open(archive) as tar:
        blobs = [tar.extractfile(each) for each in tar if each.isfile() and "blobs" in each.name]
        texts = [blob.read() for blob in blobs if blob is not None]
    return [text for text in texts if text.startswith(b"{")]


def test_after_a_failure_there_is_no_id_of_another_build(run_cli, store_root, context, tmp_path):
    (tmp_path / "id").write_text("sha256:old")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY none /\n")
    words = ("--rm", "--pull=missing", "--iidfile", tmp_path / "id")
    assert run_cli("build", *words, root=store_root, cwd=context).code == 1
    assert not (tmp_path / "id").exists()
    (context / "Dockerfile").write_text("FROM scratch\n")
    done = run_cli("build", "--iidfile", tmp_path, root=store_root, cwd=context)
    assert (done.code, f"--iidfile {tmp_path}: it is a directory" in done.stderr) == (1, True)


# -- other users ---------------------------------------------------------------------------


def test_without_any_sandbox(run_cli, rangeless_user, context, registry):
    """A Dockerfile without RUN builds, is pushed, and has the digest that root's has."""
    (context / "Dockerfile").write_text("FROM scratch\nWORKDIR /w\nCOPY --chown=5:6 . .\nCMD x\n")
    name = f"{registry}/stranger-{secrets.token_hex(4)}:1"
    stranger = rangeless_user
    store = stranger.home / "plain-store"
    theirs = run_cli("build", "-t", name, context, root=store, user=stranger, env=EPOCH).ok()
    run_cli("push", "--tls-verify=false", name, root=store, user=stranger).ok()
    assert list((store / "drivers").iterdir()) == []  # no driver was even asked
    with contextlib.ExitStack() as stack:
        own = stranger.home.parent / "plain-roots"
        stack.callback(run_cli, "system", "prune", "-a", "-f", root=own)
        ours = run_cli("build", "-t", name, context, root=own, env=EPOCH).ok()
    assert ours.stdout == theirs.stdout


# -- several at once, and ends before the end ----------------------------------------------


def _spawn(store: Path, context: Path) -> subprocess.Popen[str]:
    words = (
        "-m",
        "ocitool",
        "--root",
        str(store),
        "build",
        "-q",
        "--progress",
        "plain",
        str(context),
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    env = python_environment(EPOCH)
    return subprocess.Popen([sys.executable, *words], env=env, stdin=subprocess.DEVNULL, **pipes)


def test_two_builds_at_once_do_a_step_once(tools_store, containers, context, run_cli):
    (context / "Dockerfile").write_text(
        "FROM tools:1\n"
        "RUN sleep 1; cat /proc/sys/kernel/random/uuid > /once\n"
        "RUN cat /once > /twice\n"
    )
    both = [_spawn(tools_store, context) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0] != ""


def test_a_killed_build_leaves_what_was_finished(tools_store, containers, context, run_cli):
    (context / "Dockerfile").write_text(
        f"FROM tools:1\nRUN echo {os.getpid()} > /finished\nRUN echo here; sleep 1000\n"
    )
    words = [sys.executable, "-m", "ocitool", "--root", str(tools_store), "build", str(context)]
    process = subprocess.Popen(
        words,
        env=python_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.endswith(" here\n"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    deadline = time.monotonic() + 60
    while _sleepers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _sleepers() == []
    (context / "Dockerfile").write_text(f"FROM tools:1\nRUN echo {os.getpid()} > /finished\n")
    again = run_cli("build", context, root=tools_store).ok()
    assert "Nothing to do" in again.stdout
    assert "No problems found" in run_cli("system", "check", root=tools_store).ok().stdout
    assert str(tools_store) not in Path("/proc/self/mountinfo").read_text()


def _sleepers() -> list[str]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
                if words[:2] == [b"sleep", b"1000"] and _env_has(entry.path, b"FROM=image"):
                    found.append(entry.name)
    return found


def _env_has(process: str, entry: bytes) -> bool:
    return entry in Path(process, "environ").read_bytes().split(b"\0")


def test_a_failing_step_passes_its_code_on(tools_store, containers, context, run_cli):
    (context / "Dockerfile").write_text("FROM tools:1\nRUN echo out; \\\n  echo err >&2; exit 7\n")
    done = run_cli("build", ".", root=tools_store, cwd=context)
    assert done.code == 7
    tail = done.stderr[done.stderr.index("Error: ") :]
    assert "Dockerfile:2" in tail and "exit code: 7" in tail
    assert "2 | >>> RUN echo out; \\\n   3 | >>>   echo err >&2; exit 7\n" in tail
    assert "\nout\nerr\n" in tail
    assert "No problems found" in run_cli("system", "check", root=tools_store).ok().stdout


def test_an_entrypoint_of_one_empty_word_is_none(run_cli, tools_store, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        'FROM tools:1\nENTRYPOINT [""]\nCMD ["sh", "-c", "echo the command"]\n'
    )
    run_cli("build", "-t", "empty:1", tmp_path, root=tools_store).ok()
    assert run_cli("run", "--rm", "empty:1", root=tools_store).ok().stdout == "the command\n"
    given = run_cli("run", "--rm", "empty:1", "sh", "-c", "echo given", root=tools_store)
    assert given.ok().stdout == "given\n"
    config = json.loads(run_cli("inspect", "empty:1", root=tools_store).ok().stdout)[0]["Config"]
    assert config["Entrypoint"] == [""]  # as docker keeps it
