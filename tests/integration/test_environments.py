"""One image, to the byte, wherever a job builds it: on the host and in containers of all sorts.

The containers run ocitool's own image; what differs is what their engine lets them do.
"""

from __future__ import annotations

import pytest

from tests.fixtures.programs import CHECKOUT

DOCKERFILES = CHECKOUT / "testdata/environments"
EPOCH = "SOURCE_DATE_EPOCH=1700000000"
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
}
#: The Dockerfiles with much to download are tried where it is hardest: chroot, and a single ID.
CASES = [
    *((name, "users") for name in CONTAINERS),
    ("docker's defaults", "apt"),
    ("a user without, no seccomp filter", "apt"),
    ("docker's defaults", "npm"),
    ("a user without, no seccomp filter", "gcc"),
]


@pytest.fixture(scope="module")
def on_the_host(root_only, containers, network, run_cli, session_tree, debian_base):
    """Return a function that builds a Dockerfile as root on the host, once, and returns the ID."""
    known = {}
    context = session_tree / "environments"
    context.mkdir(exist_ok=True)

    def build(name):
        if name not in known:
            words = ("--build-arg", f"BASE={debian_base}", "-f", DOCKERFILES / f"{name}.Dockerfile")
            env = dict([EPOCH.split("=")])
            root = session_tree / "environments-store"
            how = ("--isolation", "namespaces", "build", "-q", "--network", "host")
            known[name] = run_cli(*how, *words, context, root=root, env=env).ok().stdout
        return known[name]

    return build


@pytest.mark.campaign
@pytest.mark.parametrize(("where", "name"), CASES)
def test_the_image_is_that_of_the_host(ci_image, run_image, on_the_host, debian_base, where, name):
    options = (*CONTAINERS[where], "--rm", "-e", EPOCH)
    mounts = ("-v", f"{DOCKERFILES}:/dockerfiles:ro")
    words = ("build", "-q", "--network", "host", "--build-arg", f"BASE={debian_base}")
    words = (*words, "-f", f"/dockerfiles/{name}.Dockerfile", "/tmp")
    done = run_image(*options, *mounts, ci_image, *words).ok()
    assert done.stdout == on_the_host(name)
