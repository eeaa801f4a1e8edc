"""The image of ``make image``, and the recipes of ``docs/ci.md`` with it under docker.

A recipe builds and pushes with its own commands, user, privileges and volumes; a second job finds
in the recipe's cache what the first one has built.
"""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.request
from pathlib import Path

import pytest

from tests.fixtures import recipes
from tests.fixtures.programs import CHECKOUT, Finished, execute
from tests.fixtures.recipes import HOST, SECRET, Container, Volumes
from tests.fixtures.servers import PASSWORD, USER, protected_registry
from tests.fixtures.trees import remove_tree

MODES = CHECKOUT / "docs/modes.md"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
#: RUN with other owners and another user, of which no single ID is enough.
DEBIAN = """\
FROM {debian}
RUN useradd --create-home app && install -o app -m 4750 /bin/true /bin/it
USER app
RUN echo "$(id -un) $(stat -c %U:%a /bin/it)" > ~/made && cat ~/made
"""
FULL = """\
FROM {busybox}
RUN echo app:x:7:7::/home/app:/bin/sh >> /etc/passwd && mkdir -p /home/app && cp /bin/busybox /it
RUN chown 7 /it /home/app && chmod 4750 /it
USER app
RUN echo "$(id -un) $(stat -c %U:%a /it)" > ~/made && cat ~/made
"""
SIMPLE = 'FROM {busybox}\nRUN echo "$(id -u)" > /made && cat /made\n'
COPY = "FROM {busybox}\nCOPY kept /made\n"

RECIPES = {
    "GitLab CI, docker executor": (recipes.gitlab, FULL),
    "GitLab CI, kubernetes executor": (lambda volumes: recipes.gitlab(volumes, "kubernetes"), FULL),
    "GitHub Actions": (recipes.actions, FULL),
    "Kubernetes Job": (recipes.job, DEBIAN),
    "Kubernetes Job with isolated RUN": (recipes.isolated_job, FULL),
    "Kubernetes Job, single ID": (recipes.single_id_job, FULL),
    "Tekton": (recipes.tekton, FULL),
    "OpenShift": (recipes.openshift, COPY),
    "OpenShift, root": (recipes.openshift_root, FULL),
    "Jenkins": (recipes.jenkins, FULL),
}
#: Where a recipe's cache is an archive: the store, and what the archive keeps of it.
ARCHIVES = {
    "GitLab CI, docker executor": "source/.ocitool",
    "GitLab CI, kubernetes executor": "source/.ocitool",
    "GitHub Actions": "store",
}
ARCHIVED = ("db.sqlite", "format", "indexes", "oci")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_nothing_that_the_tests_do_not_execute(name, tmp_path):
    make, _ = RECIPES[name]
    containers = make(Volumes(tmp_path))
    script = " ".join(word for each in containers for word in each.words)
    script += "".join(path.read_text() for path in tmp_path.glob("scripts/*"))
    assert re.search(rf"build --push -t \"?({HOST}|\$CI_REGISTRY_IMAGE)", script)


