"""One image, to the byte, wherever a job builds it: on the host and in containers of all sorts.

The containers run ocitool's own image; what differs is what their engine lets them do.  What
Dockerfiles make in each mode on the host: ``test_build_repeated.py``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.programs import CHECKOUT

DOCKERFILES = CHECKOUT / "testdata/environments"
PROFILES = CHECKOUT / "testdata/seccomp"
EPOCH = "SOURCE_DATE_EPOCH=1700000000"
TIMEOUT = 1500.0  # seconds; other tests use the CPUs, too
UNCONFINED = ("--security-opt", "seccomp=unconfined")
#: The options of a container, by what it is.
CONTAINERS = {
    "docker's defaults": (),
    "no new privileges": ("--security-opt", "no-new-privileges"),
    "no device nodes, read-only root": ("--cap-drop", "MKNOD", "--read-only", "--tmpfs", "/tmp"),
    "root, no seccomp filter": UNCONFINED,
    "a user with subordinate IDs, no seccomp filter": (*UNCONFINED, "-u", "ocitool"),
    "a user without, no seccomp filter": (*UNCONFINED, "-u", "54321:0"),
    "CAP_SYS_ADMIN": ("--cap-add", "SYS_ADMIN"),
    "a seccomp profile that kills": ("--security-opt", f"seccomp={PROFILES}/kills.json"),
    "a user, podman's seccomp profile": (
        *("--security-opt", f"seccomp={PROFILES}/user-namespaces.json"),
        *("-u", "54321:0"),
    ),
}
#: The Dockerfiles with much to download are tried where it is hardest: chroot, and a single ID.
CASES = [
    *((name, "users") for name in CONTAINERS),
    ("docker's defaults", "apt"),
    ("a user without, no seccomp filter", "apt"),
    ("docker's defaults", "npm"),
    ("a user without, no seccomp filter", "gcc"),
    ("docker's defaults", "pip"),
    ("a user without, no seccomp filter", "pip"),
]


@pytest.fixture(scope="module")
def on_the_host(root_only, containers, network, run_cli, session_tree, debian_base):
    """Return a function that builds a Dockerfile as root on the host, and returns the ID."""
    context = session_tree / "environments"
    context.mkdir(exist_ok=True)

    def build(name):
        words = ("--build-arg", f"BASE={debian_base}", "-f", DOCKERFILES / f"{name}.Dockerfile")
        env = dict([EPOCH.split("=")])
        root = session_tree / "environments-store"
        how = ("--isolation", "namespaces", "build", "-q", "--network", "host")
        return run_cli(*how, *words, context, root=root, env=env, timeout=TIMEOUT).ok().stdout

    return build


@pytest.fixture(scope="module")
def in_a_container(ci_image, run_image, debian_base):
    """Return a function that builds a Dockerfile in a container, and returns the ID."""

    def build(where, name):
        options = (*CONTAINERS[where], "--rm", "-e", EPOCH)
        mounts = ("-v", f"{DOCKERFILES}:/dockerfiles:ro")
        words = ("build", "-q", "--network", "host", "--build-arg", f"BASE={debian_base}")
        words = (*words, "-f", f"/dockerfiles/{name}.Dockerfile", "/tmp")
        return run_image(*options, *mounts, ci_image, *words, timeout=TIMEOUT).ok().stdout

    return build


@pytest.fixture(scope="module")
def images(request, on_the_host, in_a_container):
    """Return a function that says which images a case makes; three are built at a time.

    Built are the cases that were selected.
    """
    items = [item for item in request.session.items if item.path == request.path]
    cases = [(item.callspec.params["where"], item.callspec.params["name"]) for item in items]
    with ThreadPoolExecutor(3) as pool:
        own = {name: pool.submit(on_the_host, name) for name in {name for _, name in cases}}
        made = {case: pool.submit(in_a_container, *case) for case in reversed(cases)}
        yield lambda case: (made[case].result(), own[case[1]].result())
        pool.shutdown(cancel_futures=True)  # of those that nobody asked for


@pytest.mark.campaign
@pytest.mark.parametrize(("where", "name"), CASES)
def test_the_image_is_that_of_the_host(images, where, name):
    made, own = images((where, name))
    assert made == own
