"""Programs that try to have the shim touch what lies outside of their container's root."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.runtime.single_id import OWNER, recorded

pytestmark = pytest.mark.slow


@pytest.fixture
def run(rangeless_user):
    """Return a function that runs code in a container and returns what was recorded."""
    return partial(recorded, rangeless_user)


def test_volumes_and_proc_are_left_to_the_kernel(run):
    """Neither by name, nor by a link, nor through a descriptor."""
    assert (
        run(
            "os.symlink('/volume/f', '/to'); os.symlink('/volume', '/vol')\n"
            "fd = os.open('/volume/f', os.O_RDONLY); top = os.open('/volume', os.O_RDONLY)\n"
            "for path in ('/volume/f', '/volume', '/to', '/vol', '/vol/f', '/d/../volume/f',\n"
            "             f'/proc/self/fd/{fd}', f'/proc/thread-self/fd/{top}/f',\n"
            "             '/proc/1/root/volume'):\n"
            "    fails(errno.EINVAL, os.chown, path, 5, 5)\n"
            "fails(errno.EINVAL, os.fchown, fd, 5, 5)\n"
            "fails(errno.EINVAL, os.chown, 'f', 5, 5, dir_fd=top)\n"
            "fails(errno.EPERM, os.mknod, '/volume/n', stat.S_IFCHR, os.makedev(1, 3))\n"
            "fails(errno.EPERM, os.mknod, '/vol/n', stat.S_IFCHR, os.makedev(1, 3))\n"
            "os.symlink('x', '/volume/l'); fails(errno.EINVAL, os.lchown, '/volume/l', 5, 5)\n"
            "os.chown('/volume/f', 0, 0)\n"
        )
        == {}
    )


def test_magic_links_are_left_to_the_kernel(run):
    """Those of another process, of the shim, and of the root and cwd of the container init."""
    assert (
        run(
            "fd = os.open('/f', os.O_RDONLY)\n"
            "for path in (f'/proc/self/fd/{fd}', '/proc/self/root/f', '/proc/self/cwd/f',\n"
            "             '/proc/1/root/f', '/proc/thread-self/root/d/f'):\n"
            "    fails(errno.EINVAL, os.chown, path, 5, 5)\n"
            "fails(errno.EPERM, os.mknod, '/proc/self/root/n', stat.S_IFCHR, os.makedev(1, 3))\n"
        )
        == {}
    )


def test_no_path_leads_above_the_root(run):
    found = run(
        "up = '/'.join(['..'] * 40)\n"
        "os.chown(f'{up}/f', 5, 5); os.symlink(f'{up}/../..', '/d/up')\n"
        "os.chown('/d/up/d/f', 6, 6)\n"
        "top = os.open('/', os.O_RDONLY); os.chown('../../f', 7, 7, dir_fd=top)\n"
        "os.chdir('/d'); os.chown('../../../f', 8, 8)\n"
    )
    assert found == {("/root/f", OWNER): b"8:8", ("/root/d/f", OWNER): b"6:6"}


def test_the_callers_own_root_counts(run):
    """In a chroot "/" is that; from a directory outside of it ".." leads up as for the caller."""
    found = run(
        "os.mkdir('/jail'); open('/jail/f', 'w').close(); os.symlink('/f', '/jail/l')\n"
        "top = os.open('/', os.O_RDONLY); os.chroot('/jail'); os.chdir('/')\n"
        "os.chown('/f', 5, 5); os.chown('../../f', 6, -1); os.chown('/l', -1, 7)\n"
        "os.chown('f', 8, 8, dir_fd=top)\n"
    )
    assert found == {("/root/jail/f", OWNER): b"6:7", ("/root/f", OWNER): b"8:8"}


def test_bad_arguments_are_the_kernels_to_tell(run):
    assert (
        run(
            "null, bad = ctypes.c_void_p(0), ctypes.c_void_p(0x10)\n"
            "def call(number, *arguments):\n"
            "    code = libc.syscall(number, *arguments)\n"
            "    assert code == -1; return ctypes.get_errno()\n"
            "import platform\n"
            "number = {'x86_64': 260, 'aarch64': 54}[platform.machine()]\n"
            "assert call(number, -100, bad, 5, 5, 0) == errno.EFAULT\n"
            "assert call(number, -100, null, 5, 5, 0) == errno.EFAULT\n"
            "assert call(number, 77, b'f', 5, 5, 0) == errno.EBADF\n"
            "assert call(number, -100, b'', 5, 5, 0) == errno.ENOENT\n"
            "assert call(number, -100, b'/f', 5, 5, 0x40) == errno.EINVAL\n"
            "assert call(number, -100, b'x' * 5000, 5, 5, 0) == errno.ENAMETOOLONG\n"
            "assert call(number, -100, b'/f/x', 5, 5, 0) == errno.ENOTDIR\n"
            "os.chown('/f', -1, -1)\n"
        )
        == {}
    )


def test_what_a_user_makes_on_a_volume_is_left_to_the_kernel(run):
    """Neither by name, nor by a link, nor through a descriptor, nor by moving it there."""
    found = run(
        "os.symlink('/volume', '/vol'); top = os.open('/volume', os.O_RDONLY)\n"
        "os.chown('/d', 7, 7); os.symlink('/volume/x', '/d/to'); os.setresuid(7, 7, 7)\n"
        "for path in ('/volume/a', '/vol/b', '/d/../volume/c', '/d/to'): open(path, 'w').close()\n"
        "os.close(os.open('d', os.O_CREAT | os.O_WRONLY, dir_fd=top))\n"
        "os.mkdir('/volume/e'); os.symlink('x', '/vol/h'); os.mkfifo('g', dir_fd=top)\n"
        "assert sorted(os.listdir('/volume')) == list('abcdefghx'), os.listdir('/volume')\n"
        "assert os.lstat('/volume/h').st_uid == os.stat('/volume/a').st_uid == 0\n"
    )
    assert not any(path.startswith("/volume") for path, _ in found)


def test_making_files_meanwhile_reaches_nothing_outside(run):
    """A directory of the user's and a link to the volume are exchanged all the time."""
    found = run(
        "os.symlink('/volume', '/link'); os.mkdir('/a'); os.chown('/a', 7, 7)\n"
        "exchange = lambda: libc.renameat2(-100, b'/a', -100, b'/link', 2)\n"
        "assert exchange() == 0\n"
        "done = threading.Event()\n"
        "def race():\n"
        "    while not done.is_set(): exchange()\n"
        "racer = threading.Thread(target=race)\n"
        "if (child := os.fork()) == 0:\n"
        "    racer.start(); done.wait(20); os._exit(0)\n"
        "os.setresuid(7, 7, 7); made = 0\n"
        "for number in range(1000):\n"
        "    try: os.close(os.open(f'/a/{number}', os.O_CREAT | os.O_EXCL)); made += 1\n"
        "    except OSError: pass\n"
        "    try: os.symlink('x', f'/a/l{number}')\n"
        "    except OSError: pass\n"
        "os.setresuid(7, 7, 7); assert made\n"
        "import signal; os.kill(child, signal.SIGKILL)\n"
    )
    assert not any(path.startswith("/volume") for path, _ in found)


