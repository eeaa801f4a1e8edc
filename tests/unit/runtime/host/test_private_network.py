"""Private networks that there are not, and what takes their place."""

from __future__ import annotations

import os

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import Network, Sandbox, Stdio, get_isolation
from ocitool_runtime.errors import NoPrivateNetwork, StepRefused
from ocitool_runtime.host import private_network
from ocitool_runtime.host.etc_files import host_files

NAMESPACE = "readlink /proc/self/ns/net"


@pytest.fixture
def helper(path_without_helpers, monkeypatch):
    """Return a function that makes a script the only helper on the PATH."""
    monkeypatch.setenv("PATH", str(path_without_helpers))

    def install(script, name="slirp4netns"):
        (path_without_helpers / name).write_text(f"#!/bin/sh\n{script}\n")
        (path_without_helpers / name).chmod(0o755)

    return install


@pytest.fixture
def tun():
    """Skip unless this user may open the device."""
    if not os.access(private_network.TUN, os.R_OK | os.W_OK):
        pytest.skip(f"needs {private_network.TUN}")


@pytest.mark.slow
@pytest.mark.usefixtures("helper")
def test_without_a_helper_the_default_is_the_network_of_the_host(run):
    ran = run(NAMESPACE, network="default")
    assert ran.ok().strip() == os.readlink("/proc/self/ns/net")
    reason = "a private network is not available: neither slirp4netns nor pasta is installed"
    assert ran.exit.warnings == (f"the host's network is used: {reason}",)


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("name", ["private", "bridge"])
def test_by_name_it_is_refused(run, name):
    with pytest.raises(NoPrivateNetwork, match="neither slirp4netns nor pasta") as refused:
        run("true", network=name)
    assert "install the package slirp4netns or passt, or use --network host" in refused.value.hint
    assert refused.value.exit_code == 125


def test_a_device_that_is_missing(run, helper, monkeypatch, tmp_path):
    helper("true", "pasta")
    monkeypatch.setattr(private_network, "TUN", f"{tmp_path}/tun")
    (warning,) = run("true", network="default").exit.warnings
    assert f"a private network is not available: cannot open {tmp_path}/tun: No such" in warning
    with pytest.raises(NoPrivateNetwork, match="cannot open") as refused:
        run("true", network="private")
    assert "--device /dev/net/tun" in refused.value.hint


def test_root_without_the_capability(monkeypatch):
    monkeypatch.setattr(private_network, "available", frozenset)
    with pytest.raises(NoPrivateNetwork, match="does not have CAP_NET_ADMIN"):
        private_network.helper(userns=False)


@pytest.mark.slow
@pytest.mark.usefixtures("tun")
@pytest.mark.parametrize(
    ("script", "said"), [("echo why not >&2; exit 3", "why not"), ("exit 0", "it ended")]
)
def test_a_helper_that_fails(run, helper, script, said):
    helper(script)
    why = f"cannot connect the private network: slirp4netns: {said}"
    ran = run(f"{NAMESPACE}; exit 7", network="default")
    assert (ran.code, ran.out.strip()) == (7, os.readlink("/proc/self/ns/net"))
    assert ran.exit.warnings == (f"the host's network is used: {why}",)
    with pytest.raises(StepRefused, match=f"^{why}$") as refused:
        run("true", network="private")
    assert refused.value.hint == "use --network host"


@pytest.mark.slow
@pytest.mark.usefixtures("tun")
def test_a_helper_that_fails_is_not_tried_again(make, helper, tmp_path):
    helper(f"echo tried >> {tmp_path}/calls; exit 1")
    isolation = get_isolation()
    warned = [
        len(isolation.start(make("true", network="default"), Stdio()).wait(60).warnings)
        for _ in range(3)
    ]
    assert warned == [1, 0, 0]
    assert (tmp_path / "calls").read_text() == "tried\n"


def test_another_failure_is_not_one_of_the_network(make):
    with pytest.raises(SandboxError, match="nobody-knows"):
        get_isolation().start(make("true", network="default", user="nobody-knows"), Stdio())


@pytest.mark.parametrize("network", ["host", "none"])
def test_other_networks_need_no_helper(run, helper, network):
    helper("exit 1")
    assert run("true", network=network).exit.warnings == ()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", "nameserver 10.0.2.3\n"),
        ("nameserver 192.0.2.1", "nameserver 192.0.2.1\n"),
        ("nameserver 127.0.0.53\n", "nameserver 10.0.2.3\n"),
        ("nameserver 127.0.0.1\nnameserver ::1\n", "nameserver 10.0.2.3\n"),
        ("nameserver fd00::3\n", "nameserver 10.0.2.3\n"),
        ("nameserver\n", "nameserver 10.0.2.3\n"),
        (
            "# nameserver 127.0.0.1\nsearch a.example\nnameserver 127.0.0.1\n"
            "nameserver 192.0.2.1\noptions ndots:2\n",
            "# nameserver 127.0.0.1\nsearch a.example\nnameserver 10.0.2.3\n"
            "nameserver 192.0.2.1\noptions ndots:2\n",
        ),
    ],
)
def test_name_servers(given, wanted):
    lines = given.encode().splitlines(keepends=True)
    assert b"".join(private_network.name_servers(lines)).decode() == wanted


def test_files_of_a_private_network():
    """Its own address, nothing of the host's names, and the name servers that are given."""
    sandbox = Sandbox(rootfs=(), args=(), network=Network.PRIVATE, hostname="box", dns=("::1",))
    files = {each["target"]: each["content"].decode() for each in host_files(sandbox)}
    addresses = [line.split()[0] for line in files["/etc/hosts"].splitlines()]
    assert addresses == ["127.0.0.1", "::1", "fe00::", "ff00::", "ff02::1", "ff02::2", "10.0.2.100"]
    assert files["/etc/resolv.conf"].splitlines()[-1] == "nameserver ::1"
