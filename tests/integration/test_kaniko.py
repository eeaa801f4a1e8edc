"""Calls of kaniko's executor: what is built, pushed and written, and how they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile

import pytest

from ocitool.cli.kaniko.options import ACCEPTED
from tests.fixtures.programs import execute, python_environment
from tests.fixtures.servers import PASSWORD, USER, protected_registry, served


@pytest.fixture
def context(tmp_path):
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text(
        "FROM scratch AS one\nCOPY f /\nCOPY g /\nFROM one\nARG A=none\nLABEL a=$A\n"
    )
    for name in ("f", "g"):
        (directory / name).write_text(name)
    return directory


@pytest.fixture
def executor(run_cli, store_root, context):
    def run(*words, code=0, **options):
        words = ("kaniko-executor", f"--context=dir://{context}", *words)
        done = run_cli(*words, root=store_root, **options)
        assert done.code == code, str(done)
        return done

    return run


def manifest(run_cli, root, name):
    return json.loads(run_cli("inspect", name, root=root).ok().stdout)[0]


def test_an_image_is_pushed_under_each_name_with_its_digests(
    run_cli, store_root, executor, tmp_path
):
    with served(tmp_path / "served") as (_, address):
        names = (f"{address}/app:1", f"{address}/other:2")
        words = [word for name in names for word in ("--destination", name)]
        files = {
            "--digest-file": tmp_path / "new/digest",
            "--image-name-with-digest-file": tmp_path / "named",
            "--image-name-tag-with-digest-file": tmp_path / "tagged",
        }
        executor(*words, "--build-arg=A=1", *(f"{k}={v}" for k, v in files.items()))
        digest = files["--digest-file"].read_text()
        assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
        assert files["--image-name-with-digest-file"].read_text() == (
            f"{address}/app@{digest}\n{address}/other@{digest}\n"
        )
        assert files["--image-name-tag-with-digest-file"].read_text() == (
            f"{address}/app:1@{digest}\n{address}/other:2@{digest}\n"
        )
        for name in names:
            run_cli("pull", name, root=tmp_path / "elsewhere").ok()
            shown = manifest(run_cli, tmp_path / "elsewhere", name)
            assert shown["Digest"] == digest
            assert shown["Config"]["Labels"] == {"a": "1"}


def test_credentials_of_kanikos_directory(executor, tmp_path, free_port, run_cli, store_root):
    with protected_registry(tmp_path / "protected", free_port) as address:
        kaniko = tmp_path / "kaniko"
        (kaniko / ".docker").mkdir(parents=True)
        authfile = kaniko / ".docker/config.json"
        words = ("login", "-u", USER, "--password-stdin", "--authfile", authfile, address)
        run_cli(*words, root=store_root, stdin=PASSWORD).ok()
        home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "", "DOCKER_CONFIG": ""}
        refused = executor("-d", f"{address}/app:1", env=home, code=1)
        assert "401" in refused.stderr
        executor("-d", f"{address}/app:1", env={**home, "KANIKO_DIR": str(kaniko)})


def test_archives_and_layouts(executor, tmp_path, run_cli, store_root):
    archive, layout = tmp_path / "app.tar", tmp_path / "layout"
    words = ("--no-push", "-d", "app:1", f"--tar-path={archive}", f"--oci-layout-path={layout}")
    executor(*words, f"--digest-file={tmp_path / 'digest'}")
    with tarfile.open(archive) as tar:
        (described,) = json.load(tar.extractfile("manifest.json"))
    assert described["RepoTags"] == ["app:1"]
    index = json.loads((layout / "index.json").read_text())
    assert index["manifests"][0]["digest"] == (tmp_path / "digest").read_text()


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_a_context_that_is_an_archive(run_cli, store_root, context, tmp_path, source):
    archive = tmp_path / "context.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in context.iterdir():
            tar.add(path, arcname=path.name)
    program = (sys.executable, "-m", "ocitool", "--root", store_root, "kaniko-executor")
    words = ("--context", f"tar://{archive if source == 'file' else 'stdin'}", "--no-push")
    with archive.open("rb") as stream:
        done = subprocess.run(
            [*program, *words, "-d", "app:1"],
            stdin=stream, cwd=tmp_path, env=python_environment(), capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(manifest(run_cli, store_root, "app:1")["RootFS"]["Layers"]) == 2


@pytest.mark.parametrize(
    ("suffix", "words", "found"),
    [
        ("", (), "two"),
        ("#refs/heads/old", (), "one"),
        ("#refs/heads/main#{commit}", (), "one"),
        ("", ("--git=branch=old",), "one"),
        ("", ("--context-sub-path=sub",), "below"),
    ],
)
def test_a_context_in_a_private_repository(
    run_cli, store_root, git_server, tmp_path, suffix, words, found
):
    repository = git_server.repository("r.git")
    text = "FROM scratch\nCOPY f /\nLABEL found={}\n"
    commit = repository.commit({"f": "", "Dockerfile": text.format("one")})
    repository.git("branch", "old")
    below = {"sub/f": "", "sub/Dockerfile": text.format("below")}
    repository.commit({"Dockerfile": text.format("two"), **below})
    repository.push("main", "old")
    git_server.header = "Basic YW5uOnMzY3JldA=="
    context = f"git://{repository.url.partition('://')[2]}{suffix.format(commit=commit)}"
    env = {"GIT_PULL_METHOD": "http", "GIT_USERNAME": "ann", "GIT_PASSWORD": "s3cret"}
    call = ("kaniko-executor", "-c", context, "--no-push", "-d", "app:1", *words)
    run_cli(*call, root=store_root, cwd=tmp_path, env=env).ok()
    assert manifest(run_cli, store_root, "app:1")["Config"]["Labels"] == {"found": found}


def test_submodules_are_fetched_where_they_are_asked_for(run_cli, store_root, git_server, tmp_path):
    commit = git_server.repository("sub.git").commit({"s": ""})
    repository = git_server.repository("r.git")
    modules = '[submodule "m"]\n\tpath = m\n\turl = ../sub.git\n'
    repository.commit({"Dockerfile": "FROM scratch\nCOPY m/s /\n", ".gitmodules": modules})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},m")
    repository.git("commit", "-q", "-m", "a submodule")
    repository.push("main")
    context = f"git://{repository.url.partition('://')[2]}"
    call = ("kaniko-executor", "-c", context, "--no-push")
    options = {"root": store_root, "cwd": tmp_path, "env": {"GIT_PULL_METHOD": "http"}}
    done = run_cli(*call, **options)
    assert (done.code, '"/m/s": not found' in done.stderr) == (1, True), done.stderr
    assert not [path for path in git_server.asked if path.startswith("/sub.git")]
    run_cli(*call, "--git=recurse-submodules", **options).ok()


def test_results_for_cloud_build(executor, tmp_path):
    with served(tmp_path / "served") as (_, address):
        words = ("-d", f"{address}/app:1", "-d", f"{address}/app", "--digest-file=digest")
        executor(*words, cwd=tmp_path, env={"BUILDER_OUTPUT": str(tmp_path)})
        digest = (tmp_path / "digest").read_text()
        assert [json.loads(line) for line in (tmp_path / "images").read_text().splitlines()] == [
            {"name": f"{address}/app:{tag}", "digest": digest} for tag in ("1", "latest")
        ]
    (tmp_path / "images").unlink()
    executor("--no-push", env={"BUILDER_OUTPUT": str(tmp_path)})
    assert not (tmp_path / "images").exists()


def test_the_cache_is_used_where_it_is_asked_for(executor):
    words = ("--no-push", "--destination=app:1")
    executor(*words)
    assert "CACHED" not in executor(*words).stderr
    done = executor(*words, "--cache=true", "--cache-repo=example.com/cache", "--cache-dir=/c")
    assert done.stderr.count("CACHED") == 2
    assert done.stderr.count("is not used: the build cache is in the storage directory") == 2
    assert "CACHED" not in executor(*words, "--cache", "--cache-ttl=0s").stderr


def test_a_reproducible_image_has_one_digest(executor, context, tmp_path):
    digests = set()
    for _ in range(2):
        (context / "f").touch()
        executor("--no-push", "--reproducible", f"--digest-file={tmp_path / 'digest'}")
        digests.add((tmp_path / "digest").read_text())
    assert len(digests) == 1


def test_what_is_accepted_changes_nothing(executor, tmp_path):
    def digest(*words):
        executor("--no-push", "--reproducible", f"--digest-file={tmp_path / 'digest'}", *words)
        return (tmp_path / "digest").read_text()

    usual = digest()
    for value in ("true", "false"):
        flags = [name for name, held in ACCEPTED.items() if held is None or value == "true"]
        assert digest(*(f"{name}={value}" for name in flags)) == usual
    assert digest("--cleanup", "--force", "--snapshot-mode=time", "--log-format=text") == usual
    assert digest("--cache-dir=/cache", "--cache-repo=r.example/c", "--push-retry=3") == usual


def test_an_ignored_path_is_an_error_only_if_a_step_changes_it(executor, context):
    words = ("--no-push", "--cache")
    digest = executor(*words).stdout
    assert executor(*words, "--ignore-path=/fg", "--ignore-path=/x").stdout.count(digest) == 1
    done = executor(*words, "--ignore-path=/g/", code=1)
    assert "Dockerfile:3: a step changed /g, which --ignore-path excludes" in done.stderr
    (context / "Dockerfile").write_text("FROM scratch\nCOPY f /var/run/x/\n")
    assert "a step changed /var/run" in executor(*words, "--ignore-var-run", code=1).stderr
    executor(*words, "--ignore-var-run=false")


def test_one_snapshot_is_one_layer(executor, run_cli, store_root):
    executor("--no-push", "-d", "app:1")
    assert len(manifest(run_cli, store_root, "app:1")["RootFS"]["Layers"]) == 2
    executor("--no-push", "-d", "app:1", "--single-snapshot", "--snapshotMode=redo")
    assert len(manifest(run_cli, store_root, "app:1")["RootFS"]["Layers"]) == 1


def test_what_fails_ends_with_1_and_leaves_no_digest(executor, context, tmp_path):
    digest = tmp_path / "digest"
    done = executor(code=1)
    assert done.stderr.startswith(
        "Error: you must provide --destination, or use --no-push\nUsage: ocitool kaniko-executor"
    )
    assert "unknown flag: --nonsense" in executor("--nonsense", code=1).stderr
    (context / "Dockerfile").write_text("FROM scratch\nCOPY none /\n")
    done = executor("--no-push", f"--digest-file={digest}", code=1)
    assert 'Dockerfile:2: "/none": not found' in done.stderr
    assert not digest.exists()


def test_under_the_name_executor(tmp_path, context, store_root):
    program = tmp_path / "ocitool"
    program.write_text(f"#!{sys.executable}\nfrom ocitool.__main__ import main\n\nmain()\n")
    program.chmod(0o755)
    (tmp_path / "kaniko").mkdir()
    link = tmp_path / "kaniko/executor"
    link.symlink_to(program)
    env = python_environment({"OCITOOL_ROOT": str(store_root)})
    words = (link, "--context", context, "--no-push", "--destination", "app:1", "--force")
    done = execute(words, env=env).ok()
    assert "Tagged app:1" in done.stdout
    assert "kaniko-executor" in execute((link, "--help"), env=env).ok().stdout
    assert "Version" in execute((link, "version"), env=env).ok().stdout
    assert "Build, store, distribute" in execute((program, "--help"), env=env).ok().stdout
