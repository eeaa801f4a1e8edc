"""``--network`` of run and build: what reaches what, and what is said where it cannot be had."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.fixtures.networks import address, require_helper
from tests.fixtures.programs import python_environment

pytestmark = pytest.mark.usefixtures("containers")
NAMESPACE = ("readlink", "/proc/self/ns/net")
MISSING = "a private network is not available: neither slirp4netns nor pasta is installed"


@pytest.fixture
def private():
    """Skip unless this user can have a private network."""
    from ocitool_runtime.host import private_network

    support = private_network.probe()
    if not support.ok:
        pytest.skip(support.reason)


@pytest.fixture
def without_helpers(path_without_helpers):
    """Variables in which neither helper is found."""
    return {"PATH": str(path_without_helpers)}


@pytest.fixture
def run(run_cli, tools_store):
    """Return a function that runs a command in a container with options."""

    def run(*options, words=NAMESPACE, **how):
        return run_cli(*options, "tools:1", *words, root=how.pop("root", tools_store), **how)

    return lambda *options, **how: run("run", "--rm", *options, **how)


def host():
    return os.readlink("/proc/self/ns/net")


#: Serves a file on port 80; docker's `nginx -t` binds it, too.
STEPS = """
FROM {base}
RUN echo own > /page && httpd -p 80 -h / && wget -q -O- http://127.0.0.1/page > /own
RUN wget -q -O /other http://{other}/
RUN ! wget -q -O- http://127.0.0.1:{loopback}/
"""


@pytest.mark.usefixtures("private")
def test_a_step_has_ports_of_its_own_and_no_loopback_of_the_host(
    run_cli, store_root, tmp_path, busybox_base, greeter
):
    there, loopback = address(), greeter("127.0.0.1")
    other = f"{there}:{greeter(there)}"
    text = STEPS.format(base=busybox_base, other=other, loopback=loopback)
    (tmp_path / "Dockerfile").write_text(text)
    words = ("build", "-t", "a:1", tmp_path)
    run_cli(*words, root=store_root).ok()
    shown = run_cli("run", "--rm", "a:1", "cat", "/own", "/other", root=store_root).ok()
    assert shown.stdout == "own\nhello\n"
    cached = run_cli(*words, "--network", "private", root=store_root).ok()
    assert cached.stderr.count("CACHED") >= 3  # one key for all networks that reach others
    fetch = ("wget", "-q", "-O-", f"http://127.0.0.1:{loopback}/")
    reached = run_cli("run", "--rm", "--network", "host", "a:1", *fetch, root=store_root)
    assert reached.ok().stdout == "hello\n"


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("options", [(), ("--network", "private"), ("--net", "bridge")])
def test_a_container_has_a_network_of_its_own(run, options):
    words = ("sh", "-c", "readlink /proc/self/ns/net; cat /proc/net/dev; cat /etc/hosts; hostname")
    done = run(*options, words=words).ok()
    namespace, *lines, name = done.stdout.splitlines()
    assert namespace != host()
    assert {line.split(":")[0].strip() for line in lines if ":" in line} >= {"lo", "eth0"}
    assert f"10.0.2.100\t{name}" in lines
    assert done.stderr == ""


def test_the_warning_comes_once_a_store(run_cli, tools_context, tmp_path, without_helpers):
    def call(root, *words):
        return run_cli("--driver", "vfs", *words, root=tmp_path / root, env=without_helpers).ok()

    for root in ("one", "two"):
        built = call(root, "build", "-q", "-t", "tools:1", tools_context)
        ran = [call(root, "run", "--rm", "tools:1", *NAMESPACE) for _ in range(2)]
        assert [done.stdout.strip() for done in ran] == [host()] * 2
        assert MISSING not in built.stderr  # it executed nothing
        assert ran[0].stderr == f"warning: the host's network is used: {MISSING}\n"
        assert ran[1].stderr == ""


def test_a_build_warns_too(run_cli, tools_context, tmp_path, without_helpers):
    root = tmp_path / "store"
    run_cli("build", "-q", "-t", "tools:1", tools_context, root=root).ok()
    (tmp_path / "Dockerfile").write_text("FROM tools:1\nRUN true\nRUN ls\n")
    words = ("build", "--pull=never", tmp_path)
    done = run_cli(*words, root=root, env=without_helpers).ok()
    assert done.stderr.count(MISSING) == 1
    done = run_cli(*words, "--no-cache", root=root, env=without_helpers).ok()
    assert MISSING not in done.stderr


def test_a_network_that_is_named_is_used_or_refused(run, without_helpers):
    done = run("--network", "private", env=without_helpers)
    assert done.code == 125
    assert f"Error: {MISSING}\n" in done.stderr
    assert "hint: install the package slirp4netns or passt, or use --network host" in done.stderr
    done = run("--network", "host", env=without_helpers).ok()
    assert (done.stdout.strip(), done.stderr) == (host(), "")


def test_the_settings_name_a_default(run, tmp_path):
    none = run(env={"OCITOOL_NETWORK": "none"}, words=("cat", "/proc/net/dev")).ok().stdout
    assert [line.split(":")[0].strip() for line in none.splitlines()[2:]] == ["lo"]
    config = tmp_path / "ocitool/config.toml"
    config.parent.mkdir()
    config.write_text('network = "host"\n')
    done = run(env={"XDG_CONFIG_HOME": str(tmp_path)}).ok()
    assert (done.stdout.strip(), done.stderr) == (host(), "")
    wrong = run(env={"OCITOOL_NETWORK": "mine"})
    assert wrong.code == 125
    assert "OCITOOL_NETWORK: network 'mine' is not supported" in wrong.stderr
    assert run("--network", "host", env={"OCITOOL_NETWORK": "mine"}).ok().stdout.strip() == host()


def test_a_build_takes_the_network_of_the_settings(run_cli, tools_context, tmp_path):
    root = tmp_path / "store"
    run_cli("build", "-q", "-t", "tools:1", tools_context, root=root).ok()
    (tmp_path / "Dockerfile").write_text("FROM tools:1\nRUN readlink /proc/self/ns/net\n")
    words = ("build", "--pull=never", tmp_path)
    done = run_cli(*words, root=root, env={"OCITOOL_NETWORK": "host"}).ok()
    assert host() in done.stderr
    done = run_cli(*words, root=root, env={"OCITOOL_NETWORK": "none"}).ok()
    assert "net:[" in done.stderr  # it has another cache key
    assert host() not in done.stderr


@pytest.mark.usefixtures("root_only")
def test_chroot_has_the_network_of_the_host_alone(run_cli, tools_context, tmp_path):
    def call(*words):
        return run_cli("--driver", "vfs", "--isolation", "chroot", *words, root=tmp_path)

    call("build", "-q", "-t", "tools:1", tools_context).ok()
    done = call("run", "--rm", "tools:1", "true").ok()
    assert done.stderr == ""
    done = call("run", "--rm", "--network", "private", "tools:1", "true")
    assert done.code == 125
    assert "isolation by chroot does not support network 'private'" in done.stderr


def information(run_cli, root, *words, **env):
    lines = run_cli(*words, "info", root=root, env=env).ok().stdout.splitlines()
    fields = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in fields if name.startswith("Network")}


def test_info_lists_networks(run_cli, store_root, without_helpers):
    found = information(run_cli, store_root, **without_helpers)
    assert found.pop("NetworkPrivate").startswith(f"{MISSING} (install the package")
    assert found == {"Network": "host", "NetworkHost": "supported", "NetworkNone": "supported"}
    found = information(run_cli, store_root, OCITOOL_NETWORK="none", **without_helpers)
    assert found["Network"] == "none"


@pytest.mark.usefixtures("private")
def test_info_names_the_helper(run_cli, store_root):
    found = information(run_cli, store_root)
    assert found["Network"] == "private"
    helper = "slirp4netns" if shutil.which("slirp4netns") else "pasta"
    assert found["NetworkPrivate"] == f"supported ({helper})"


@pytest.mark.usefixtures("root_only")
def test_info_of_chroot(run_cli, store_root):
    found = information(run_cli, store_root, "--isolation", "chroot")
    assert found["Network"] == "host"
    assert found["NetworkPrivate"] == "not supported by isolation chroot"


@pytest.mark.usefixtures("private")
def test_an_interrupt_leaves_no_helper(tools_store):
    script = "trap 'exit 9' INT; echo here; sleep 1000 & wait"
    words = ("--root", tools_store, "run", "--rm", "tools:1", "sh", "-c", script)
    process = subprocess.Popen(
        [sys.executable, "-m", "ocitool", *map(str, words)],
        env=python_environment(),
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"here\n"
        (shim,) = children(process.pid)
        handles = [os.pidfd_open(pid) for pid in (shim, *children(shim))]
        assert len(handles) == 3  # the shim, the helper and the container
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 9
    for handle in handles:
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(handle, 0)
        os.close(handle)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


ALLOWED = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
)


@pytest.mark.usefixtures("root_only")
def test_in_a_container_of_docker(in_docker, busybox_base):
    require_helper("slirp4netns")
    words = ("run", "--rm", busybox_base, "cat", "/proc/net/dev")
    in_docker("pull", "-q", busybox_base).ok()
    default = in_docker(*words).ok()  # by chroot, which has said so
    assert "network" not in default.stderr.replace("its network and its files", "")
    few = in_docker(*words, options=("--cap-add", "SYS_ADMIN")).ok()
    assert "the host's network is used: a private network is not available: this process" in (
        few.stderr
    )
    closed = in_docker(*words, options=(*ALLOWED, "--tmpfs", "/host/dev/net")).ok()
    assert "cannot open /dev/net/tun: No such file or directory" in closed.stderr
    opened = in_docker(*words, options=(*ALLOWED, "--device", "/dev/net/tun")).ok()
    assert {line.split(":")[0].strip() for line in opened.stdout.splitlines()[2:]} == {"lo", "eth0"}
    assert opened.stderr == ""
