"""Options of a build for its RUNs: volumes, rights, name servers, limits; each with its effect."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.errors import BuildError, ContainerError, SandboxError, StepFailed
from ocitool_runtime import get_isolation
from ocitool_runtime.sandbox.cgroups.cgroups import own_cgroups
from tests.fixtures.tools import install_tools
from tests.unit.builder.conftest import BuildFixture

pytestmark = pytest.mark.slow


@pytest.fixture
def tools(project: BuildFixture) -> BuildFixture:
    """A project with the image ``base``: a shell and a few tools of this machine."""
    support = get_isolation().probe()
    if not support.ok:
        pytest.skip(f"no namespaces here: {support.reason}")
    project.put({"base": {}, "base/bin": {}, "base/etc": {}, "base/tmp": {"mode": 0o1777}})
    for name in ("hosts", "hostname", "resolv.conf"):
        project.put({f"base/etc/{name}": f"the image's {name}\n"})
    install_tools(project.top / "base")
    project.build("FROM scratch\nCOPY base /\nENV PATH=/bin", "base:1")
    return project


def run(tools: BuildFixture, *lines: str, **options):
    return tools.build("\n".join(["FROM base:1", *lines]), **options)


@pytest.fixture
def volume(tmp_path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    (path / "file").write_text("of the host\n")
    return path


def test_a_volume_is_in_each_run_and_in_no_layer(tools, volume):
    lines = (
        "RUN cat /mnt/data/file; echo new > /mnt/data/new",
        "RUN cat /mnt/data/new; touch /own",
    )
    built = run(tools, *lines, volumes=(f"{volume}:/mnt/data",))
    assert built.output == "of the host\nnew\n"
    assert (volume / "new").read_text() == "new\n"
    assert [name for name in built.tree if name.startswith("mnt")] == []
    assert "own" in built.tree


def test_a_volume_below_another_is_mounted_after_it(tools, volume):
    given = (f"{volume}:/data/a/b", f"{volume.parent}:/data:O")
    assert run(tools, "RUN cat /data/a/b/file", volumes=given).output == "of the host\n"


def test_a_volume_may_be_read_only(tools, volume):
    with pytest.raises(StepFailed):
        run(tools, "RUN touch /data/new", volumes=(f"{volume}:/data:ro",))
    assert os.listdir(volume) == ["file"]


def test_a_volume_counts_in_the_cache_and_its_content_does_not(tools, volume):
    line, given = "RUN cat /data/file || true", (f"{volume}:/data",)
    run(tools, line)
    assert run(tools, line, volumes=given).executed == ["RUN cat /data/file || true"]
    (volume / "file").write_text("changed\n")
    assert run(tools, line, volumes=given).executed == []
    assert run(tools, line, volumes=(f"{volume}:/data:ro",)).executed != []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:/data", "-v data:/data: named volumes are not supported"),
        ("/data", "-v /data: a build has no anonymous volumes"),
        ("/no/such:/data", "-v /no/such:/data: /no/such: no such file or directory"),
        ("/tmp:/data:U", "-v /tmp:/data:U: the option 'U' is not supported"),
        ("/tmp:/x:/y:/z", "invalid volume specification"),
        ("/tmp:/", "invalid volume specification: '/tmp:/': destination can't be '/'"),
    ],
)
def test_volumes_that_are_refused(project, text, message):
    with pytest.raises((BuildError, ContainerError)) as caught:
        project.build("FROM scratch", volumes=(text,))
    assert str(caught.value).startswith(message)


def capabilities(built) -> int:
    return int(built.output.split()[1], 16)


def test_capabilities_are_added_and_dropped(tools):
    line = "RUN grep CapEff /proc/self/status"
    usual = capabilities(run(tools, line))
    changed = capabilities(run(tools, line, cap_add=("sys_ptrace",), cap_drop=("CAP_MKNOD",)))
    assert changed == usual & ~(1 << 27) | 1 << 19
    assert capabilities(run(tools, line, cap_drop=("ALL",))) == 0


def test_what_is_written_to_a_volume_may_be_lost(tools, volume):
    lines = (
        "RUN cat /data/file; echo x > /data/file; touch /data/new; rm -r /data/dir; ls /data",
        "RUN cat /data/file; ls /data",
    )
    (volume / "dir").mkdir()
    volume.chmod(0o750)
    built = run(tools, *lines, "RUN stat -c %a /data", volumes=(f"{volume}:/data:O",))
    assert built.output == "of the host\nfile\nnew\nof the host\ndir\nfile\n750\n"
    assert sorted(os.listdir(volume)) == ["dir", "file"]
    assert (volume / "file").read_text() == "of the host\n"
    assert "data" not in built.tree


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ("/tmp:/data:O,ro", "-v /tmp:/data:O,ro: O and ro are mutually exclusive"),
        ("/etc/passwd:/data:O", "-v /etc/passwd:/data:O: O is only for directories"),
    ],
)
def test_what_cannot_be_discarded(project, volume, message):
    with pytest.raises(BuildError) as caught:
        project.build("FROM scratch", volumes=(volume,))
    assert caught.value.message == message


def test_rights_count_in_the_cache_and_their_order_does_not(tools):
    line = "RUN true"
    run(tools, line)
    assert run(tools, line, cap_drop=("MKNOD", "chown")).executed == [line]
    assert run(tools, line, cap_drop=("CHOWN", "CAP_MKNOD")).executed == []


def test_no_new_privileges(tools):
    line = "RUN grep NoNewPrivs /proc/self/status"
    assert run(tools, line).output.split()[1] == "0"
    built = run(tools, line, security_opts=("no-new-privileges",))
    assert built.output.split()[1] == "1"


def test_a_run_without_the_seccomp_filter(tools):
    line = "RUN grep Seccomp: /proc/self/status"
    filtered = run(tools, line).output.split()[1]
    built = run(tools, line, security_opts=("seccomp=unconfined",), no_cache=True)
    assert filtered == "2"
    assert (
        built.output.split()[1]
        == Path("/proc/self/status").read_text().partition("Seccomp:")[2].split()[0]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cap_add": ("NONSENSE",)}, "--cap-add: unknown capability: 'NONSENSE'"),
        ({"cap_drop": ("",)}, "--cap-drop: unknown capability: ''"),
        ({"security_opts": ("apparmor=x",)}, "--security-opt apparmor=x is not supported"),
    ],
)
def test_rights_that_are_refused(project, options, message):
    with pytest.raises(ContainerError) as caught:
        project.build("FROM scratch", **options)
    assert str(caught.value).startswith(message)


def test_name_servers_search_domains_and_options(tools):
    built = run(
        tools,
        "RUN cat /etc/resolv.conf",
        dns=("192.0.2.1",),
        dns_search=("a.example", "b.example"),
        dns_options=("ndots:2", "rotate"),
    )
    assert built.output.splitlines() == [
        "search a.example b.example", "options ndots:2 rotate", "nameserver 192.0.2.1",
    ]  # fmt: skip
    assert built.read("etc/resolv.conf") == "the image's resolv.conf\n"


def test_a_search_domain_alone_leaves_the_name_servers(tools):
    line = "RUN grep nameserver /etc/resolv.conf || true"
    usual = run(tools, line).output
    assert run(tools, line, dns_search=(".",)).output == usual
    assert run(tools, "RUN grep -c search /etc/resolv.conf || true", dns_search=(".",)).output == (
        "0\n"
    )


def test_files_of_the_image_may_stay(tools):
    line = "RUN cat /etc/hosts /etc/hostname /etc/resolv.conf"
    built = run(tools, line, no_hosts=True, dns=("none",))
    assert built.output.splitlines() == [
        f"the image's {name}" for name in ("hosts", "hostname", "resolv.conf")
    ]
    # Of the host name's file there is no other.
    assert run(tools, line, no_hostname=True).output.count("the image's") == 1


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dns": ("example.com",)}, SandboxError, "--dns: invalid IP address: 'example.com'"),
        ({"dns_search": ("a b",)}, SandboxError, "--dns-search: invalid search domain: 'a b'"),
        ({"dns_options": ("a\nb",)}, SandboxError, r"--dns-option: invalid option: 'a\nb'"),
        ({"dns": ("none", "192.0.2.1")}, BuildError, "--dns none keeps the /etc/resolv.conf"),
        ({"dns": ("none",), "dns_search": ("a",)}, BuildError, "--dns none keeps"),
        ({"network": "none", "dns": ("192.0.2.1",)}, BuildError, "the --dns option cannot be used"),
        ({"network": "none", "dns_search": ("a",)}, BuildError, "the --dns-search option cannot"),
        ({"network": "none", "dns_options": ("ndots:2",)}, BuildError, "the --dns-option option"),
        ({"no_hosts": True, "add_hosts": ("a:192.0.2.1",)}, BuildError, "--no-hosts keeps"),
    ],
)
def test_names_that_are_refused(project, options, kind, message):
    with pytest.raises(kind) as caught:
        project.build("FROM scratch", **options)
    assert str(caught.value).startswith(message)


# -- limits of resources -------------------------------------------------------------------


def hierarchy(controller: str) -> str:
    """The directory of this process's cgroup that can limit a sandbox; skips without one."""
    for path, controllers in own_cgroups(frozenset({controller})):
        if controller in controllers and os.access(path, os.W_OK):
            return path
    pytest.skip(f"no cgroup v1 of the controller {controller} that this user can write to")


