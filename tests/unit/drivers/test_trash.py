"""What was taken out of use is removed in the background, also when that is killed on the way."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading

import pytest

from ocitool.drivers import trash
from ocitool.drivers.vfs import VfsDriver


@pytest.fixture
def full(tmp_path):
    """A trash with two trees in it, of some hundred files."""
    place = tmp_path / "trash"
    for tree in ("one", "two"):
        for at in range(12):
            directory = place / tree / f"d{at}"
            directory.mkdir(parents=True)
            for file in range(25):
                (directory / f"f{file}").write_bytes(b"x")
            directory.chmod(0o500)
    return str(place)


def ended(process):
    """Wait for a process of ours; returns its status."""
    return os.waitpid(process, 0)[1]


def test_it_is_emptied_and_stays(full, tmp_path):
    trash.empty(full)
    assert os.listdir(full) == []
    trash.empty(full)
    trash.empty(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_what_is_small_is_not_worth_a_process(full, tmp_path):
    assert not trash.is_small(full)
    (tmp_path / "few" / "d").mkdir(parents=True)
    (tmp_path / "few" / "d" / "link").symlink_to(full)
    assert trash.is_small(str(tmp_path / "few"))
    assert trash.is_small(str(tmp_path / "none"))


def test_a_process_of_its_own_empties_it(full):
    before = {name: os.readlink(f"/proc/self/fd/{name}") for name in ("0", "1", "2")}
    process = trash.start([full])
    assert ended(process) == 0
    assert os.listdir(full) == []
    assert before == {name: os.readlink(f"/proc/self/fd/{name}") for name in before}


@pytest.mark.slow
def test_no_module_comes_from_the_working_directory(full, hostile_directory, monkeypatch):
    monkeypatch.chdir(hostile_directory)
    assert ended(trash.start([full])) == 0
    assert os.listdir(full) == []
    assert not (hostile_directory / "imported").exists()


#: Stands in for Python: writes down what the process has open when it begins its work.
LOOK = """#!{python}
import os, sys
from ocitool.drivers import trash

def look(directory):
    said = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in sorted(os.listdir("/proc/self/fd"))[:-1]]
    with open(directory, "w") as file:
        print(os.getsid(0) == os.getpid(), os.getpriority(os.PRIO_PROCESS, 0), os.getcwd(), *said,
              file=file)

sys.argv = ["trash", *sys.argv[3:]]
trash.empty = look
trash.main()
"""


def test_the_process_holds_nothing_of_ours(monkeypatch, tmp_path):
    """No stream that a caller reads to its end (as make's), no directory, no terminal."""
    script, report = tmp_path / "python", tmp_path / "report"
    script.write_text(LOOK.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    streams = os.pipe()
    os.set_inheritable(streams[1], True)
    assert ended(trash.start([str(report)])) == 0
    for fd in streams:
        os.close(fd)
    assert report.read_text().split() == ["True", "19", "/", *["/dev/null"] * 3]


@pytest.mark.slow
@pytest.mark.parametrize("unlinks", [0, 1, 50, 400])
def test_one_that_is_killed_leaves_the_rest_to_the_next(full, unlinks, monkeypatch):
    """Killed when so many files are gone; files that are none of its business stay."""
    outside = os.path.join(os.path.dirname(full), "outside")
    with open(outside, "w") as file:
        file.write("stays")
    os.symlink(outside, f"{full}/link")
    pid = os.fork()
    if pid == 0:  # the fork of a test: it stops in the middle of its work, wherever that is
        unlink, left = os.unlink, [unlinks]

        def counted(*args, **options):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            unlink(*args, **options)

        os.unlink = counted
        trash.empty(full)
        os._exit(0)
    assert os.waitstatus_to_exitcode(ended(pid)) == -signal.SIGKILL
    assert os.listdir(full) != []
    trash.empty(full)
    assert os.listdir(full) == []
    assert os.path.exists(outside)


@pytest.mark.slow
def test_what_comes_while_another_is_at_it_is_left_to_that_one(full):
    fd = os.open(full, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    trash.empty(full)
    assert sorted(os.listdir(full)) == ["one", "two"]
    os.close(fd)
    trash.empty(full)
    assert os.listdir(full) == []


def test_nothing_is_forgotten_between_two_of_them(full, monkeypatch):
    """What comes right after the one has looked, and before it lets go, is seen after that."""
    flock, late = fcntl.flock, []

    def unlocking(fd, how):
        if how == fcntl.LOCK_UN and not late:
            os.mkdir(f"{full}/late")
            other = threading.Thread(target=lambda: late.append(trash.empty(full)))
            other.start()
            other.join()
            assert os.listdir(full) == ["late"]  # the other did not wait
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", unlocking)
    trash.empty(full)
    assert late
    assert os.listdir(full) == []


def test_a_removed_layer_is_out_of_sight_and_not_yet_gone(tmp_path):
    driver = VfsDriver(str(tmp_path))
    driver.begin("t", ())
    with open(f"{tmp_path}/trees/t/fs/f", "w") as file:
        file.write("content")
    driver.commit("t", "a" * 64)
    driver.remove("a" * 64)
    assert list(driver.layers()) == []
    (gone,) = os.listdir(tmp_path / "trash")
    assert (tmp_path / "trash" / gone / "fs" / "f").read_text() == "content"
