"""A store that nobody can write to serves what only reads, and refuses the rest by name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import directory, file
from ocitool_registry import MemoryBackend
from ocitool_registry.server.serve import serve
from tests.fixtures.commands import failed
from tests.fixtures.programs import execute, python_environment
from tests.fixtures.stores import put_image, start
from tests.fixtures.trees import new_directory, remove_tree

LAYERS = ([directory("d"), file("d/f", b"content")], [file("g", b"more")])


def pictured(root):
    """Return every name below *root* with what tells that it was touched."""
    found = {}
    for top, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(top, name)
            state = os.lstat(path)
            found[path] = (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return found


def fill(root):
    """Make a store with an image that is unpacked."""
    with Store.open(str(root)) as store:
        image = put_image(store, "docker.io/library/app:1", *LAYERS)
        put_image(store, "docker.io/library/packed:1", [file("x", b"not unpacked")])
        store.layers.ensure(image.layers)
        store.summaries.of([str(image.digest)])


@pytest.fixture(scope="module", params=["mounted", "owned", "others"])
def readonly(request, session_tree, run_cli):
    """Return a read-only store, which stays as it is, and a function that runs commands on it."""
    store_root = new_directory(session_tree, "readonly-")
    request.addfinalizer(lambda: remove_tree(store_root))
    user = None
    if request.param == "mounted":
        request.getfixturevalue("root_only")
        fill(store_root)
        execute(["mount", "--bind", store_root, store_root]).ok()
        request.addfinalizer(lambda: execute(["umount", store_root]).ok())
        execute(["mount", "-o", "remount,bind,ro", store_root]).ok()
    else:
        user = request.getfixturevalue("ordinary_user")
        if request.param == "others":
            fill(store_root)
            store_root.chmod(0o755)
        else:
            os.chown(store_root, user.uid, user.gid)
            fill_for(user, store_root, run_cli)
            # All but the content of layers, which would be other content than their tars say.
            inside = ["-path", "*/layers/*/fs/*", "-o", "-type", "l"]
            chmod = ["-exec", "chmod", "a-w", "{}", "+"]
            execute(["find", store_root, "(", *inside, ")", "-o", *chmod]).ok()

    def run(*words, **how):
        return run_cli(*words, root=store_root, user=user, **how)

    return store_root, run


def fill_for(user, root, run_cli):
    """Let *user* have the same in a store of its own: by archives."""
    made = root.parent / f"{root.name}-made"
    made.mkdir()
    try:
        fill(made)
        saved = run_cli("save", "-o", made / "saved.tar", "app:1", "packed:1", root=made).ok()
        (made / "saved.tar").chmod(0o644)
        assert saved.code == 0
        made.chmod(0o755)
        run_cli("load", "-i", made / "saved.tar", root=root, user=user).ok()
        done = run_cli("run", "--rm", "app:1", "/none", root=root, user=user)
        assert done.code in (125, 127), done
    finally:
        shutil.rmtree(made)


def test_what_reads_is_served(readonly, session_tree):
    root, run = readonly
    place = session_tree / "readonly-archives"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    before = pictured(root)
    assert run("images", "-q").ok().stdout.count("\n") == 2
    assert json.loads(run("inspect", "app:1").ok().stdout)[0]["RepoTags"] == ["app:1"]
    run("history", "app:1").ok()
    run("system", "df", "-v").ok()
    checked = run("system", "check").ok()
    assert checked.stdout.endswith("No problems found\n")
    assert "Root:" in run("info").ok().stdout
    for verb in ("save", "export"):
        for name in ("app:1", "packed:1"):  # of one there is no index
            out = place / f"{verb}.tar"
            run(verb, "-o", out, name).ok()
            with tarfile.open(out) as tar:
                assert tar.getnames()
    with serve(MemoryBackend(), "127.0.0.1", 0) as server:
        run("push", "app:1", f"{server.address}/app:1").ok()
        run("push", "packed:1", f"{server.address}/app:2").ok()
    assert pictured(root) == before


@pytest.mark.parametrize(
    "words",
    [
        ("tag", "app:1", "other:1"),
        ("rmi", "app:1"),
        ("system", "prune", "-f"),
        ("system", "prune", "-a", "-f"),
        ("pull", "127.0.0.1:9/x:1"),
        ("build", "-t", "b:1", "CONTEXT"),
        ("load", "-i", "CONTEXT/some.tar"),
        ("import", "CONTEXT/some.tar", "b:1"),
        ("run", "--rm", "app:1", "/none"),
    ],
    ids=" ".join,
)
def test_what_writes_is_refused(readonly, words, session_tree):
    root, run = readonly
    context = session_tree / "readonly-context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    with tarfile.open(context / "some.tar", "w"):
        pass
    before = pictured(root)
    done = run(*(word.replace("CONTEXT", str(context)) for word in words))
    doing = f"pulling {words[1]}: " if words[0] == "pull" else ""
    failed(done, 125 if words[0] == "run" else 1, f"Error: {doing}{root}: the store is read-only: ")
    assert "hint: " in done.stderr
    assert pictured(root) == before


HOLD = """
import sys
from ocitool import Store
with Store.open(sys.argv[1]) as store:
    store.note_origin(store.refs.all()[0].digest, "in/the/log")
    print(flush=True)
    sys.stdin.readline()
