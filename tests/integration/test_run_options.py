"""Docker's options of ``run`` for root, a user with subordinate IDs, and one with a single ID."""

from __future__ import annotations

import os
import sys

import pytest

from tests.fixtures.programs import execute, python_environment

pytestmark = pytest.mark.usefixtures("containers")


@pytest.fixture(scope="module", params=["root", "ordinary_user", "rangeless_user"])
def who(request):
    """Who runs the container; None is the user who runs the tests."""
    return None if request.param == "root" else request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def store(who, run_cli, tools_store, tools_context, session_tree):
    """A store of that user with the image ``tools:1``."""
    if who is None:
        return tools_store
    root = who.home / "run-options"
    run_cli("build", "-q", "-t", "tools:1", tools_context, root=root, user=who).ok()
    return root


@pytest.fixture
def run(who, run_cli, store):
    """Return a function that runs ``ocitool run --rm OPTIONS tools:1 sh -c SCRIPT``."""

    def run(script, *options):
        words = ("run", "--rm", *options, "tools:1", "sh", "-c", script)
        return run_cli(*words, root=store, user=who)

    return run


def status(run, *options):
    lines = run("cat /proc/self/status", *options).ok().stdout.splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_shared_memory_and_limits(run):
    options = ("--shm-size", "1m", "--ulimit", "nofile=100:200", "--ulimit", "core=0")
    found = run("grep shm /proc/mounts; ulimit -Sn; ulimit -Hn; ulimit -c", *options).ok()
    shm, *limits = found.stdout.splitlines()
    assert "size=1024k" in shm
    assert limits == ["100", "200", "0"]


@pytest.mark.parametrize(
    ("option", "script", "shown"),
    [
        ("--pids-limit=3", "sleep 9 & sleep 9 & sleep 9 & sleep 9 & echo 4", "4\n"),
        pytest.param(
            "--memory=20m",
            "head -c 50000000 /dev/zero | tail -c 40000000 | wc -c",
            "40000000\n",
            marks=pytest.mark.campaign,
        ),
    ],
)
def test_limits_of_resources_take_effect_or_are_refused(run, option, script, shown):
    """Where there is no cgroup of their own, as for most users, they are refused."""
    assert run(script).ok().stdout == shown
    done = run(script, option)
    if done.code == 125:
        assert f"{option.partition('=')[0]}: " in done.stderr
        assert "hint: " in done.stderr
    assert done.stdout != shown


def test_limits_of_resources_of_a_chroot(run_cli, tools_store, root_only):
    how = ("--driver", "vfs", "run", "--rm", "--isolation", "chroot")
    for option in ("--memory=20m", "--pids-limit=3", "--cpus=1", "--cgroup-parent=a"):
        done = run_cli(*how, option, "tools:1", "true", root=tools_store)
        assert done.code == 125
        assert "isolation by chroot does not support resource limits" in done.stderr


def test_a_limit_above_the_kernels(run):
    done = run("true", "--ulimit", f"nofile={1 << 40}")
    assert done.code == 125
    assert "cannot set the resource limits: nofile is above the hard limit" in done.stderr


def test_capabilities(run):
    assert int(status(run, "--cap-drop", "ALL", "--cap-add", "chown")["CapBnd"], 16) == 1
    assert int(status(run, "--cap-drop", "ALL")["CapEff"], 16) == 0
    plain, more = status(run), status(run, "--cap-add", "SYS_NICE")
    assert int(more["CapEff"], 16) - int(plain["CapEff"], 16) == 1 << 23


