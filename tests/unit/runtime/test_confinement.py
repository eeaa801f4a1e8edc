"""What a program may not do, tried from the inside."""

from __future__ import annotations

import os
import platform
import shutil

import pytest

from ocitool_runtime import Mount

STATUS = "while read key value; do echo $key $value; done < /proc/self/status"
MASKED = [
    "acpi",
    "kcore",
    "keys",
    "timer_list",
    "sched_debug",
    "scsi",
    "interrupts",
    "latency_stats",
]


def status(ran):
    return dict(line.split(":", 1) for line in ran.ok().splitlines() if ":" in line)


def test_capabilities_of_root_are_dockers_fourteen(run):
    found = {key: value.strip() for key, value in status(run(STATUS)).items()}
    assert found["CapBnd"] == found["CapPrm"] == found["CapEff"] == "00000000a80425fb"
    assert found["CapInh"] == found["CapAmb"] == "0" * 16  # CVE-2022-29162
    assert found["Seccomp"] == "2"
    assert found["NoNewPrivs"] == "0"  # docker's; sudo and crontab need it


def test_a_user_has_none(run):
    found = {key: value.strip() for key, value in status(run(STATUS, user="ann")).items()}
    assert found["CapPrm"] == found["CapEff"] == found["CapInh"] == "0" * 16
    assert found["CapBnd"] == "00000000a80425fb"


@pytest.fixture
def with_su(image, scratch):
    """A container in which everybody may become root: busybox keeps its setuid bit for su alone."""
    if not (image / "bin/busybox").exists():
        pytest.skip("needs a static busybox")
    (scratch / "upper/bin").mkdir(parents=True)
    shutil.copy(image / "bin/busybox", scratch / "upper/bin/su")
    (scratch / "upper/bin/su").chmod(0o4755)
    (scratch / "upper/etc").mkdir()
    (scratch / "upper/etc/passwd").write_text("root::0:0::/:/bin/sh\nann:x:7:8::/:/bin/sh\n")


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.usefixtures("with_su")
def test_a_setuid_program_has_the_capabilities_of_root_and_no_other(run, init):
    """As with docker: sudo and crontab work in a container of another user."""
    found = status(run(("su", "-c", STATUS), user="ann", init=init))
    assert found["Uid"].split() == ["0"] * 4
    assert found["CapEff"].strip() == found["CapBnd"].strip() == "00000000a80425fb"
    assert found["Seccomp"].strip() == "2"


@pytest.mark.slow
@pytest.mark.usefixtures("with_su")
def test_no_new_privileges_makes_the_setuid_bit_void(run):
    ran = run(("su", "-c", STATUS), user="ann", no_new_privileges=True)
    assert ran.code != 0
    assert status(run(STATUS, user="ann", no_new_privileges=True))["NoNewPrivs"].strip() == "1"


@pytest.mark.slow
def test_capabilities_can_be_chosen(run):
    found = status(run(STATUS, capabilities=("chown", "CAP_KILL")))
    assert found["CapEff"].strip() == f"{1 | 1 << 5:016x}"
    assert status(run(STATUS, capabilities=()))["CapBnd"].strip() == "0" * 16
    assert status(run(STATUS, seccomp=False))["Seccomp"].strip() == "0"


CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return 0 if result >= 0 else ctypes.get_errno()
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are x86_64's")
def test_system_calls_are_filtered(host_python):
    wanted = {
        "call(272, 0x10000000)": 1,  # unshare, a user namespace
        "call(165, 0, 0, 0, 0, 0)": 1,  # mount
        "call(250, 0, 0)": 1,  # keyctl
        "call(321, 0, 0, 0)": 1,  # bpf
        "call(425, 1, 0)": 1,  # io_uring_setup
        "call(323, 0)": 1,  # userfaultfd
        "call(56, 0x10000011, 0, 0, 0, 0)": 1,  # clone, a user namespace
        "call(435, 0, 0)": 38,  # clone3: a C library falls back to clone
        "call(41, 40, 1, 0)": 1,  # socket, AF_VSOCK
        "call(41, 1, 1, 0)": 0,  # socket, AF_UNIX
        "call(135, 0x0040000)": 1,  # personality, ADDR_NO_RANDOMIZE
        "call(135, 0xffffffff)": 0,
        "call(467, 0, 0, 0)": 38,  # newer than the list
        "call(400, 0)": 38,  # a hole
        "call(0x40000000 + 39)": 38,  # getpid of x32
        "call(39)": 0,  # getpid
    }
    code = CALLS + f"print([eval(text) for text in {list(wanted)}])"
    assert host_python(code).ok().strip() == str(list(wanted.values()))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions are x86's")
