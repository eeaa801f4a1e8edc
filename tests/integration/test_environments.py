"""One image, to the byte, wherever a job builds it: on the host and in containers of all sorts.

The containers run ocitool's own image; what differs is what their engine lets them do.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.fixtures import builds, images
from tests.fixtures.programs import CHECKOUT

DOCKERFILES = CHECKOUT / "testdata/environments"
PROFILES = CHECKOUT / "testdata/seccomp"
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


@pytest.mark.campaign
@pytest.mark.parametrize("case", builds.CASES)
def test_it_is_the_same_in_each_isolation(built_in, case):
    """Each case that is compared with docker's and buildah's build, as three kinds of users."""
    assert len({built_in(mode, case) for mode in ("namespaces", "chroot", "single ID")}) == 1


@pytest.fixture(scope="module")
def built_in(root_only, containers, rangeless_user, run_cli, session_tree, busybox_base):
    """Return a function that builds a case in an isolation, and returns the ID."""
    place = Path(tempfile.mkdtemp(prefix="c", dir=session_tree))
    place.chmod(0o755)
    images.lay_out(yaml.safe_load((CHECKOUT / "testdata/builds/context.yaml").read_text()), place)
    for path in place.rglob("*"):  # the user reads all; owners do not count in a COPY
        mode = path.lstat().st_mode
        os.chown(path, rangeless_user.uid, rangeless_user.gid, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(mode)  # which chown has cleared of setuid
    how = {
        "namespaces": ("--isolation", "namespaces"),
        "chroot": ("--isolation", "chroot", "--driver", "vfs"),
        "single ID": ("--isolation", "namespaces"),
    }

    def build(mode, case):
        user = rangeless_user if mode == "single ID" else None
        root = (session_tree if user is None else user.home) / f"corpus-{mode}"
        text = builds.CASES[case].replace("busybox:base", busybox_base)
        text = f"ARG BASE={busybox_base}\n{text}" if "$BASE" in text else text
        dockerfile = place.with_name(f"{place.name}.Dockerfile")
        dockerfile.write_text(text)
        words = (*how[mode], "build", "-q", "-f", dockerfile, place)
        env = dict([EPOCH.split("=")])
        return run_cli(*words, root=root, env=env, user=user).ok().stdout

    return build
