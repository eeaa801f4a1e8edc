"""``system reset``: nothing of a store is left, whoever owns its files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.fixtures.programs import execute, python_environment

DOCKERFILE = (
    "FROM scratch\nCOPY --chown=1234:1234 --chmod=700 d /d\n"
    "COPY --chown=33:33 --chmod=000 d/f /d/g\n"
)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("content")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


@pytest.mark.parametrize("driver", ["vfs", "overlay"])
def test_it_removes_everything(run_cli, store_root, context, driver):
    words = ("--driver", driver)
    run_cli(*words, "build", "-q", "-t", "a:1", context, root=store_root).ok()
    run_cli(*words, "run", "--rm", "a:1", "/none", root=store_root)  # unpacks it
    done = run_cli("system", "reset", root=store_root, stdin="n\n")
    assert done.code == 1
    assert f"WARNING! This will remove {store_root} with ALL images." in done.stderr
    assert run_cli("images", "-q", root=store_root).ok().stdout
    done = run_cli("system", "reset", root=store_root, stdin="y\n").ok()
    assert done.stdout == f"Removed {store_root}\n"
    assert not os.path.lexists(store_root)


@pytest.fixture
def used(run_cli, ordinary_user):
    """A store of an ordinary user with files that only its user namespace can remove."""
    context, root = ordinary_user.home / "context", ordinary_user.home / "reset"
    script = f"mkdir -p {context}/d && echo content > {context}/d/f && cat > {context}/Dockerfile"
    ordinary_user.run("sh", "-c", script, stdin=DOCKERFILE).ok()
    words = ("--driver", "vfs")
    run_cli(*words, "build", "-q", "-t", "a:1", context, root=root, user=ordinary_user).ok()
    run_cli(*words, "run", "--rm", "a:1", "/none", root=root, user=ordinary_user)  # unpacks it
    assert _foreign(root, ordinary_user.uid)
    assert ordinary_user.run("rm", "-rf", root).code != 0  # it removes what it can
    return root


def _foreign(root, uid):
    return [path for path in root.rglob("*") if path.lstat().st_uid != uid]


@pytest.mark.usefixtures("containers")
def test_files_of_subordinate_ids_are_removed(run_cli, ordinary_user, used):
    run_cli("system", "reset", "-f", root=used, user=ordinary_user).ok()
    assert not used.exists()


def test_a_corrupt_store_is_removed(run_cli, store_root, context):
    run_cli("build", "-q", "-t", "a:1", context, root=store_root).ok()
    (store_root / "db.sqlite").write_bytes(b"nonsense" * 1000)
    (store_root / "oci/index.json").write_text("{")
    run_cli("system", "reset", "-f", root=store_root).ok()
    assert not store_root.exists()


def test_what_is_not_a_store_is_refused(run_cli, tmp_path):
    (tmp_path / "precious").write_text("")
    done = run_cli("system", "reset", "-f", root=tmp_path)
    assert done.code == 1
    assert "not a store (it contains 'precious')" in done.stderr
    assert (tmp_path / "precious").exists()
    for empty in (tmp_path / "none", tmp_path / "empty"):
        done = run_cli("system", "reset", "-f", root=empty)
        assert (done.code, done.stdout) == (1, "")
        assert "there is no store" in done.stderr
        (tmp_path / "empty").mkdir(exist_ok=True)
    assert (tmp_path / "empty").exists()


def test_a_store_in_use_is_refused(run_cli, store_root):
    run_cli("images", root=store_root).ok()
    code = (
        "import sys; from ocitool import Settings, Store\n"
        "with Store(Settings.load(flags={'root': sys.argv[1]})) as store:\n"
        "    store.lease(); print('ready', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, store_root],
        env=python_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as user:
        assert user.stdout.readline() == b"ready\n"
        done = run_cli("system", "reset", "-f", root=store_root)
        assert done.code == 1
        assert "is in use by another process" in done.stderr
        user.stdin.close()
    run_cli("system", "reset", "-f", root=store_root).ok()


@pytest.mark.usefixtures("containers")
def test_after_prune_the_user_can_remove_what_is_left(run_cli, ordinary_user, used):
    """Nothing of subordinate IDs stays in the trash for a process in the background."""
    root = ordinary_user.home / "pruned"
    script = f"cd {ordinary_user.home}/context/d && for i in $(seq 900); do echo $i > $i; done"
    ordinary_user.run("sh", "-c", script).ok()
    words = ("--driver", "vfs")
    context = ordinary_user.home / "context"
    run_cli(*words, "build", "-q", "-t", "a:1", context, root=root, user=ordinary_user).ok()
    run_cli(*words, "run", "--rm", "a:1", "/none", root=root, user=ordinary_user)
    assert _foreign(root, ordinary_user.uid)
    env = {"OCITOOL_BACKGROUND": "yes"}
    run_cli(*words, "system", "prune", "-af", root=root, user=ordinary_user, env=env).ok()
    assert not _foreign(root, ordinary_user.uid)
    ordinary_user.run("rm", "-r", root).ok()


@pytest.fixture
def subvolumes(btrfs):
    """Return a function that lists the subvolumes of the file system."""
    program = shutil.which("btrfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return lambda: execute([program, "subvolume", "list", btrfs]).ok().stdout


def test_subvolumes_are_removed(run_cli, btrfs, subvolumes, context):
    """Also of a store whose database is corrupt; other tests' stores stay."""
    before = subvolumes()
    for spoil in (None, "db.sqlite"):
        root = btrfs / "store"
        words = ("--driver", "btrfs")
        run_cli(*words, "build", "-q", "-t", "a:1", context, root=root).ok()
        run_cli(*words, "run", "--rm", "a:1", "/none", root=root)  # unpacks it
        assert subvolumes() != before
        if spoil:
            (root / spoil).write_bytes(b"nonsense" * 1000)
        run_cli("system", "reset", "-f", root=root).ok()
        assert not root.exists()
        assert subvolumes() == before