def test_calls_of_i386_programs_are_filtered_by_their_own_table(host_python):
    code = (
        CALLS
        + """
import mmap
def old(number):
    page = mmap.mmap(-1, 4096, prot=7)  # push rbx; mov eax, number; int 0x80; pop rbx; ret
    page.write(b"\\x53\\x31\\xdb\\xb8" + number.to_bytes(4, "little") + b"\\xcd\\x80\\x5b\\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
print(old(20) > 0, old(310), old(21), old(286), old(500))
"""
    )
    ran = host_python(code)
    if ran.exit.signal:
        pytest.skip("this kernel runs no i386 programs")
    assert ran.ok() == "True -1 -1 -1 -38\n"


def test_information_on_the_host_is_masked(run):
    script = "; ".join(
        f"cat /proc/{name} 2>/dev/null; ls /proc/{name}/ 2>/dev/null" for name in MASKED
    )
    assert run(f"{script}; ls /sys/firmware; true").ok() == ""


def test_kernel_settings_cannot_be_written(run):
    script = """
    for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/x /proc/bus/x /sys/x
    do (echo 1 > $path) 2>/dev/null && echo "wrote $path"; done; true
    """
    assert run(script).ok() == ""


def test_the_devices_are_dockers(run):
    script = "cd /dev; ls; echo x > null; cat null; stat -c %a null tty; readlink ptmx; readlink fd"
    out = run(script).ok().split()
    assert set(out) >= {"full", "null", "random", "urandom", "zero", "tty", "pts", "shm", "mqueue"}
    assert out[-4:] == ["666", "666", "pts/ptmx", "/proc/self/fd"]
    assert "console" not in out


@pytest.mark.slow
def test_namespaces_are_new(run):
    names = ("mnt", "pid", "ipc", "uts", "cgroup", "net")
    script = "; ".join(f"readlink /proc/self/ns/{name}" for name in names)
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    assert not set(run(script).ok().split()) & set(outside)
    assert run("readlink /proc/self/ns/net", network="host").ok().strip() == outside[-1]


def test_only_its_own_processes_are_seen(run):
    assert run("echo /proc/[0-9]*").ok() == "/proc/1\n"


def test_no_descriptor_leaks(run, host_python):
    """CVE-2024-21626: a directory of the host that is left open is a way out."""
    code = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    held = [os.open("/", os.O_RDONLY), os.open("/", os.O_PATH)]
    for fd in held:
        os.set_inheritable(fd, True)
    try:
        assert host_python(code).ok() == "['0', '1', '2', '3']\n"  # 3 is the listing
    finally:
        for fd in held:
            os.close(fd)


def test_with_init_nothing_leaks_either(run):
    out = run("ls -l /proc/1/fd /proc/1/exe 2>&1; true", init=True).ok()
    assert "denied" in out or out == ""  # the container init cannot be inspected
    assert "->" not in out


def test_signals_are_as_at_birth(host_python):
    """Python ignores SIGPIPE; what is ignored stays so over exec."""
    code = (
        "import re; text = open('/proc/self/status').read();"
        "print(re.findall(r'Sig(?:Blk|Ign):\\t(\\w+)', text))"
    )
    # The Python in the sandbox ignores SIGPIPE and SIGXFSZ again, by itself.
    assert host_python(code).ok() == "['0000000000000000', '0000000001001000']\n"


@pytest.mark.slow
def test_the_loopback_is_up_and_alone(host_python):
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
print(sorted(name for _, name in socket.if_nameindex()).index("lo"))
"""
    assert host_python(code).ok() == "0\n"


def test_a_host_volume_cannot_be_remounted_writable(run, tmp_path):
    volume = Mount(type="bind", source=str(tmp_path), target="/v", options=("ro",))
    assert (
        run(
            "mount -o remount,rw,bind /v /v 2>/dev/null || touch /v/x || echo refused",
            mounts=(volume,),
        ).ok()
        == "refused\n"
    )
