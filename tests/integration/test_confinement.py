"""What a container is given here, and in other engines: docs/security.md says it as it is.

``OCITOOL_REWRITE=1`` writes the columns of the engines that are there.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

import pytest

from tests.fixtures.confinement import (
    NOT_SUPPORTED,
    PROBE,
    ROWS,
    THE_MACHINES,
    WITH_READ_ONLY,
    answers,
)
from tests.fixtures.programs import CHECKOUT, execute

PAGE = CHECKOUT / "docs" / "security.md"
TABLE = re.compile(r"(<!-- probe -->\n)(.*?)(<!-- /probe -->)", re.DOTALL)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
REWRITE = os.environ.get("OCITOOL_REWRITE", "") not in ("", "0")


@pytest.fixture(scope="module")
def volume(session_tree):
    """A directory with a device that everybody could open on the host."""
    path = Path(tempfile.mkdtemp(prefix="volume", dir=session_tree))
    path.chmod(0o755)
    if os.geteuid() == 0:
        os.mknod(path / "device", stat.S_IFCHR | 0o666, os.makedev(10, 237))
        (path / "device").chmod(0o666)
    return path


@pytest.fixture
def asked(volume):
    """Return a function that runs the probe by ``run(*options, script=...)``; its answers."""
    ours = " ".join(os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES)

    def asked(run, mounts=True):
        words = ("--network", "none", "-v", f"{volume}:{volume}") if mounts else ()
        probe = ("sh", "-c", PROBE, "-", ours, str(volume), str(os.getpid()))
        said = answers(run(*words, script=probe))
        other = answers(run(*words, "-u", "1000:1000", script=probe))
        said["user CapEff"] = other["CapEff"]
        if mounts:
            said["read-only"] = run(*words, "--read-only", script=("sh", "-c", WITH_READ_ONLY))
        else:
            said |= {"volume": NOT_SUPPORTED, "read-only": NOT_SUPPORTED}
            said["masked"] = THE_MACHINES if said["masked"] else ""
            if run(script=("cat", "/proc/self/cgroup")) == Path("/proc/self/cgroup").read_text():
                said["cgroup"] = "ocitool's"
        return {row: worded({**said, "read-only": " ".join(said["read-only"].split())})
                for row, worded in ROWS.items()}  # fmt: skip

    return asked


def columns(text):
    """Return the table of the page: {engine: {row: answer}}."""
    lines = [line.strip()[1:-1].split("|") for line in TABLE.search(text)[2].splitlines()]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return {
        engine: {row[0]: row[number] for row in rows}
        for number, engine in enumerate(head)
        if number
    }


def written(found):
    """Return the lines of a table of columns."""
    rows = [["", *found], ["---"] * (len(found) + 1)]
    rows += [[row, *(column.get(row, "") for column in found.values())] for row in ROWS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def compare(engine, given):
    """Hold *given* against the page, or write it there."""
    text = PAGE.read_text(encoding="utf-8")
    found = columns(text)
    if REWRITE:
        found[engine] = given
        new = TABLE.sub(lambda match: match[1] + written(found) + match[3], text)
        PAGE.write_text(new, encoding="utf-8")
    else:
        assert found[engine] == given, "if it is meant: OCITOOL_REWRITE=1"


def ours(run_cli, root, image, user=None, isolation=()):
    """Return a function that runs the probe in a container of ours."""

    def run(*options, script):
        words = (*isolation, "run", "--rm", *options, image, *script)
        return run_cli(*words, root=root, user=user).ok().stdout

    return run


@pytest.mark.usefixtures("containers", "root_only")
def test_of_root(asked, run_cli, session_tree, busybox_base):
    run_cli("pull", busybox_base, root=session_tree / "confined").ok()
    given = asked(ours(run_cli, session_tree / "confined", busybox_base))
    compare("ocitool, root", given)


@pytest.mark.usefixtures("containers")
def test_of_a_user_with_subordinate_ids(asked, run_cli, ordinary_user, busybox_base):
    root = ordinary_user.home / "confined"
    run_cli("pull", busybox_base, root=root, user=ordinary_user).ok()
    compare("ocitool, user", asked(ours(run_cli, root, busybox_base, ordinary_user)))


@pytest.mark.usefixtures("containers")
def test_of_a_user_with_a_single_id(asked, run_cli, rangeless_user, busybox_base):
    root = rangeless_user.home / "confined"
    run_cli("pull", busybox_base, root=root, user=rangeless_user).ok()
    compare("ocitool, single ID", asked(ours(run_cli, root, busybox_base, rangeless_user)))


@pytest.mark.usefixtures("root_only")
def test_of_a_chroot(asked, run_cli, tmp_path, busybox_base):
    """On a machine where root has every capability, and no cgroup filters devices."""
    how = ("--driver", "vfs", "--isolation", "chroot")
    run_cli(*how, "pull", busybox_base, root=tmp_path).ok()
    given = asked(ours(run_cli, tmp_path, busybox_base, isolation=how), mounts=False)
    compare("ocitool, chroot", given)


@pytest.mark.usefixtures("containers", "root_only")
def test_of_a_run_step(run_cli, session_tree, busybox_base, tmp_path, asked):
    """RUN is given what a container is given; the volume and the network apart."""
    namespaces = " ".join(os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES)
    (tmp_path / "probe").write_text(PROBE)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox_base}\nCOPY probe /probe\n"
        f"RUN --network=none sh /probe '{namespaces}' /none {os.getpid()} > /said\n"
        "CMD cat /said\n"
    )
    root = session_tree / "confined"
    run_cli("build", "-q", "-t", "asked:1", tmp_path, root=root).ok()
    step = answers(run_cli("run", "--rm", "asked:1", root=root).ok().stdout)
    container = answers(
        ours(run_cli, root, busybox_base)("--network", "none", script=(
            "sh", "-c", PROBE, "-", namespaces, "/none", str(os.getpid())))
    )  # fmt: skip
    assert step == container


@pytest.mark.usefixtures("root_only")
def test_of_docker(asked, docker, busybox_base):
    version = docker("version", "--format", "{{.Server.Version}}").stdout[:5]

    def run(*options, script):
        return execute([*docker.words, "run", "--rm", *options, busybox_base, *script]).ok().stdout

    if f"docker {version}" not in columns(PAGE.read_text(encoding="utf-8")) and not REWRITE:
        pytest.skip(f"the page describes another docker than {version}")
    compare(f"docker {version}", asked(run))


@pytest.mark.usefixtures("root_only")
def test_of_podman(asked, podman, busybox_base):
    version = podman("version", "--format", "{{.Client.Version}}").stdout[:3]

    def run(*options, script):
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
        words = [*podman.words, "run", "--rm", "--tls-verify=false", *limits, *options]
        return execute([*words, busybox_base, *script]).ok().stdout

    if f"podman {version}" not in columns(PAGE.read_text(encoding="utf-8")) and not REWRITE:
        pytest.skip(f"the page describes another podman than {version}")
    compare(f"podman {version}", asked(run))


def test_every_row_is_in_the_table():
    assert all(list(column) == list(ROWS) for column in columns(PAGE.read_text("utf-8")).values())


@pytest.mark.usefixtures("root_only")
def test_the_probe_tells_what_is_open(asked, docker, busybox_base):
    """In a container without confinement it finds it open; else it could not fail."""
    open_ = ("--cap-add=SYS_ADMIN", "--cap-add=SYSLOG", "--security-opt=seccomp=unconfined",
             "--security-opt=systempaths=unconfined", "--device-cgroup-rule=a *:* rwm")  # fmt: skip

    def run(*options, script):
        words = [*docker.words, "run", "--rm", *open_, *options]
        return execute([*words, busybox_base, *script]).ok().stdout

    given = asked(run)
    assert given["a device of the host on a volume"] == "can be opened"
    assert given["a device of the host made in / or /dev"] == "can be opened"
    assert given["mount(2)"] == given["a new user namespace"] == "allowed"
    assert given["the kernel's log"] == "allowed"
    assert given["seccomp"] == "none"
    assert "/proc/timer_list" in given["masked paths that can be read"]
    assert "/proc/sys/vm/drop_caches" in given["kernel settings that can be written"]
