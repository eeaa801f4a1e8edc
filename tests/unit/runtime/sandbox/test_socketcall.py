"""Sockets of i386 programs: socketcall(2) opens what socket(2) opens, and no more."""

from __future__ import annotations

import platform

import pytest

from ocitool_runtime.host.isolations import namespaces
from ocitool_runtime.host.seccomp import _NO_SOCKETS
from ocitool_runtime.spec import DEFAULT_CAPABILITIES
from tests.unit.runtime.single_id import OWNER, recorded

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the code is x86's")

#: Calls as i386 programs do, from memory that 32 bits can name.
OLD = """
import ctypes, errno, mmap, os, socket, struct
page = mmap.mmap(-1, 4096, flags=0x40 | 0x22, prot=7)  # MAP_32BIT
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
def old(number, first, second=0):
    words = (b"\\xb8", number), (b"\\xbb", first), (b"\\xb9", second), (b"\\xba", 0)
    code = b"".join(op + struct.pack("<I", value & 0xffffffff) for op, value in words)
    page[:len(code) + 5] = b"\\x53" + code + b"\\xcd\\x80\\x5b\\xc3"
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
def socketcall(*arguments, call=1):
    page[256:256 + 4 * len(arguments)] = struct.pack(f"<{len(arguments)}i", *arguments)
    return old(102, call, address + 256)
def name(result):
    return "opened" if result >= 0 else errno.errorcode[-result]
"""


@pytest.fixture
def old(host_python):
    """Return a function that runs code which makes calls as i386 programs do."""

    def run(code, **fields):
        ran = host_python(OLD + code, **fields)
        if ran.exit.signal:
            pytest.skip("this kernel runs no i386 programs")
        return ran.ok()

    return run


@pytest.mark.slow
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_what_socket_refuses_socketcall_refuses(old, no_new_privileges):
    families = sorted(_NO_SOCKETS)
    code = f"print([name(socketcall(family, 5, 0)) for family in {families}])"
    wanted = ["EPERM"] * len(families)
    assert old(code, no_new_privileges=no_new_privileges) == f"{wanted}\n"
    code = f"print([name(old(359, family, 5)) for family in {families}])"
    assert old(code, no_new_privileges=no_new_privileges) == f"{wanted}\n"


@pytest.mark.slow
def test_what_needs_a_privilege_is_not_made_for_others(old):
    """The shim has capabilities that the caller may not have."""
    asked = ((2, 3, 1), (17, 3, 768), (16, 3, 0), (1, 9, 0))
    code = f"print([name(socketcall(*each)) for each in {asked}])"
    assert old(code, capabilities=()) == f"{['EPERM'] * 4}\n"


def test_a_connection_of_a_32_bit_program(old):
    code = """
one, two = (socket.socket(fileno=socketcall(2, 1, 6)) for _ in range(2))
one.bind(("127.0.0.1", 0)); one.listen(); two.connect(one.getsockname())
two.send(b"said"); print(one.accept()[0].recv(10).decode())
unix, packets = socketcall(1, 1, 0), socketcall(10, 2, 17)
flags = socketcall(2, 2 | 0o4000 | 0o2000000, 0)
print(unix >= 0, packets >= 0, os.get_blocking(flags), os.get_inheritable(flags),
      os.get_blocking(packets), os.get_inheritable(packets))
print(os.readlink(f"/proc/self/fd/{unix}")[:8])
"""
    assert old(code) == "said\nTrue True False False True True\nsocket:[\n"


def test_other_calls_of_socketcall_are_the_kernels(old):
    code = "print(name(socketcall(1, 1, 0, address + 512, call=8)), name(socketcall(9, 9, call=9)))"
    assert old(code) == "opened EBADF\n"


def test_a_pointer_that_leads_nowhere(old):
    assert old("print(name(old(102, 1, 16)), name(old(102, 1, 0xfffffffe)))") == "EFAULT EFAULT\n"


@pytest.mark.slow
def test_callers_that_are_killed_meanwhile_stop_nobody(old):
    code = """
import signal, time
for turn in range(200):
    pid = os.fork()
    if pid == 0:
        while True:
            os.close(socketcall(2, 1, 0))
    time.sleep(turn % 10 / 5000)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(name(socketcall(2, 1, 0)))
"""
    assert old(code) == "opened\n"


def test_without_an_answer_it_is_not_supported(old, monkeypatch):
    """A kernel or an outer sandbox that lets nobody listen; musl and Go call socket then."""
    plain = namespaces.make_plan
    monkeypatch.setattr(namespaces, "make_plan", lambda *given: {**plain(*given), "notifying": b""})
    assert old("print(name(socketcall(2, 1, 0)), name(old(359, 2, 1)))") == "ENOSYS opened\n"


@pytest.mark.slow
def test_the_capabilities_do_not_matter(old):
    code = "print(name(socketcall(40, 1, 0)), name(socketcall(2, 1, 0)))"
    for capabilities in ((), DEFAULT_CAPABILITIES):
        assert old(code, capabilities=capabilities) == "EPERM opened\n"


@pytest.mark.slow
def test_it_belongs_to_the_caller(old):
    code = """
os.setgid(GID); os.setuid(UID)
for made in (socketcall(2, 1, 0), socketcall(1, 1, 0), socket.socket().detach()):
    print(os.fstat(made).st_uid, os.fstat(made).st_gid)
"""
    assert old(f"UID, GID = 0, 0\n{code}") == "0 0\n" * 3
    assert old(f"UID, GID = 12, 13\n{code}") == "12 13\n" * 3


@pytest.mark.slow
def test_with_a_single_id_nobody_makes_them(rangeless_user):
    """The thread that answers there answers chown and mknod alone."""
    code = """
os.chown('/f', 3, 4)
assert name(socketcall(40, 1, 0)) == name(socketcall(2, 1, 0)) == "ENOSYS"
"""
    assert recorded(rangeless_user, OLD + code)["/root/f", OWNER] == b"3:4"