"""


def test_what_only_the_log_of_a_living_owner_has_is_read(ordinary_user, store_root):
    fill(store_root)
    store_root.chmod(0o755)
    read = (
        "import sys; from ocitool import Store; s = Store.open(sys.argv[1]);"
        "print(s.origins(s.refs.all()[0].digest))"
    )
    owner = start(HOLD, store_root)
    owner.stdout.readline()
    try:
        assert os.path.getsize(store_root / "db.sqlite-wal") > 0
        done = ordinary_user.run(ordinary_user.python, "-c", read, store_root)
        assert "in/the/log" in done.ok().stdout
    finally:
        owner.communicate("\n")
    assert "in/the/log" in ordinary_user.run(ordinary_user.python, "-c", read, store_root).stdout


def test_a_store_that_has_no_database_is_read(ordinary_user, store_root, run_cli):
    fill(store_root)
    for name in ("db.sqlite", "db.sqlite-wal", "db.sqlite-shm"):
        (store_root / name).unlink(missing_ok=True)
    store_root.chmod(0o755)
    done = run_cli("images", "-q", root=store_root, user=ordinary_user).ok()
    assert done.stdout.count("\n") == 2
    run_cli("system", "df", root=store_root, user=ordinary_user).ok()
    assert not (store_root / "db.sqlite").exists()


def test_an_older_database_is_read(ordinary_user, store_root, run_cli):
    fill(store_root)
    with Store.open(str(store_root)) as store:
        store.database.run("DROP TABLE images")
        store.database.run("PRAGMA user_version = 2")
    store_root.chmod(0o755)
    before = pictured(store_root)
    done = run_cli("images", "-q", root=store_root, user=ordinary_user).ok()
    assert done.stdout.count("\n") == 2
    assert pictured(store_root) == before


def test_a_read_only_registry_is_pulled_from(root_only, store_root, run_cli, tmp_path):
    root = store_root / "registry"
    fill(store_root)
    with serving(store_root) as (address, end):
        run_cli("push", "app:1", f"{address}/app:1", root=store_root).ok()
        end()
    execute(["mount", "--bind", root, root]).ok()
    try:
        execute(["mount", "-o", "remount,bind,ro", root]).ok()
        before = pictured(root)
        with serving(store_root) as (address, end):
            run_cli("pull", "-q", f"{address}/app:1", root=tmp_path / "other").ok()
            with urllib.request.urlopen(f"http://{address}/v2/_catalog") as found:
                assert json.load(found) == {"repositories": ["app"]}
            done = run_cli("push", "packed:1", f"{address}/packed:1", root=store_root)
            failed(done, 1, "the registry is read-only")
            end()
        assert pictured(root) == before
    finally:
        execute(["umount", root]).ok()


class serving:
    """``registry serve`` in a process of its own."""

    def __init__(self, root):
        words = ["--root", str(root), "registry", "serve", "--addr", "127.0.0.1:0"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ocitool", *words],
            env=python_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        line = self._process.stderr.readline()
        assert "http://" in line, line + self._process.stderr.read()
        return line.split("http://")[1].strip(), self._end

    def _end(self):
        self._process.send_signal(signal.SIGTERM)
        _, err = self._process.communicate(timeout=60)
        assert "Traceback" not in err

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
