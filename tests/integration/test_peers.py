"""The peers themselves work here, so that a failure elsewhere is ours; so do the test images."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTDATA = Path(__file__).resolve().parents[2] / "testdata"


def test_docker_runs_the_small_base(docker, busybox_base):
    done = docker("run", "--rm", busybox_base, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("out\n", "err")


def test_podman_runs_the_small_base(podman, busybox_base):
    assert podman("run", "--rm", busybox_base, "echo", "out").stdout == "out\n"


def test_skopeo_reads_the_registry(skopeo, busybox_base):
    done = skopeo("inspect", "--tls-verify=false", f"docker://{busybox_base}")
    assert '"Layers"' in done.stdout


@pytest.mark.parametrize("kit", ["0", "1"], ids=["classic", "buildkit"])
def test_docker_builds_the_demo(docker, busybox_base, kit):
    tag = f"interop-demo:{kit}"
    context = TESTDATA / "demo"
    docker(
        *("build", "-t", tag, "--build-arg", f"BASE={busybox_base}", "--build-arg", "WHO=docker"),
        context,
        env={"DOCKER_BUILDKIT": kit},
    )
    try:
        done = docker("run", "--rm", tag)
        assert done.stdout == "hello docker, from process 1 in /demo\n"
    finally:
        docker("image", "rm", "-f", tag)


@pytest.mark.campaign
def test_docker_builds_the_web_image(docker, debian_base, network):
    docker(
        *("build", "-t", "interop-web:docker", "--build-arg", f"BASE={debian_base}"),
        TESTDATA / "web",
        env={"DOCKER_BUILDKIT": "1"},
    )


@pytest.mark.campaign
def test_buildah_builds_the_web_image(buildah, debian_base, network):
    buildah(
        *("build", "-t", "interop-web:buildah", "--build-arg", f"BASE={debian_base}"),
        TESTDATA / "web",
    )
    done = buildah(
        "inspect", "--type", "image", "--format", "{{.Docker.Config.User}}", "interop-web:buildah"
    )
    assert done.stdout.strip() == "www-data"


def test_an_ordinary_user_is_made_with_subordinate_ids(ordinary_user):
    user = ordinary_user
    done = user.run(user.python, "-c", "import os, ocitool; print(os.getuid(), os.getcwd())")
    assert done.ok().stdout == f"{user.uid} {user.home}\n"
    done = user.run(
        "unshare", "--user", "--map-root-user", "--map-auto", "cat", "/proc/self/uid_map"
    )
    assert int(done.ok().stdout.split()[-1]) >= 65_535


def test_the_command_line_runs_from_the_checkout(run_cli, store_root):
    done = run_cli("--version")
    assert done.code == 0 or "No module named ocitool.__main__" in done.stderr