def test_every_recipe_is_executed():
    headings = re.findall(r"^## (.*)", recipes.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    others = {heading for heading in headings if not recipes.documents(heading)}
    assert set(headings) - others == {name.partition(", ")[0] for name in RECIPES} - {
        "GitLab CI",
        "Jenkins",
    } | {name for name in RECIPES if name.startswith("GitLab")} | {"From kaniko"}
    assert others == {"What all recipes do", "Jenkins"}


def test_archives_keep_what_the_page_says():
    page = recipes.PAGE.read_text(encoding="utf-8")
    (job,) = recipes.documents("GitLab CI, docker executor")[0].values()
    assert sorted(job["cache"]["paths"]) == [f".ocitool/{name}" for name in ARCHIVED]
    paths = re.findall(r"/var/lib/ocitool/(\S+)", page)
    assert sorted(paths) == list(ARCHIVED)


# -- the image -----------------------------------------------------------------------------


@pytest.mark.campaign
def test_two_builds_make_one_image(built, make_image):
    """The second one as in a container of docker's defaults."""
    again = make_image("again", OCITOOL_ISOLATION="chroot", OCITOOL_DRIVER="vfs")
    assert again.inspect()["Id"] == built.inspect()["Id"]
    assert again.inspect()["Digest"] == built.inspect()["Digest"]


@pytest.mark.campaign
def test_podman_runs_it(podman, built):
    assert podman("run", "--rm", built.name, "version").stdout.startswith("Version: ")


@pytest.mark.campaign
def test_containerd_runs_it(built, docker):
    state = Path(os.environ.get("DOCKER_HOST", "").removeprefix("unix://")).parent
    socket = state / "docker-run/containerd/containerd.sock"
    if not socket.exists():
        pytest.skip("needs the containerd of tests/interop/up")
    name = f"ocitool-{os.getpid()}"
    ctr = ("ctr", "--address", socket, "--namespace", name)
    try:
        execute([*ctr, "images", "pull", "--plain-http", built.name]).ok()
        shown = execute([*ctr, "run", "--rm", built.name, name]).ok().stdout  # its own command
        assert shown.startswith("Usage: ocitool")
    finally:
        execute([*ctr, "snapshots", "--snapshotter", "overlayfs", "rm", name])
        execute([*ctr, "images", "rm", "--sync", built.name])
        execute(["ctr", "--address", socket, "namespaces", "rm", name])
        top = Path("/sys/fs/cgroup")
        for cgroup in (*top.glob(name), *top.glob(f"*/{name}")):  # containerd leaves it
            cgroup.rmdir()


@pytest.mark.campaign
def test_docker_runs_it_as_a_command_and_as_a_shell(ci_image, run_image):
    assert run_image("--rm", ci_image, "--version").ok().stdout.startswith("ocitool version")
    assert run_image("--rm", ci_image).ok().stdout.startswith("Usage: ocitool")
    shell = ("--rm", "--entrypoint", "", "-e", "PYTHONPATH=/tmp", ci_image, "sh", "-ec")
    programs = ("git", "slirp4netns", "fuse-overlayfs", "newuidmap", "tar", "gzip")
    found = run_image(*shell, f"which {' '.join(programs)}; ocitool info").ok().stdout
    assert all(f"/{program}\n" in found for program in programs)
    assert "Root:                /var/lib/ocitool\n" in found
    kaniko = "/busybox/sh -ec 'test -w /kaniko/ssl/certs; exec /kaniko/executor version'"
    assert "Version" in run_image(*shell, kaniko).ok().stdout
    files = "find /usr/lib/git-core /usr/local/lib/python3* -xdev -newermt 2001-09-10"
    assert run_image(*shell, files).ok().stdout == ""  # SOURCE_DATE_EPOCH


# -- the recipes ---------------------------------------------------------------------------


@pytest.fixture
def protected(tmp_path, free_port):
    """A registry that wants the credentials of the recipes' secret."""
    with protected_registry(tmp_path / "protected", free_port) as address:
        yield address


@pytest.fixture
def volumes(tmp_path, protected):
    """A job's volumes, with the secret."""
    (tmp_path / "volumes").mkdir()
    volumes = Volumes(tmp_path / "volumes")
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config = volumes.path("secret") / "config.json"
    config.write_text(json.dumps({"auths": {protected: {"auth": login}}}))
    config.chmod(0o644)
    yield volumes
    remove_tree(volumes.top)


@pytest.fixture
def run_job(run_image, ci_image, protected, volumes):
    """Return a function that runs the containers of a job, and returns what the last one said."""

    def run_job(containers: list[Container], check: bool = True) -> Finished:
        for script in volumes.top.glob("scripts/*"):
            script.write_text(script.read_text().replace(HOST, protected))
        for each in containers:
            words = [word.replace(HOST, protected) for word in each.command(ci_image)]
            done = run_image("-e", f"{SECRET}={PASSWORD}", *words)
            assert done.code == 0 or not check, str(done)
        return done

    return run_job


def write_project(volumes: Volumes, text: str) -> None:
    """Write a Dockerfile, and commit it for the recipes that clone."""
    source = volumes.path("source")
    for name, content in (("Dockerfile", text), ("kept", "kept\n")):
        (source / name).write_text(content)
        (source / name).chmod(0o644)
    git = ["git", "-C", source, "-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    for words in (("init", "-q"), ("add", "Dockerfile", "kept"), ("commit", "-qm", "Change")):
        execute([*git, *words]).ok()
    if (volumes.top / "workspace").exists():
        remove_tree(volumes.top / "workspace")  # that of a new pod is empty


def pushed_digest(address: str) -> str:
    """Return the digest of ``app:1`` in the protected registry."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Accept": MANIFEST}
    request = urllib.request.Request(f"http://{address}/v2/app/manifests/1", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.headers["Docker-Content-Digest"]


@pytest.mark.campaign
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_builds_pushes_and_finds_its_cache(
    name, volumes, run_job, protected, busybox_base, debian_base
):
    make, text = RECIPES[name]
    users = "~/made" in text
    text = text.format(busybox=busybox_base, debian=debian_base)
    write_project(volumes, text)
    first = run_job(make(volumes))
    assert f"Digest {pushed_digest(protected)}" in first.stdout
    if users:
        assert "app app:4750" in first.stderr
    if name in ARCHIVES:
        store = volumes.top / ARCHIVES[name]
        for path in store.iterdir():
            if path.name not in ARCHIVED:
                remove_tree(path) if path.is_dir() else path.unlink()
    last = "COPY kept /again\n" if "COPY" in text else "RUN ls -l /etc\n"
    write_project(volumes, text + last)
    second = run_job(make(volumes))
    steps = len(re.findall(r"^(?:FROM|RUN|COPY) ", text, re.MULTILINE))
    assert second.stderr.count(" CACHED\n") == steps, second
    digest = pushed_digest(protected)
    assert f"Digest {digest}" in second.stdout and digest not in first.stdout
    if name == "Tekton":
        assert (volumes.top / "results/digest").read_text() == digest


@pytest.mark.parametrize("make", [recipes.kaniko_gitlab, recipes.kaniko_pod])
def test_a_recipe_for_users_of_kaniko_calls_its_executor(make, tmp_path):
    (container,) = make(Volumes(tmp_path))
    words = " ".join((container.entrypoint, *container.words))
    assert re.search(rf"--destination[= ]\"?({HOST}|\$CI_REGISTRY_IMAGE)", words)
    assert "/kaniko/executor --context" in words or container.entrypoint == ""


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["job", "pod"])
def test_users_of_kaniko_need_another_image_alone(
    name, volumes, protected, ci_image, kaniko_image, run_image, busybox_base
):
    write_project(volumes, FULL.format(busybox=busybox_base))
    make = recipes.kaniko_gitlab if name == "job" else recipes.kaniko_pod
    (container,) = make(volumes)
    command = container.command(ci_image if name == "job" else kaniko_image)
    words = [word.replace(HOST, protected) for word in command]
    done = run_image("-e", f"{SECRET}={PASSWORD}", *words).ok()
    assert f"Digest {pushed_digest(protected)}" in done.stdout
    assert "app app:4750" in done.stderr


@pytest.mark.campaign
def test_what_is_refused_in_openshift_is_explained(volumes, run_job, busybox_base):
    write_project(volumes, SIMPLE.format(busybox=busybox_base))
    refused = run_job(recipes.openshift(volumes), check=False)
    assert refused.code == 125
    assert "cannot make a user namespace: Operation not permitted" in refused.stderr
    assert "hint: a seccomp filter, probably of an outer container, refuses it" in refused.stderr


# -- the page of modes ---------------------------------------------------------------------


def mode_rows() -> list[tuple[str, str, str]]:
    """Return docker's options, the mode and the IDs of each row that has options."""
    lines = MODES.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| `" in line]
    return [(options.strip("`"), mode, ids) for _, options, mode, ids, *_ in rows]


@pytest.mark.campaign
@pytest.mark.parametrize(("options", "mode", "ids"), mode_rows())
def test_the_mode_is_the_one_of_the_table(
    options, mode, ids, ci_image, run_image, busybox_base, tmp_path
):
    tmp_path.chmod(0o755)
    (tmp_path / "Dockerfile").write_text(SIMPLE.format(busybox=busybox_base))
    given = (
        [] if options == "none" else options.replace("=testdata", f"={CHECKOUT}/testdata").split()
    )
    run = ("--rm", "-v", f"{tmp_path}:/workspace:ro", *given, ci_image)
    info = run_image(*run, "info").ok().stdout
    found = re.search(r"^Containers: +(?:supported \()?(.*?)\)?$", info, re.MULTILINE)
    assert found is not None and found[1] == ("not supported" if mode == "none" else mode)
    done = run_image(*run, "--debug", "build", ".")
    assert (done.code == 0) == (mode != "none"), done
    assert mode != "none" or "\nhint: " in done.stderr
    assert (".aside" in info + done.stderr) == (ids == "one"), info