def test_renaming_meanwhile_reaches_nothing_outside(run):
    """A directory and a link to the volume are exchanged all the time."""
    found = run(
        "os.symlink('/volume', '/link'); os.mkdir('/a'); open('/a/f', 'w').close()\n"
        "exchange = lambda: libc.renameat2(-100, b'/a', -100, b'/link', 2)\n"
        "assert exchange() == 0\n"
        "done = threading.Event()\n"
        "def race():\n"
        "    while not done.is_set(): exchange()\n"
        "racer = threading.Thread(target=race); racer.start()\n"
        "kept = left = 0\n"
        "for _ in range(3000):\n"
        "    try: os.chown('/a/f', 5, 5); kept += 1\n"
        "    except OSError as error:\n"
        "        assert error.errno == errno.EINVAL, error\n"
        "        left += 1\n"
        "    try: os.mknod('/a/n', stat.S_IFCHR | 0o600, 259); os.unlink('/a/n')\n"
        "    except OSError: pass\n"
        "done.set(); racer.join()\n"
        "assert kept and left, (kept, left)\n"
    )
    assert {path for path, _ in found if path.startswith("/volume")} == set()


def test_memory_that_changes_meanwhile_reaches_nothing_outside(run):
    found = run(
        "text = ctypes.create_string_buffer(b'/d/f', 20); done = threading.Event()\n"
        "def race():\n"
        "    while not done.is_set(): text.value = b'/volume/f'; text.value = b'/d/f'\n"
        "racer = threading.Thread(target=race); racer.start()\n"
        "for _ in range(1000): libc.chown(text, 5, 5)\n"
        "done.set(); racer.join()\n"
    )
    assert {path for path, _ in found} <= {"/root/d/f"}


def test_a_caller_that_is_killed_stops_nobody(run):
    found = run(
        "import signal\n"
        "for _ in range(200):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        while True: os.chown('/d/f', 5, 5)\n"
        "    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)\n"
        "os.chown('/f', 6, 6)\n"
    )
    assert found["/root/f", OWNER] == b"6:6"