def test_no_new_privileges(run, who):
    single = who is not None and who.name == "rangeless"
    assert status(run)["NoNewPrivs"] == ("1" if single else "0")
    assert status(run, "--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"


def test_without_the_filter_of_system_calls(run):
    assert status(run)["Seccomp"] == "2"
    done = run("grep -w Seccomp /proc/self/status", "--security-opt", "seccomp=unconfined")
    if done.code == 125:  # the filter keeps owners where there is a single ID
        assert "a single ID" in done.stderr
    else:
        assert done.ok().stdout == "Seccomp:\t0\n"


def test_further_groups(run):
    done = run("id -G", "--group-add", "77", "--group-add", "audio")
    if done.code == 125:
        assert "further groups 77, 11" in done.stderr
    else:
        assert {"77", "11"} <= set(done.ok().stdout.split())


def test_hosts_and_name_servers(run):
    script = "grep -w db /etc/hosts; grep nameserver /etc/resolv.conf"
    options = ("--add-host", "db:10.0.0.2", "--dns", "10.0.0.1")
    assert run(script, *options).ok().stdout == "10.0.0.2\tdb\nnameserver 10.0.0.1\n"


def test_mounts(run, store, who):
    shared = store.parent / "shared"
    shared.mkdir(exist_ok=True)
    shared.chmod(0o755)
    (shared / "file").write_text("content\n")
    script = "cat /d/file; touch /d/new 2>/dev/null || echo refused; touch /t/new && echo written"
    bind = f"type=bind,src={shared},dst=/d,readonly"
    done = run(script, "--mount", bind, "--mount", "type=tmpfs,dst=/t").ok()
    assert done.stdout == "content\nrefused\nwritten\n"


VOLUMES = r"""FROM tools:1
RUN mkdir -m 750 /has && echo here > /has/file && chown 5:6 /has /has/file && ln -s has /link && \
    touch /file
VOLUME /has /none/below /link/in
RUN test ! -e /none && test ! -e /has/in
"""
SHOWN = r"""ls -A /has; stat -c '%a %u:%g' /has /none /none/below
touch /none/below/a /has/b && chown 7:8 /has/b
stat -c '%u:%g' /has/b; rmdir /has/in 2>/dev/null || echo mounted
touch /x 2>/dev/null || echo refused"""
MADE = "file\nin\n750 5:6\n755 0:0\n755 0:0\n7:8\nmounted\n"


@pytest.fixture(scope="module")
def volumes(who, run_cli, store, session_tree):
    """The name of an image with volumes, in the store."""
    context = session_tree / f"volumes-{'root' if who is None else who.name}"
    context.mkdir()
    (context / "Dockerfile").write_text(VOLUMES)
    run_cli("build", "-qt", "volumes", context, root=store, user=who).ok()
    return "volumes"


DRIVERS = [pytest.param(each, marks=pytest.mark.campaign) for each in
           ("overlay", "fuse-overlayfs", "vfs")]  # fmt: skip


@pytest.fixture(params=["", "chroot", *DRIVERS])
def with_volumes(request, who, run_cli, store, volumes):
    """Return a function that runs a script in a container whose image has volumes."""
    how = ("--driver", request.param) if request.param else ()
    if request.param == "chroot":
        if who is not None or os.geteuid() != 0:
            pytest.skip("chroot is root's")
        how = ("--driver", "vfs", "--isolation", "chroot")

    def run(script, *options):
        words = (*how, "run", "--rm", *options, volumes, "sh", "-c", script)
        return run_cli(*words, root=store, user=who)

    if "fuse-overlayfs" in how and (done := run("true")).code == 125:
        pytest.skip(done.stderr)
    run.chroot = "chroot" in how
    return run


def test_volumes_of_the_image(with_volumes):
    """A chroot has no mounts, so there such a directory can be removed."""
    done = with_volumes(SHOWN).ok()
    assert done.stdout == (MADE.replace("mounted\n", "") if with_volumes.chroot else MADE)
    assert with_volumes("ls -A /has /none/below").ok().stdout.split() == [
        "/has:", "file", "in", "/none/below:",
    ]  # fmt: skip


def test_volumes_of_the_image_stay_writable(with_volumes):
    if with_volumes.chroot:
        pytest.skip("a chroot is not read-only")
    assert with_volumes(SHOWN, "--read-only").ok().stdout == f"{MADE}refused\n"
    done = with_volumes("touch /new/a /has/b", "--read-only", "-v", "/new", "--tmpfs", "/has")
    assert done.ok().stdout == ""


def test_a_volume_that_is_a_file(with_volumes):
    done = with_volumes("true", "-v", "/file")
    assert (done.code, done.stdout) == (125, "")
    assert "/file: Not a directory" in done.stderr


def test_a_volume_below_one_of_the_host(with_volumes, store):
    """Its mount point is made in the directory of the host, and no file of it is written there."""
    if with_volumes.chroot:
        pytest.skip("a chroot has no volumes of the host")
    shared = store.parent / f"volume-{os.urandom(4).hex()}"
    shared.mkdir()
    shared.chmod(0o777)
    done = with_volumes("touch /none/below/file && ls /none", "-v", f"{shared}:/none").ok()
    assert done.stdout == "below\n"
    assert os.listdir(shared / "below") == []


def test_a_first_run_says_nothing_of_unpacking(who, run_cli, store, tools_context):
    """A layer that COPY has made is unpacked when it is used first."""
    root = store.parent / f"first-run-{store.name}"
    words = ("build", "-q", "-t", "tools:1", tools_context)
    run_cli("--driver", "vfs", *words, root=root, user=who).ok()
    host = ("--network", "host")  # no warning of a private network that there is not
    for _ in range(2):
        done = run_cli(
            "--driver", "vfs", "run", "--rm", *host, "tools:1", "true", root=root, user=who
        )
        assert (done.ok().stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("isolation", ["namespaces", "chroot"])
def test_a_program_that_changes_its_user_opens_its_streams(who, run_cli, store, isolation):
    """Pipes of the caller, whose mode is 0600; docker 20.10 says "Permission denied"."""
    if isolation == "chroot" and (who is not None or os.geteuid() != 0):
        pytest.skip("chroot is root's")
    script = (
        "test -x /bin/busybox || exit 77; exec /bin/busybox su -s /bin/sh ann -c"
        " 'read line </dev/stdin; echo $line >/dev/stdout; echo err >/dev/stderr'"
    )
    words = ("--isolation", isolation, "run", "-qi", "--rm", "tools:1", "sh", "-c", script)
    python, env = (sys.executable, python_environment()) if who is None else (who.python, who.env)
    command = (python, "-m", "ocitool", "--root", store, *words)
    # What writes to stdin is a program of the user, what reads the output one of the tests' user.
    done = execute(("sh", "-c", 'echo in | "$@"', "sh", *command), user=who, env=env)
    if done.code == 77:
        pytest.skip("needs a static busybox")
    assert (done.code, done.stdout) == (0, "in\n"), str(done)
    assert "err\n" in done.stderr