def test_a_users_subvolumes_are_removed(run_cli, open_btrfs, ordinary_user):
    top = open_btrfs / "of-user"
    top.mkdir()
    os.chown(top, ordinary_user.uid, ordinary_user.gid)
    context, root = top / "context", top / "store"
    script = f"mkdir -p {context}/d && echo content > {context}/d/f && cat > {context}/Dockerfile"
    ordinary_user.run("sh", "-c", script, stdin=DOCKERFILE).ok()
    words = ("--driver", "btrfs")
    run_cli(*words, "build", "-q", "-t", "a:1", context, root=root, user=ordinary_user).ok()
    run_cli(*words, "run", "--rm", "a:1", "/none", root=root, user=ordinary_user)
    assert _foreign(root, ordinary_user.uid)
    run_cli("system", "reset", "-f", root=root, user=ordinary_user).ok()
    assert not root.exists()


def test_additional_stores_stay(run_cli, store_root, context, session_tree):
    shared = session_tree / "additional"
    run_cli("--driver", "overlay", "build", "-q", "-t", "a:1", context, root=shared).ok()
    run_cli("--driver", "overlay", "run", "--rm", "a:1", "/none", root=shared)  # unpacks it
    before = _listing(shared)
    words = ("--driver", "overlay", "--shared-stores", shared)
    run_cli(*words, "run", "--rm", "a:1", "/none", root=store_root)  # links to its layers
    run_cli(*words, "tag", "a:1", "b:1", root=store_root).ok()
    run_cli("--shared-stores", shared, "system", "reset", "-f", root=store_root).ok()
    assert not store_root.exists()
    assert _listing(shared) == before
    run_cli("system", "reset", "-f", root=shared).ok()


def _listing(top):
    return sorted(
        (str(path), path.lstat().st_mode, path.lstat().st_size) for path in top.rglob("*")
    )


@pytest.mark.usefixtures("root_only")
def test_a_file_system_that_is_mounted_in_it_stays(run_cli, store_root, context, tmp_path):
    run_cli("--driver", "vfs", "build", "-q", "-t", "a:1", context, root=store_root).ok()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("kept")
    (store_root / "mounted").mkdir()
    execute(["mount", "--bind", tmp_path / "precious", store_root / "mounted"]).ok()
    try:
        done = run_cli("system", "reset", "-f", root=store_root)
        assert (done.code, done.stdout) == (1, "")
        assert f"a file system is mounted in the store: {store_root}/mounted" in done.stderr
        assert run_cli("images", "-q", root=store_root).ok().stdout
        assert (tmp_path / "precious/file").read_text() == "kept"
    finally:
        execute(["umount", store_root / "mounted"]).ok()
    run_cli("system", "reset", "-f", root=store_root).ok()
    assert not store_root.exists()