def test_a_run_may_use_no_more_memory(tools):
    hierarchy("memory")
    line = "RUN head -c 50000000 /dev/zero | tail -c 40000000 | wc -c"
    assert run(tools, line, memory=400 << 20).output == "40000000\n"
    assert run(tools, line, memory=20 << 20, no_cache=True).output.split() != ["40000000"]


@pytest.fixture
def cgroup() -> Callable[[str], tuple[Path, str]]:
    """Return a function that gives the root of a hierarchy, and a parent that no other test has."""

    def cgroup(controller: str) -> tuple[Path, str]:
        top = Path(hierarchy(controller))
        while (top.parent / "cgroup.procs").exists():
            top = top.parent
        if not os.access(top, os.W_OK):
            pytest.skip("the root of the hierarchy is not this user's")
        return top, f"test-{os.getpid()}"

    return cgroup


def test_limits_are_those_of_the_cgroup_and_no_part_of_the_cache_key(tools, cgroup):
    top, parent = cgroup("cpu")
    files = (f"/cgroup/{parent}/ocitool.*/{name}" for name in ("cpu.shares", "cpu.cfs_quota_us"))
    line = f"RUN cat {' '.join(files)}"
    given = {"volumes": (f"{top}:/cgroup:ro",), "cpu_shares": 300, "cgroup_parent": parent}
    assert run(tools, line, cpus="0.5", **given).output == "300\n50000\n"
    assert run(tools, line, cpus="0.7", **given).executed == []


@pytest.mark.parametrize(
    ("controller", "options", "file", "value"),
    [
        ("memory", {"memory": 64 << 20}, "memory.limit_in_bytes", 64 << 20),
        ("cpu", {"cpu_period": 50_000, "cpu_quota": 20_000}, "cpu.cfs_period_us", 50_000),
        ("cpu", {"cpu_period": 50_000, "cpu_quota": 20_000}, "cpu.cfs_quota_us", 20_000),
    ],
)
def test_each_limit_is_in_its_file(tools, cgroup, controller, options, file, value):
    top, parent = cgroup(controller)
    given = {"volumes": (f"{top}:/cgroup:ro",), "cgroup_parent": parent, **options}
    built = run(tools, f"RUN cat /cgroup/{parent}/ocitool.*/{file}", **given)
    assert built.output == f"{value}\n"


def test_a_parent_of_cgroups_is_made_and_removed(tools, cgroup):
    top, parent = cgroup("memory")
    line = f"RUN ls /cgroup/{parent}/inner | grep ocitool | wc -l"
    given = {"cgroup_parent": f"{parent}/inner", "volumes": (f"{top}:/cgroup:ro",)}
    assert run(tools, line, **given).output == "1\n"
    assert not (top / parent).exists()
