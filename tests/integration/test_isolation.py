"""A build has the same image ID in each isolation, also in a container of docker's defaults."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from tests.fixtures.programs import execute, python_environment

#: What a step can leave behind, beside what a container has in place of it.
STEPS = r"""
RUN mkdir -p /data && for i in 1 2 3; do echo $i > /data/$i; done && ln /data/1 /data/hard
RUN chown 5:6 /data/2 && chmod 4711 /data/3 && ln -s /nowhere /data/link && mkfifo /data/pipe
RUN mknod /data/null c 1 3 && touch -d '2001-02-03 04:05:06' /data/1 && rm /data/2
RUN echo lost > /etc/hosts; echo lost > /etc/resolv.conf; echo lost > /dev/shm/file; true
RUN echo kept > /etc/kept && rm -rf /etc/group
RUN mkdir -p /var/run/app /dev/own /sys/own 2>/dev/null; rm -rf /tmp/* && chmod 700 /tmp; true
WORKDIR /made/here
RUN echo here > file && cat /proc/self/status > /dev/null && test -c /dev/null
USER 7:8
RUN echo mine > /var/run/mine 2>/dev/null; id -u > /made/id 2>/dev/null || id -u
USER 0
RUN <<END
#!/bin/sh
echo "from $0" > /script
END
"""
ENV = {"SOURCE_DATE_EPOCH": "1700000000"}


@pytest.mark.usefixtures("root_only", "containers")
@pytest.mark.parametrize("isolation", ["namespaces", "chroot"])
def test_no_variable_and_no_standard_input_is_needed(tools_context, store_root, isolation):
    env = {"PYTHONPATH": python_environment()["PYTHONPATH"]}
    python = (sys.executable, "-m", "ocitool", "--root", store_root, "--driver", "vfs")
    closed = ("/bin/sh", "-c", 'exec "$@" <&-', "sh", *python, "--isolation", isolation)

    def run(*words):
        return execute([*closed, *words], env=env).ok().stdout

    run("build", "-q", "-t", "tools:1", tools_context)
    assert run("run", "--rm", "tools:1", "sh", "-c", "cat; echo works") == "works\n"


@pytest.fixture
def context(tmp_path, busybox_base):
    """A context whose Dockerfile stands on an image with files where a container has its own."""
    (tmp_path / "context").mkdir()
    text = (
        f"FROM {busybox_base}\nCOPY hosts /etc/hosts\nCOPY node /dev/node\nCOPY node /proc/node\n"
    )
    for name in ("hosts", "node"):
        (tmp_path / "context" / name).write_text("of the image\n")
    (tmp_path / "context/Dockerfile").write_text(text + STEPS)
    return tmp_path / "context"


@pytest.fixture
def built(run_cli, tmp_path, context):
    """Return a function that builds in an isolation and prints the ID."""

    def built(isolation):
        root = tmp_path / isolation
        how = ("--driver", "vfs", "--isolation", isolation)
        words = ("build", "-q", "--no-cache", "-t", "a:1", context)
        return run_cli(*how, *words, root=root, env=ENV)

    return built


@pytest.mark.usefixtures("root_only", "containers")
def test_images_are_equal(built):
    namespaces, chroot = built("namespaces").ok(), built("chroot").ok()
    assert chroot.stderr == ""  # who asks for it knows what it is
    assert namespaces.stdout == chroot.stdout


@pytest.mark.usefixtures("root_only")
def test_an_isolation_that_does_not_exist_is_named(run_cli, tools_store):
    done = run_cli("--isolation", "jail", "run", "--rm", "tools:1", "true", root=tools_store)
    assert done.code == 125
    assert "unknown isolation 'jail'" in done.stderr
    assert "namespaces, chroot, auto" in done.stderr


@pytest.mark.usefixtures("containers", "root_only")
def test_chroot_needs_plain_directories(run_cli, tools_store):
    words = ("--driver", "overlay", "--isolation", "chroot", "run", "--rm", "tools:1", "true")
    done = run_cli(*words, root=tools_store)
    assert done.code == 125
    assert "hint: use --driver vfs" in done.stderr


def test_run_works_in_a_container_of_dockers_defaults(in_docker, built, context, root_only):
    info = in_docker("info").ok().stdout
    assert "supported (chroot)" in info
    words = ("build", "-q", "--no-cache", "-t", "a:1", context)
    done = in_docker(*words)
    assert done.stdout == built("namespaces").ok().stdout, done
    assert "does not isolate them from this process" in done.stderr
    shown = in_docker("run", "--rm", "a:1", "sh", "-c", "cat /script; cat /proc/self/comm").ok()
    assert shown.stdout == "from /dev/pipes/END\ncat\n"
    assert shown.stderr == ""  # one warning is enough for a store
    in_docker("system", "check").ok()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--cap-drop", "MKNOD"), marks=pytest.mark.campaign),
        ("--cap-drop", "ALL", "--cap-add", "SYS_CHROOT"),
        pytest.param(("--security-opt", "no-new-privileges"), marks=pytest.mark.campaign),
    ],
    ids=["no nodes", "chroot alone", "no new privileges"],
)
def test_chroot_works_with_fewer_capabilities(in_docker, busybox_base, root_only, options):
    script = "echo x > /dev/null && head -c 2 /dev/zero | wc -c && cat /proc/self/comm"
    in_docker("pull", "-q", busybox_base).ok()
    done = in_docker("run", "--rm", busybox_base, "sh", "-c", script, options=options).ok()
    assert done.stdout == "2\ncat\n"


def test_what_is_missing_is_said(run_cli, tools_context, tmp_path, root_only):
    run_cli("--driver", "vfs", "build", "-q", "-t", "tools:1", tools_context, root=tmp_path).ok()
    words = ("--root", tmp_path, "--driver", "vfs", "run", "--rm", "tools:1", "true")
    without = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    done = execute([*without, sys.executable, "-m", "ocitool", *words], env=python_environment())
    assert done.code == 125
    assert "cannot make namespaces: Operation not permitted" in done.stderr
    assert "hint: run as root with CAP_SYS_CHROOT" in done.stderr


def test_with_namespaces_allowed_they_are_used(in_docker, root_only):
    options = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    info = in_docker("info", options=(*options, "--security-opt", "apparmor=unconfined")).ok()
    assert "supported (namespaces)" in info.stdout


def test_where_docker_refuses_pivot_root_the_program_cannot_leave_its_root(in_docker, context):
    options = ("--cap-add", "SYS_ADMIN")
    in_docker("build", "-q", "-t", "a:1", context, options=options).ok()
    shown = in_docker("run", "--rm", "a:1", "cat", "/proc/self/status", options=options).ok()
    fields = dict(line.split(":\t") for line in shown.stdout.splitlines())
    assert (fields["NSpid"].split()[-1], fields["Pid"]) == ("1", "1")
    assert int(fields["CapBnd"], 16) & 1 << 18 == 0  # CAP_SYS_CHROOT


#: Masks a directory of /proc as docker does, and runs a program as another user.
MASKED = """
mount -t tmpfs none /proc/irq
user=$1; shift
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
"""


@pytest.mark.parametrize("who", ["ordinary_user", "rangeless_user"])
def test_a_user_has_the_outer_proc_where_parts_of_it_are_masked(request, tools_context, who):
    user = request.getfixturevalue(who)
    start = ["unshare", "--mount", "sh", "-c", MASKED, "sh", str(user.uid)]
    root = user.home / "masked"

    def run(*words):
        command = [*start, user.python, "-m", "ocitool", "--root", root, *words]
        return execute(command, env=user.env, cwd=user.home)

    run("build", "-q", "-t", "tools:1", tools_context).ok()
    shown = run("run", "--rm", "tools:1", "sh", "-c", "cat /proc/self/status; ls /proc/irq").ok()
    assert shown.stdout.startswith("Name:")
    outer = run("run", "--rm", "tools:1", "sh", "-c", f"ls /proc/{os.getpid()}/root").stderr
    assert "Permission denied" in outer or "No such file" in outer


@pytest.mark.usefixtures("root_only")
def test_chroot_is_for_root_alone(ordinary_user, run_cli, tools_context):
    how = ("--driver", "vfs", "--isolation", "chroot")
    root = ordinary_user.home / "chroot-user"
    done = run_cli(*how, "build", tools_context, root=root, user=ordinary_user)
    assert done.code == 0, done  # nothing is run: a build without RUN needs no isolation
    image = done.stdout.split()[1]
    refused = run_cli(*how, "run", "--rm", image, "true", root=root, user=ordinary_user)
    assert refused.code == 125
    assert "isolation by chroot needs root\n" in refused.stderr


#: Prints what is at the path $ARGV[0] of the machine: through an open directory of /proc, and by a
#: second chroot that leaves the working directory where it was (chroot(2)).
LEAVE = r"""
use Fcntl; $| = 1;
sysopen(my $proc, "/proc", O_RDONLY) or die; chdir $proc; chdir "..";
print "by /proc\n" if -e substr($ARGV[0], 1);
chdir "/"; mkdir "in"; chroot "in" or exit; chdir ".." for 1 .. 40; chroot "." or exit;
print "by chroot\n" if -e $ARGV[0];
"""


@pytest.mark.campaign
@pytest.mark.usefixtures("root_only")
def test_a_chroot_can_be_left(run_cli, debian_base, session_tree, store_root):
    """As docs/security.md says; and containers with namespaces cannot."""
    outside = session_tree / "outside"  # everybody may look for it
    outside.touch()

    ids = "setpriv --reuid 1000 --regid 1000 --clear-groups"
    script = f'{ids} perl -e "$0" "$1"; echo and root; perl -e "$0" "$1"; true'

    def left(*how):
        words = (*how, "run", "--rm", debian_base, "sh", "-c", script, LEAVE, outside)
        return run_cli(*words, root=store_root).ok().stdout.splitlines()

    found = left("--driver", "vfs", "--isolation", "chroot")
    assert found == ["by /proc", "and root", "by /proc", "by chroot"]
    assert left("--isolation", "namespaces") == ["and root"]


#: Prints which processes outside of the container's PID namespace give access to themselves.
REACHED = """
ours=$(readlink /proc/self/ns/pid)
for process in /proc/[0-9]*; do
  theirs=$(readlink "$process/ns/pid") && [ "$theirs" != "$ours" ] && echo "$process"
done 2>/dev/null; true
"""


@pytest.mark.parametrize("hidden", ["nothing", "slirp4netns"])
@pytest.mark.parametrize("who", ["ordinary_user", "rangeless_user"])
def test_no_capability_opens_the_processes_of_the_outer_proc(request, tools_context, who, hidden):
    """The shim is in the user namespace of the program, but its root is that of the machine.

    So are the helpers of a private network; without slirp4netns it is pasta.
    """
    user = request.getfixturevalue(who)
    hide = f"mount --bind /dev/null {found}; " if (found := shutil.which(hidden)) else ""
    start = ["unshare", "--mount", "sh", "-c", hide + MASKED, "sh", str(user.uid)]
    root = user.home / f"reached-{who}-{hidden}"

    def run(*words):
        command = [*start, user.python, "-m", "ocitool", "--root", root, *words]
        return execute(command, env=user.env, cwd=user.home)

    run("build", "-q", "-t", "tools:1", tools_context).ok()
    for capability in ("SYS_PTRACE", "ALL"):
        done = run("run", "--rm", "--cap-add", capability, "tools:1", "sh", "-c", REACHED).ok()
        assert done.stdout == ""
