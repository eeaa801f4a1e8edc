"""Networks of sandboxes, by both helpers and for three kinds of users."""

from __future__ import annotations

import json
import sys

import pytest

from tests.fixtures.networks import address, require_helper, with_tun
from tests.fixtures.programs import execute, python_environment

pytestmark = pytest.mark.slow

#: Runs Python code in a private network that a helper connects, on the host's read-only tree.
RUN = """
import os, sys
from ocitool_runtime import Mount, Sandbox, Stdio, get_isolation
from ocitool_runtime.host import private_network
from ocitool_runtime.host.userns import userns
helper, code = sys.argv[1:]
private_network._HELPERS = (getattr(private_network, f"_{helper}"),)
sandbox = Sandbox(
    rootfs=(Mount(type="bind", source="/", options=("rbind", "ro")),), network="private",
    args=(os.path.realpath(sys.executable), "-I", "-S", "-c", code), hostname="box",
)
with open(os.devnull) as null:
    sandbox = userns.usable_maps().applied_to(sandbox)
    done = get_isolation().start(sandbox, Stdio(stdin=null.fileno())).wait(60)
print(done.error, file=sys.stderr)
sys.exit(done.code)
"""
#: What that code begins with.
HEAD = """
import encodings.idna, json, os, socket, threading
def ask(host, port):
    try:
        with socket.create_connection((host, port), timeout=3) as connection:
            return connection.recv(12).decode()
    except OSError:
        return ""
def ask_all(peers):
    found = {}
    def one(peer):
        found[peer] = ask(*peer)
    threads = [threading.Thread(target=one, args=(peer,)) for peer in peers]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return [found[peer] for peer in peers]
"""
ANSWER = "HTTP/1.0 200"


@pytest.fixture(params=["slirp4netns", pytest.param("pasta", marks=pytest.mark.campaign)])
def private(request, sandbox_user):
    """Return a function that runs code in a private network, and returns what it prints."""
    require_helper(request.param)

    def run(code):
        python, env = (
            (sys.executable, python_environment())
            if sandbox_user is None
            else (sandbox_user.python, sandbox_user.env)
        )
        words = with_tun(sandbox_user, python, "-c", RUN, request.param, HEAD + code)
        done = execute(words, env=env)
        return json.loads(done.ok().stdout)

    return run


def test_loopback_of_the_host_is_not_reached_and_other_addresses_are(private, greeter):
    other = address()
    ports = greeter("127.0.0.1"), greeter("::1"), greeter(other)
    v4, v6 = ports[:2]
    closed = [
        ("127.0.0.1", v4),
        ("::1", v6),
        ("10.0.2.2", v4),
        ("10.0.2.3", v4),
        ("10.0.2.100", v4),
    ]
    found = private(f"print(json.dumps(ask_all({[*closed, (other, ports[2])]})))")
    assert found == [""] * len(closed) + [ANSWER]


@pytest.mark.parametrize("user", [0, 7])
def test_low_ports_are_its_own(private, user):
    code = f"""
os.setresuid({user}, {user}, {user})
server = socket.create_server(("0.0.0.0", 80))
accept = lambda: server.accept()[0].sendall(b"own")
threading.Thread(target=accept, daemon=True).start()
names = [name for _, name in socket.if_nameindex()]
print(json.dumps([ask("127.0.0.1", 80), names, socket.gethostbyname("box")]))
"""
    assert private(code) == ["own", ["lo", "eth0"], "10.0.2.100"]


#: Asks the name server of /etc/resolv.conf what another program answers on the host's loopback.
ASK_SERVER = """
server = open("/etc/resolv.conf").read().split()[1]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(20)
sock.sendto(b"question", (server, 53))
print(json.dumps([server, sock.recv(99).decode()]))
"""
#: In a network namespace of its own: a name server on loopback, and then the words.
NAME_SERVER = """
import socket, subprocess, sys, threading
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.53", 53))
def serve():
    while True:
        question, peer = sock.recvfrom(99)
        sock.sendto(b"answer to " + question, peer)
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
ALONE = """
printf 'nameserver 127.0.0.53\\noptions timeout:1 attempts:1\\n' > "$1"
mount --bind "$1" /etc/resolv.conf && ip link set lo up
ip link add eth0 type veth peer name eth1 && ip addr add 198.51.100.1/24 dev eth0
ip link set eth0 up && ip link set eth1 up && ip route add default via 198.51.100.2
exec "${@:2}"
"""


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("helper", ["slirp4netns", "pasta"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (ASK_SERVER, ["10.0.2.3", "answer to question"]),
        ("""
try:
    socket.getaddrinfo("name.example", 80)
except socket.gaierror:
    print(json.dumps("no name"))
""", "no name"),
    ],
)  # fmt: skip
def test_a_name_server_on_loopback(helper, code, said, tmp_path):
    for program in ("unshare", "ip", helper):
        require_helper(program)
    python = (sys.executable, "-c")
    words = (*python, NAME_SERVER, *python, RUN, helper, HEAD + code)
    alone = ("unshare", "--mount", "--net", "bash", "-c", ALONE, "bash", str(tmp_path / "resolv"))
    done = execute((*alone, *words), env=python_environment())
    assert json.loads(done.ok().stdout) == said
