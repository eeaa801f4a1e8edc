"""IDs of processes in single-ID mode, and what belongs to whom."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.runtime.single_id import HEAD, OWNER, RUN, outcome, recorded

pytestmark = pytest.mark.slow

CHILDREN = "user.ocitool.children"


@pytest.fixture
def run(rangeless_user):
    """Return a function that runs code in a container and returns what was recorded."""
    return partial(recorded, rangeless_user)


def test_who_changes_ids_has_them(run):
    run(
        "assert (os.getresuid(), os.getgroups()) == ((0, 0, 0), [0])\n"
        "os.setgroups([9, 5]); os.setresgid(7, 7, 7); os.setresuid(8, 9, 10)\n"
        "assert (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) == (8, 9, 7, 7)\n"
        "assert (os.getresuid(), os.getresgid()) == ((8, 9, 10), (7, 7, 7))\n"
        "assert os.getgroups() == [5, 9]\n"
        "fails(errno.EPERM, os.setuid, 0); fails(errno.EPERM, os.setgroups, [])\n"
        "fails(errno.EPERM, os.setgid, 0)\n"
        "groups = (ctypes.c_uint * 1)()\n"
        "assert libc.getgroups(1, groups) == -1 and ctypes.get_errno() == errno.EINVAL\n"
    )


def test_children_have_the_ids_of_their_parents(run):
    """Also those whose parent is gone, threads, and what they execute."""
    run(
        "import sys\n"
        "before = os.getresuid()\n"
        "read, write = os.pipe(); os.set_inheritable(write, True)\n"
        "code = f'import os; os.write({write}, repr((os.getppid(), os.getresuid())).encode())'\n"
        "if os.fork() == 0:\n"
        "    os.setresuid(8, 8, 8)\n"
        "    if os.fork() == 0:\n"
        "        import time; time.sleep(0.1)\n"
        "        os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', code])\n"
        "    os._exit(0)\n"
        "assert os.read(read, 100) == b'(1, (8, 8, 8))'\n"
        "assert os.getresuid() == before\n"
        "os.setresuid(9, 9, 9); seen = []\n"
        "thread = threading.Thread(target=lambda: seen.append(os.getuid()))\n"
        "thread.start(); thread.join(); assert seen == [9]\n"
    )


def test_the_limit_that_stands_for_ids_is_hidden(run):
    run(
        "import resource\n"
        "os.setresuid(8, 8, 8)\n"
        "assert resource.prlimit(0, 10) == (-1, -1)\n"
        "resource.prlimit(0, 10, (5, 5)); assert os.getuid() == 8\n"
        "assert resource.prlimit(0, 10) == (-1, -1)\n"
        "limit = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, limit)\n"
    )


def test_a_user_begins_with_its_ids(rangeless_user):
    user = rangeless_user
    code = HEAD + (
        "assert os.getresuid() == (7, 7, 7) and os.getresgid() == (8, 8, 8)\n"
        "assert os.getgroups() == [8]; os.mkdir('/tmp'); open('/tmp/f', 'w').close()\n"
    )
    run = RUN.replace("binds =", "os.chmod(root, 0o777); binds =")
    done = user.run(user.python, "-c", run, code, "7:8").ok()
    assert "('/root/tmp/f', 'user.ocitool.owner'): b'7:8'" in done.stdout


def test_what_a_user_makes_is_the_users(run):
    found = run(
        "os.chown('/d', 7, 8); os.setresgid(8, 8, 8); os.setresuid(7, 7, 7); os.umask(0o027)\n"
        "os.mkdir('/d/sub/'); os.symlink('x', '/d/l'); os.mkfifo('/d/p'); os.mknod('/d/n')\n"
        "fd = os.open('/d/x', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666); os.write(fd, b'1')\n"
        "assert os.pread(fd, 9, 0) == b'1' and not os.get_inheritable(fd)\n"
        "fails(errno.EEXIST, os.open, '/d/x', os.O_CREAT | os.O_EXCL)\n"
        "assert os.stat('/d/x').st_mode & 0o777 == 0o640\n"
        "for path in ('/d/x', '/d/sub', '/d/l', '/d/p', '/d/n'):\n"
        "    found = os.lstat(path); assert (found.st_uid, found.st_gid) == (7, 8), path\n"
        "os.rename('/d/l', '/d/sub/m'); os.link('/d/p', '/d/sub/q')\n"
        "for path in ('/d/sub/m', '/d/sub/q'):\n"
        "    found = os.lstat(path); assert (found.st_uid, found.st_gid) == (7, 8), path\n"
    )
    assert {found[f"/root/d/{name}", OWNER] for name in ("sub", "x", "n")} == {b"7:8"}
    assert ("/root/d", CHILDREN) in found and ("/root/d/sub", CHILDREN) in found


def test_records_that_a_program_writes_itself_stand_for_none(run):
    run(
        "for record in (b'9' * 12 + b':1', b'1:2:c:3', b'x', b'1:-2', b'1:2:c:4294967296:0'):\n"
        "    os.setxattr('/f', 'user.ocitool.owner', record)\n"
        "    assert os.stat('/f').st_uid == 0, record\n"
        "os.setxattr('/f', 'user.ocitool.owner', b'4294967294:7')\n"
        "assert os.stat('/f').st_uid == 4294967294\n"
    )


def test_directories_that_are_setgid_give_their_group_to_what_root_makes(run):
    found = run(
        "os.chown('/d', -1, 50); os.chmod('/d', 0o2775)\n"
        "os.mkdir('/d/sub'); open('/d/sub/f', 'w').close(); open('/g', 'w').close()\n"
    )
    assert found["/root/d/sub", OWNER] == found["/root/d/sub/f", OWNER] == b"0:50"
    assert ("/root/g", OWNER) not in found


def test_what_the_mode_refuses_is_refused(run):
    run(
        "os.mkdir('/own'); os.chown('/own', 7, 8); os.chmod('/f', 0o640); os.chown('/f', 0, 8)\n"
        "os.setresgid(8, 8, 8); os.setresuid(7, 7, 7)\n"
        "fails(errno.EACCES, open, '/d/new', 'w'); fails(errno.EACCES, os.mkdir, '/new')\n"
        "fails(errno.EACCES, os.symlink, 'x', '/l'); fails(errno.EACCES, open, '/f', 'w')\n"
        "fails(errno.EPERM, os.chown, '/f', 7, 8); fails(errno.EPERM, os.chmod, '/f', 0o666)\n"
        "assert os.access('/f', os.R_OK) and not os.access('/f', os.W_OK)\n"
        "assert os.access('/own', os.W_OK | os.X_OK) and not os.access('/d', os.W_OK)\n"
        "open('/own/f', 'w').close(); os.chmod('/own/f', 0o600); os.chown('/own/f', 7, 8)\n"
        "fails(errno.EPERM, os.chown, '/own/f', 0, 0)\n"
        "fails(errno.EPERM, os.mknod, '/own/n', stat.S_IFCHR, os.makedev(1, 3))\n"
        "fails(errno.EACCES, open, '/f', 'r+'); fails(errno.EACCES, os.truncate, '/f', 0)\n"
        "for call in (os.unlink, os.rmdir, os.utime):\n"
        "    fails(errno.EACCES, call, '/f')\n"
        "fails(errno.EPERM, os.utime, '/f', (1, 1)); os.utime('/own/f', (1, 1))\n"
        "fails(errno.EACCES, os.rename, '/f', '/own/f')\n"
        "fails(errno.EACCES, os.rename, '/own/f', '/g')\n"
        "fails(errno.EACCES, os.link, '/own/f', '/g')\n"
        "os.mkdir('/own/d'); os.rename('/own/d/', '/own/e/'); os.rmdir('/own/e/')\n"
        "os.rename('/own/f', '/own/g'); os.truncate('/own/g', 0); os.unlink('/own/g')\n"
    )


def test_of_a_sticky_directory_everybody_removes_only_what_is_its_own(run):
    run(
        "os.chmod('/d', 0o1777); os.symlink('x', '/d/l'); os.setresuid(7, 7, 7)\n"
        "for name in ('f', 'l'): fails(errno.EPERM, os.unlink, f'/d/{name}')\n"
        "fails(errno.EPERM, os.rename, '/d/f', '/d/g')\n"
        "for call in (lambda: os.symlink('x', '/d/m'), lambda: os.mkdir('/d/m')):\n"
        "    call(); os.rename('/d/m', '/d/n')\n"
        "    remove = os.rmdir if os.path.isdir('/d/n') else os.unlink; remove('/d/n')\n"
    )


def test_a_server_knows_who_its_clients_are(run):
    run(
        "import _socket as s\n"
        "server = s.socket(s.AF_UNIX); server.bind('/socket'); server.listen()\n"
        "if os.fork() == 0:\n"
        "    os.setresgid(8, 8, 8); os.setresuid(7, 7, 7); client = s.socket(s.AF_UNIX)\n"
        "    client.connect('/socket'); os.read(client.fileno(), 1); os._exit(0)\n"
        "number, _ = server._accept(); peer = s.socket(fileno=number)\n"
        "pid, uid, gid = __import__('struct').unpack('iII', peer.getsockopt(1, 17, 12))\n"
        "assert (uid, gid) == (7, 8) and os.waitpid(pid, os.WNOHANG) == (0, 0)\n"
        "os.write(number, b'x'); os.waitpid(pid, 0)\n"
        "os.chown('/socket', 7, 8); assert os.stat('/socket', follow_symlinks=False).st_uid == 7\n"
    )


#: What a setuid and setgid program says of its IDs.
IDS = (
    "import shutil, subprocess\n"
    "shutil.copy('/usr/bin/id', '/id'); os.chown('/id', 5, 6); os.chmod('/id', 0o6755)\n"
    "os.setresgid(8, 8, 8); os.setresuid(7, 7, 7)\n"
    "output = subprocess.run(['/id'], stdout=-1, text=True).stdout\n"
)


def test_setuid_programs_have_the_ids_of_their_owner(run):
    run(
        IDS
        + "assert all(part in output for part in ('uid=7', 'gid=8', 'euid=5', 'egid=6')), output\n"
        "assert os.getresuid() == (7, 7, 7)\n"
    )


def test_with_no_new_privileges_they_do_not(rangeless_user):
    run = RUN.replace("owners_aside=True,", "owners_aside=True, no_new_privileges=True,")
    code = HEAD + IDS + "assert 'uid=7' in output and 'euid' not in output, output\n"
    assert outcome(rangeless_user, run, code)[0] == 0
