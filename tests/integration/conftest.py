"""Fixtures for tests against real servers and other tools; each skips with its reason.

``tests/interop/up`` brings all of them up on a Debian machine; its ``--env`` gives the
variables that are read here: ``REGISTRY``, ``DOCKER_HOST`` and ``OCITOOL_DOCKER``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.errors import DriverUnavailable
from tests.fixtures.programs import SOURCE_ROOTS, execute
from tests.fixtures.stores import LARGE, large, put_image

#: Registries of the tests are on loopback: no proxy stands between.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)


@dataclass(frozen=True, slots=True)
class Tool:
    """Another tool, with the words it always needs here.

    ``words`` stand before the command, ``after`` right behind it, by its name.
    """

    words: tuple[str, ...]
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, *args: str | os.PathLike[str]) -> list[str]:
        """Return the whole command line, for a process that the test keeps hold of."""
        given = [os.fspath(arg) for arg in args]
        return [*self.words, *given[:1], *self.after.get(given[0], ()), *given[1:]]

    def __call__(
        self,
        *args: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 300.0,  # seconds
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the tool; a failure fails the test unless *check* is false."""
        done = subprocess.run(
            self.command(*args),
            env={**os.environ, **self.env, **(env or {})},
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        if check and done.returncode != 0:
            pytest.fail(
                f"{' '.join(self.command(*args))}: exit status {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs the program {name}; tests/interop/up installs it")
    return found


# -- servers -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def registry() -> str:
    """``HOST:PORT`` of a real registry on plain HTTP, from ``$REGISTRY``."""
    address = os.environ.get("REGISTRY", "")
    if not address:
        pytest.skip("needs a registry: $REGISTRY is not set; see tests/interop/up")
    try:
        with _direct.open(f"http://{address}/v2/", timeout=5):
            return address
    except OSError as error:
        pytest.skip(f"needs a registry: {address} does not answer: {error}")


def _published(registry: str, name: str) -> str:
    request = urllib.request.Request(
        f"http://{registry}/v2/{name}/manifests/base", headers={"Accept": MANIFESTS}, method="HEAD"
    )
    try:
        with _direct.open(request, timeout=5):
            return f"{registry}/{name}:base"
    except urllib.error.HTTPError as error:
        error.close()
        pytest.skip(f"needs {name}:base in the registry; tests/interop/up puts it there")


@pytest.fixture(scope="session")
def busybox_base(registry: str) -> str:
    """Reference of a base image of a single static program and its many names."""
    return _published(registry, "busybox")


@pytest.fixture(scope="session")
def debian_base(registry: str) -> str:
    """Reference of a minimal Debian."""
    return _published(registry, "debian")


@pytest.fixture(scope="session")
def network(registry: str) -> None:
    """Skip unless this machine reaches Debian's mirror, which RUN apt-get asks."""
    place = ("deb.debian.org", 80)
    proxied = any(os.environ.get(name) for name in ("http_proxy", "HTTP_PROXY"))
    try:
        if not proxied:
            socket.create_connection(place, timeout=5).close()
    except OSError as error:
        pytest.skip(f"needs the network: {place[0]}: {error}")


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody listens on, and that the kernel gives to nobody by itself."""
    for port in range(first := 20_000 + os.getpid() % 10_000, first + 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    pytest.fail("no port is free")


# -- other tools ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def docker() -> Tool:
    """The docker client and a running engine without a bridge: ``--network host`` or none."""
    program = _program(os.environ.get("OCITOOL_DOCKER", "docker"))
    tool = Tool((program,), after={"build": ("--network", "host"), "run": ("--network", "host")})
    done = tool("version", "--format", "{{.Server.Version}}", check=False)
    if done.returncode != 0:
        pytest.skip(f"needs a docker engine: {done.stderr.strip()[-200:]}")
    return tool


@pytest.fixture(scope="session")
def skopeo(session_tree: Path) -> Tool:
    """skopeo, as it stands: give ``--tls-verify=false`` (or ``--src-``, ``--dest-``) yourself.

    It looks for credentials in a directory of its own, as /run/containers may be closed to users.
    """
    own = tempfile.mkdtemp(prefix="s", dir=session_tree)
    return Tool((_program("skopeo"),), env={"XDG_RUNTIME_DIR": own})


@pytest.fixture(scope="session")
def _containers(session_tree: Path) -> Iterator[tuple[str, ...]]:
    """Options that give podman and buildah a storage of their own."""
    place = Path(tempfile.mkdtemp(prefix="c", dir=session_tree))
    yield ("--root", f"{place}/root", "--runroot", f"{place}/run", "--storage-driver", "overlay")


@pytest.fixture(scope="session")
def umoci() -> Tool:
    """umoci."""
    return Tool((_program("umoci"),))


@pytest.fixture(scope="session")
def busybox_program() -> str:
    """A static program, which works inside any image."""
    return _program("busybox")


#: Debian 12's crun refuses hybrid cgroups; a limit above the hard one needs CAP_SYS_RESOURCE.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")


@pytest.fixture(scope="session")
def podman(root_only: None, _containers: tuple[str, ...]) -> Tool:
    """podman on runc with a storage of its own, which buildah shares."""
    _program("runc")
    plain = ("--tls-verify=false",)
    return Tool(
        (_program("podman"), *_containers, "--runtime", "runc", "--cgroup-manager", "cgroupfs"),
        after={
            "run": (*plain, *_LIMITS, "--network", "host"),
            "pull": plain,
            "push": plain,
        },
    )


@pytest.fixture(scope="session")
def buildah(root_only: None, _containers: tuple[str, ...]) -> Tool:
    """buildah on runc with a storage of its own, which podman shares."""
    _program("runc")
    plain = ("--tls-verify=false",)
    return Tool(
        (_program("buildah"), *_containers),
        after={
            "build": (
                "--runtime",
                "runc",
                *plain,
                *_LIMITS,
                "--network",
                "host",
                "--format",
                "docker",
            ),
            "pull": plain,
            "push": plain,
        },
    )


@pytest.fixture
def image(store_root):
    """An image of three large layers in the store; skips where they cannot be unpacked."""
    with Store.open(str(store_root)) as store:
        try:
            store.driver()
        except DriverUnavailable as error:
            pytest.skip(str(error))
        return put_image(store, LARGE, *(large(seed) for seed in range(3)))


@pytest.fixture
def in_docker(docker, debian_base, tmp_path):
    """Return a function that runs ocitool in a container of docker's defaults.

    It sees this machine's files, read-only, and shares its PIDs, so that the files' /proc is that
    of the container, too.
    """
    scratch = Path(tempfile.mkdtemp(prefix="docker-", dir=tmp_path))
    script = 'cd "$1" && shift && exec "$@"'
    env = {"PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS)), "HOME": str(scratch)}
    env["SOURCE_DATE_EPOCH"] = "1700000000"
    python = os.path.abspath(os.path.join(sys.prefix, "bin/python"))

    def run(*words, options=()):
        inside = ["chroot", "/host", "/usr/bin/env", "-i", f"PATH={os.defpath}"]
        inside += [f"{name}={value}" for name, value in env.items()]
        inside += ["sh", "-c", script, "sh", str(scratch), python, "-m", "ocitool"]
        mounts = ("-v", "/:/host:ro", "-v", f"{scratch}:/host{scratch}")
        command = ("run", "--rm", "--pid", "host", *mounts, *options, debian_base)
        place = ("--root", f"{scratch}/store", "--driver", "vfs")
        return execute([*docker.command(*command), *inside, *place, *map(str, words)])

    yield run
    shutil.rmtree(scratch)
