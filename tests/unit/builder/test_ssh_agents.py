"""--ssh: agents of key files and of the caller, and what OpenSSH's own programs say of them."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

from ocitool.builder.secrets.ssh.agents import Agents
from ocitool.builder.secrets.ssh.protocol import FAILURE, mpint, receive, send, split, string
from ocitool.builder.secrets.ssh.server import listening
from ocitool.errors import BuildError, FormatError, OcitoolError
from tests.fixtures.deadlines import within

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, ("ssh-keygen", "ssh-agent", "ssh-add"))),
        reason="needs OpenSSH's client (package openssh-client)",
    ),
]
KINDS = {"ed25519": 256, "ecdsa": 256, "ecdsa384": 384, "ecdsa521": 521, "rsa": 2048}
LIST = bytes([11])


def make_key(path: Path, kind: str, *more: str, passphrase: str = "") -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind.rstrip("0123456789") if kind != "ed25519" else kind,
         "-b", str(KINDS[kind]), "-N", passphrase, "-C", "comment", "-f", path, *more],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, Path]:
    """A key of each kind and format, in files."""
    top = tmp_path_factory.mktemp("keys")
    made = {kind: make_key(top / kind, kind) for kind in KINDS}
    made["pem"] = make_key(top / "pem", "rsa", "-m", "PEM")
    made["pkcs8"] = make_key(top / "pkcs8", "ecdsa", "-m", "PKCS8")
    return made


@pytest.fixture(scope="module")
def locked_keys(tmp_path_factory) -> list[Path]:
    """Keys with a passphrase."""
    top = tmp_path_factory.mktemp("locked-keys")
    new = make_key(top / "locked", "ed25519", passphrase="opensesame")
    old = make_key(top / "lockedpem", "rsa", "-m", "PEM", passphrase="opensesame")
    return [new, old]


def ssh_add(path: str, *words: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SSH_AUTH_SOCK": path, "LC_ALL": "C"}
    return subprocess.run(
        ["ssh-add", *map(str, words)], env=env, capture_output=True, text=True, check=False
    )


def public(key: Path) -> str:
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


@contextlib.contextmanager
def served(*words: str, name: str = ""):
    """Serve the agent *name* of --ssh *words*; yields the path of its socket."""
    agent = Agents(words).get(name)
    assert agent is not None
    with tempfile.TemporaryDirectory() as home, listening(agent, home) as path:
        yield path


def test_keys_of_files_are_listed_and_sign(keys):
    """``ssh-add -T`` verifies a signature by each key."""
    paths = ",".join(map(str, keys.values()))
    with served(f"default={paths}") as path:
        listed = ssh_add(path, "-L").stdout.splitlines()
        assert listed == [f"{public(key)} {key.name}" for key in keys.values()]
        for key in keys.values():
            done = ssh_add(path, "-T", f"{key}.pub")
            assert done.returncode == 0, (key, done.stderr)


def test_a_client_without_flags_gets_the_signature_of_old_servers(keys):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    key = load_ssh_public_key(public(keys["rsa"]).encode())
    blob, data = base64.b64decode(public(keys["rsa"]).split()[1]), b"data"
    with served(f"default={keys['rsa']}") as path, connected(path) as end:
        for flags, name, hash_ in (
            (0, b"ssh-rsa", hashes.SHA1()),
            (2, b"rsa-sha2-256", hashes.SHA256()),
            (4, b"rsa-sha2-512", hashes.SHA512()),
        ):
            send(end, bytes([13]) + string(blob) + string(data) + struct.pack(">I", flags))
            answer = receive(end)
            assert answer[0] == 14
            kind, signature, rest = split(b"\0" + split(answer, 1)[0], 2)
            assert (kind, rest) == (name, b"")
            key.verify(signature, data, PKCS1v15(), hash_)


@contextlib.contextmanager
def connected(path: str):
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(10)
        end.connect(path)
        yield end


def test_an_agent_of_keys_does_nothing_else(keys, tmp_path):
    other = make_key(tmp_path / "other", "ed25519")
    with served(f"default={keys['ed25519']}") as path:
        assert ssh_add(path, other).returncode != 0
        assert ssh_add(path, "-D").returncode != 0
        assert ssh_add(path, "-T", f"{other}.pub").returncode != 0
        assert ssh_add(path, "-L").stdout == f"{public(keys['ed25519'])} ed25519\n"


@pytest.fixture
def real_agent(tmp_path, keys):
    """The socket of an ssh-agent with one key."""
    path = str(tmp_path / "agent.sock")
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()  # it listens
    assert ssh_add(path, keys["ed25519"]).returncode == 0
    yield path
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("by_environment", [True, False])
def test_the_agent_of_the_caller_lists_and_signs_and_cannot_be_changed(
    keys, real_agent, monkeypatch, by_environment
):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    if by_environment:
        monkeypatch.setenv("SSH_AUTH_SOCK", real_agent)
    word = "mine" if by_environment else f"mine={real_agent}"
    with served(word, name="mine") as path:
        assert ssh_add(path, "-L").stdout == f"{public(keys['ed25519'])} comment\n"
        assert ssh_add(path, "-T", f"{keys['ed25519']}.pub").returncode == 0
        assert ssh_add(path, keys["rsa"]).returncode != 0
        assert ssh_add(path, "-D").returncode != 0
        assert ssh_add(path, "-x").returncode != 0
    assert ssh_add(real_agent, "-L").stdout == f"{public(keys['ed25519'])} comment\n"


def test_an_agent_that_has_ended_fails_its_clients_alone(tmp_path):
    path = str(tmp_path / "gone")
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(path)
    with served(f"default={path}") as offered, connected(offered) as end:
        send(end, LIST)
        assert receive(end) == FAILURE
        send(end, LIST)
        assert receive(end) == FAILURE


def test_an_agent_that_never_answers_does_not_keep_the_server(tmp_path):
    path = str(tmp_path / "mute")
    with socket.socket(socket.AF_UNIX) as mute, contextlib.ExitStack() as stack:
        mute.bind(path)
        mute.listen(200)
        with within(30), served(f"default={path}") as offered:
            for _ in range(70):  # more than are served at once
                send(stack.enter_context(connected(offered)), LIST)
            for _ in range(64):
                asked, _ = mute.accept()
                stack.enter_context(asked)
                assert receive(asked) == LIST


def test_what_is_malformed_ends_its_connection_and_no_other(keys):
    with served(f"default={keys['ed25519']}") as path, connected(path) as good:
        for wrong in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x09\x0d\0\0"):
            with connected(path) as bad:
                bad.sendall(wrong)
                bad.shutdown(socket.SHUT_WR)
                assert bad.recv(1) == b""
        for short in (b"\x0d", b"\x0d\0\0\0\xff", bytes([13]) + string(b"x")):
            with connected(path) as bad:
                send(bad, short)
                assert receive(bad) == b""
        for unknown in (b"\xff", b"\x1b", bytes([13]) + string(b"x") + string(b"y") + b"\0\0\0\0"):
            send(good, unknown)
            assert receive(good) == FAILURE
        send(good, LIST)
        assert receive(good)[0] == 12


def test_clients_that_stay_do_not_keep_the_server(keys):
    with served(f"default={keys['ed25519']}") as path, contextlib.ExitStack() as stack:
        stays = [stack.enter_context(connected(path)) for _ in range(100)]
        send(stays[0], LIST)
        assert receive(stays[0])[0] == 12
        directory = Path(path).parent
    assert not directory.exists()


def test_the_socket_is_of_this_user_alone(keys):
    with served(f"default={keys['ed25519']}") as path:
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


def test_ids_are_found_by_name_and_default_is_that_without(keys):
    agents = Agents([f"={keys['rsa']}", f"other={keys['ed25519']}"])
    assert list(agents) == ["default", "other"]
    assert agents.get("") is agents.get("default") is not None
    assert agents.get("other") is not None and agents.get("third") is None


@pytest.fixture
def wrong_files(tmp_path, monkeypatch, keys, locked_keys) -> None:
    """Files that are no keys, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for key in locked_keys:
        shutil.copy(key, tmp_path)
    shutil.copy(f"{keys['rsa']}.pub", tmp_path / "public")
    shutil.copy(keys["rsa"], tmp_path / "key")
    with open(tmp_path / "large", "wb") as file:
        file.truncate(200 << 10)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["default"], "no SSH agent for --ssh default: SSH_AUTH_SOCK is not set"),
        (["x="], "no SSH agent for --ssh x: SSH_AUTH_SOCK is not set"),
        (["default=/no/key"], "failed to find SSH agent or key: /no/key: No such file"),
        (["default=public"], "public is not a private SSH key"),
        (["default=large"], "the file has more than 102400 bytes"),
        (["default=."], "failed to read SSH key: open .: Is a directory"),
        (["default=/dev/null"], "/dev/null: expected a regular file, got a device"),
        (["default=locked"], "the SSH key locked is protected by a passphrase"),
        (["default=lockedpem"], "the SSH key lockedpem is protected by a passphrase"),
        (["default=socket,key"], "invalid --ssh default: a socket cannot be combined"),
        (["default=key", "default=key"], "invalid --ssh 'default=key': the id is used twice"),
        (["default=key", "=key"], "the id is used twice: default"),
    ],
)
def test_what_cannot_be_used_is_an_error_with_its_name(wrong_files, monkeypatch, words, text):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(OcitoolError) as caught:
        Agents(words)
    assert isinstance(caught.value, BuildError | FormatError) and text in str(caught.value)


def test_a_variable_that_names_no_socket_is_an_error(wrong_files):
    with pytest.raises(BuildError, match="key in SSH_AUTH_SOCK is not a socket"):
        Agents(["default"], {"SSH_AUTH_SOCK": "key"})


@pytest.mark.parametrize(
    ("value", "field"),
    [(0, b""), (1, b"\1"), (0x7F, b"\x7f"), (0x80, b"\0\x80"), (0x9A378F9B2E332A7, None)],
)
def test_numbers_are_fields_of_the_fewest_bytes(value, field):
    """RFC 4251, section 5, has the last as its example."""
    expected = bytes.fromhex("09a378f9b2e332a7") if field is None else field
    assert mpint(value) == string(expected)
