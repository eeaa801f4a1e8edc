"""The main job: a real image is built, pushed, pulled and run, by us and by the other tools.

``testdata/web`` says what the image is; each test stands for a promise to somebody who has just
found this project.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.programs import Finished, python_environment
from tests.fixtures.trees import remove_tree

CHECKOUT = Path(__file__).resolve().parents[2]
WEB = CHECKOUT / "testdata" / "web"
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Web:
    """The web image as whoever runs the tests built it."""

    name: str
    root: Path
    base: str
    built: Finished

    @property
    def digest(self):
        return digest_of(self.built)


def digest_of(built):
    return re.search(r"^Digest (sha256:[0-9a-f]{64})$", built.ok().stdout, re.MULTILINE)[1]


def steps(built):
    """Return what became of each step: its label -> ``DONE`` or ``CACHED``."""
    labels = dict(re.findall(r"^#(\d+) (\[.*)$", built.stderr, re.MULTILINE))
    ends = dict(re.findall(r"^#(\d+) (DONE|CACHED)\b", built.stderr, re.MULTILINE))
    return {label: ends[number] for number, label in labels.items()}


@pytest.fixture(scope="module")
def web(run_cli, session_tree, registry, debian_base, network, containers):
    root = session_tree / "web"
    name = f"{registry}/ocitool-test/{uuid.uuid4().hex[:8]}:1"
    words = ("build", "-t", name, "--build-arg", f"BASE={debian_base}", "--progress", "plain", WEB)
    yield Web(name, root, debian_base, run_cli(*words, root=root, env=EPOCH).ok())
    remove_tree(root)


@pytest.fixture(scope="module")
def pushed(run_cli, web):
    done = run_cli("push", web.name, root=web.root).ok()
    assert done.stdout.startswith(f"1: digest: {web.digest} size: ")
    return web


def get(port, path="/about"):
    with _direct.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read()


@contextmanager
def served(command, port, **how):
    """Run *command* until the block ends; it is entered once the program answers."""
    with subprocess.Popen(command, **how) as process:
        try:
            for _ in range(600):  # a guard against waiting for ever, not a measure
                assert process.poll() is None, f"ended with {process.returncode}"
                try:
                    get(port)
                    break
                except OSError:
                    time.sleep(0.1)
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ocitool(root, *words):
    return [sys.executable, "-m", "ocitool", "--root", str(root), *words]


# -- 1 and 2: built and pushed, and the others take it -------------------------------------


def test_every_instruction_left_its_mark(run_cli, web):
    image = json.loads(run_cli("inspect", web.name, root=web.root).ok().stdout)[0]
    config = image["Config"]
    assert config["User"] == "www-data"
    assert config["WorkingDir"] == "/srv/web"
    assert config["Entrypoint"] == ["serve"]
    assert config["Cmd"] == ["--site", "site"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Volumes"] == {"/var/lib/web": {}}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Shell"] == ["/bin/bash", "-eu", "-o", "pipefail", "-c"]
    assert config["Healthcheck"]["Test"] == ["CMD", "serve", "--check"]
    assert config["Labels"]["org.opencontainers.image.base.name"] == web.base
    assert {"PORT=8080", "STATE=/var/lib/web"} <= set(config["Env"])
    assert image["Created"] == "2023-11-14T22:13:20Z"


def test_skopeo_inspects_it(skopeo, pushed):
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{pushed.name}").stdout)
    assert seen["Digest"] == pushed.digest
    assert seen["Labels"]["org.opencontainers.image.title"] == "web"


@pytest.mark.campaign
def test_podman_runs_it(podman, pushed, free_port):
    name = f"ocitool-{uuid.uuid4().hex[:8]}"
    options = ("--rm", "--name", name, "-e", f"PORT={free_port}")
    try:
        with served(podman.command("run", *options, pushed.name), free_port):
            about = json.loads(get(free_port))
            assert (about["uid"], about["workdir"]) == (33, "/srv/web")
            assert b"Made by a build" in get(free_port, "/index.html")
    finally:
        podman("rm", "--force", "--ignore", name)


def test_docker_runs_it(docker, pushed, free_port):
    name = f"ocitool-{uuid.uuid4().hex[:8]}"
    options = ("--rm", "--name", name, "-e", f"PORT={free_port}")
    try:
        with served(docker.command("run", *options, pushed.name), free_port):
            about = json.loads(get(free_port))
            assert (about["uid"], about["workdir"]) == (33, "/srv/web")
            assert b"Made by a build" in get(free_port, "/index.html")
    finally:
        docker("rm", "--force", name, check=False)
        docker("image", "rm", "--force", pushed.name, check=False)


# -- 3: pulled into an empty store, and run ------------------------------------------------


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.campaign)]
)
def test_an_empty_store_pulls_and_runs_it(run_cli, pushed, store_root, free_port, number):
    pulled = run_cli("pull", pushed.name, root=store_root).ok()
    assert pulled.stdout == f"Digest: {pushed.digest}\n{pushed.name}\n"
    options = ("--rm", "--network", "host", "-e", f"PORT={free_port}", "-e", "EXIT_STATUS=7")
    command = ocitool(store_root, "run", *options, pushed.name)
    with served(command, free_port, env=python_environment()) as process:
        about = json.loads(get(free_port))
        assert (about["uid"], about["gid"], about["pid"]) == (33, 33, 1)
        assert about["arguments"] == ["--site", "site"]
        assert get(free_port, "/style/plain.css")  # from ADD of a tar
        assert json.loads(get(free_port, "/visit")) == {"visits": 1}
        process.send_signal(number)
        assert process.wait(60) == 7


# -- 4: the second build does nothing ------------------------------------------------------


def test_the_second_build_does_nothing_and_says_so(run_cli, web, tmp_path):
    context = tmp_path / "web"
    shutil.copytree(WEB, context, symlinks=True)  # other inodes, other change times
    for folder, _, files in os.walk(context):
        for name in files:
            os.utime(os.path.join(folder, name), (1, 1))
    words = ("build", "-t", web.name, "--build-arg", f"BASE={web.base}", "--progress", "plain")
    again = run_cli(*words, context, root=web.root, env=EPOCH).ok()
    assert set(steps(again).values()) == {"CACHED"}
    assert again.stdout.startswith("Nothing to do: all 12 steps were cached.\n")
    assert digest_of(again) == web.digest


def test_a_changed_byte_reruns_what_depends_on_it(run_cli, web, tmp_path):
    context = tmp_path / "web"
    shutil.copytree(WEB, context, symlinks=True)
    with (context / "pages" / "how.txt").open("a") as page:
        page.write("!\n")
    words = ("build", "-t", "changed:1", "--build-arg", f"BASE={web.base}", "--progress", "plain")
    built = run_cli(*words, context, root=web.root, env=EPOCH).ok()
    done = {label.split("] ")[1].split()[0:2][-1] for label, end in steps(built).items()
            if end == "DONE"}  # fmt: skip
    cached = [label for label, end in steps(built).items() if end == "CACHED"]
    assert "pages/" in done
    assert "--from=pages" in done
    assert any("apt-get" in label or "DEBIAN_FRONTEND" in label for label in cached)
    assert any("COPY --chmod=755 server.py" in label for label in cached)
    assert any("site/ site/" in label for label in cached)
    assert digest_of(built) != web.digest


# -- 5: as an ordinary user ----------------------------------------------------------------


@pytest.mark.campaign
def test_an_ordinary_user_builds_the_same_digest(run_cli, web, ordinary_user, tmp_path):
    context = ordinary_user.home / "web"
    shutil.copytree(WEB, context, symlinks=True)
    root = ordinary_user.home / "store-web"
    name = f"{web.name.rpartition(':')[0]}-user:1"
    words = ("build", "-t", name, "--build-arg", f"BASE={web.base}", "--progress", "plain")
    built = run_cli(*words, context, root=root, env=EPOCH, user=ordinary_user).ok()
    assert "CACHED" not in {end for label, end in steps(built).items() if "FROM" not in label}
    assert digest_of(built) == web.digest
    assert "Nothing to do" in run_cli(*words, context, root=root, env=EPOCH, user=ordinary_user
                                      ).ok().stdout  # fmt: skip
    pushed = run_cli("push", name, root=root, user=ordinary_user).ok()
    assert f"digest: {web.digest}" in pushed.stdout
    other = ordinary_user.home / "store-empty"
    run_cli("pull", name, root=other, user=ordinary_user).ok()
    words = ("run", "--rm", "--entrypoint", "id", name, "-un")
    assert run_cli(*words, root=other, user=ordinary_user).ok().stdout == "www-data\n"


#: A user namespace without any privilege in which no other can be made, and then the command:
#: how an ordinary user fares where user namespaces are switched off.
CONFINED = (
    "unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces && "
    'exec setpriv --ambient-caps=-all --inh-caps=-all env PATH=/nowhere "$@"', "sh",
)  # fmt: skip


def test_a_user_without_namespaces_builds_and_pushes(ordinary_user, registry, busybox_base):
    user = ordinary_user

    def confined(*words):
        return user.run(*CONFINED, *words)

    if confined(user.python, "-c", "").code != 0:
        pytest.skip("needs unshare and setpriv, to take namespaces away")
    assert user.run(*CONFINED, "/usr/bin/unshare", "--user", "true").code != 0
    context = user.home / "plain"
    context.mkdir()
    lines = (f"FROM {busybox_base}", "WORKDIR /srv", "COPY --chown=7:8 file ./",
             "ADD archive.tar /", "ENV A=1", 'CMD ["cat", "/srv/file"]')  # fmt: skip
    (context / "Dockerfile").write_text("\n".join(lines))
    (context / "file").write_text("content\n")
    shutil.copy(WEB / "assets.tar", context / "archive.tar")
    name = f"{registry}/ocitool-test/{uuid.uuid4().hex[:8]}:1"
    command = (user.python, "-m", "ocitool", "--root", user.home / "store-plain")
    confined(*command, "build", "-t", name, context).ok()
    again = confined(*command, "build", "-t", name, context).ok()
    assert "Nothing to do: all 4 steps were cached." in again.stdout
    confined(*command, "push", name).ok()
    confined(*command, "pull", name).ok()
    refused = confined(*command, "run", "--rm", name)
    assert refused.code == 125
    assert "cannot make a user namespace" in refused.stderr
    (context / "Dockerfile").write_text(f"FROM {busybox_base}\nRUN true\n")
    failed = confined(*command, "build", context)
    assert failed.code != 0
    assert "cannot make a user namespace" in failed.stderr
    assert "hint: " in failed.stderr


def test_the_lines_of_the_readme_on_a_fresh_account(tmp_path):
    readme = (CHECKOUT / "README.md").read_text()
    (lines,) = re.findall(r"## Install\n\n((?:    .*\n)+)", readme)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"  # makes what venv and pip make
    python.write_text(
        "#!/bin/sh\n"
        'case "$1 $2" in\n'
        '"-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/pip"; cp "$0" "$3/bin/ocitool" ;;\n'
        '"install .") ;;\n'
        "*) echo it runs ;;\n"
        "esac\n"
    )
    python.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    for _ in range(2):  # a second time is an update
        done = subprocess.run(
            ["sh", "-eu", "-c", f"{lines}\nocitool"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (0, "it runs\n"), done.stderr


# -- 6: from Python ------------------------------------------------------------------------


def test_the_lines_of_python_in_the_readme(run_cli, tools_context, store_root, containers):
    from ocitool_registry import MemoryBackend
    from ocitool_registry.server.serve import serve

    (code,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    with serve(MemoryBackend()) as registry:
        base = f"{registry.address}/base:1"
        run_cli("build", "-q", "-t", base, tools_context, root=store_root / "base").ok()
        run_cli("push", "-q", base, root=store_root / "base").ok()
        assert "docker.io/library/busybox:1.36" in code
        code = code.replace("localhost:5000", registry.address)
        code = code.replace("docker.io/library/busybox:1.36", base)
        done = subprocess.run(
            [sys.executable, "-c", code.replace("/tmp/elsewhere", str(store_root / "elsewhere"))],
            env=python_environment({"OCITOOL_ROOT": str(store_root / "here")}),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "hello world, from process 1 in /demo\n" in done.stdout
    assert done.stdout.endswith("exit code 0\n")
