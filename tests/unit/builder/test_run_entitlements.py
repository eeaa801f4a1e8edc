"""What RUN may ask for beyond a sandbox: --network=host, --security=insecure, --device."""

from __future__ import annotations

import json
import os

import pytest

from ocitool.builder.entitlements import parse_entitlements
from ocitool.builder.solver.mounts import cdi
from ocitool.errors import BuildError, FormatError, StepFailed
from ocitool_runtime.host.userns.idmap import usable_maps

pytestmark = pytest.mark.slow


def run(tools, *lines, **options):
    return tools.build("\n".join(["FROM base:1", *lines]), **options)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("RUN --network=host true", "network.host"),
        ("RUN --security=insecure true", "security.insecure"),
    ],
)
def test_what_was_not_allowed_is_refused_before_anything_is_executed(tools, line, name):
    with pytest.raises(BuildError) as caught:
        run(tools, "RUN echo first", line)
    assert caught.value.message == f"{name} is not allowed" and caught.value.line == 3
    assert caught.value.hint == f"allow it with --allow {name}"
    lines = ("FROM base:1 AS unused", line, "FROM base:1")
    assert tools.build("\n".join(lines)).executed == []  # as BuildKit


def test_the_hosts_network_is_allowed_with_the_options_too(tools):
    line = "RUN --network=host cat /proc/net/dev"
    with open("/proc/net/dev", encoding="ascii") as file:
        names = {row.split(":")[0].strip() for row in file if ":" in row}
    for options in ({"allow": ("network.host",)}, {"network": "host", "no_cache": True}):
        shown = run(tools, line, **options).output
        assert {row.split(":")[0].strip() for row in shown.splitlines() if ":" in row} == names


def test_a_sandbox_is_the_default(tools):
    line = "grep -E 'CapEff|Seccomp:' /proc/self/status"
    sandboxed = run(tools, f"RUN --security=sandbox {line}").output
    assert sandboxed.count("\n") == 2
    assert run(tools, f"RUN {line}", no_cache=True).output == sandboxed


def test_an_insecure_command_has_all_capabilities_and_no_filter(tools):
    line = "RUN --security=insecure grep -E 'CapEff|Seccomp:' /proc/self/status"
    if usable_maps().single:
        with pytest.raises(BuildError, match="not supported for a user with a single ID"):
            run(tools, line, allow=("security.insecure",))
        return
    effective, seccomp = run(tools, line, allow=("security.insecure",)).output.splitlines()
    with open("/proc/self/status", encoding="ascii") as file:
        bounding = next(row.split()[1] for row in file if row.startswith("CapBnd"))
    all_of_them = bounding if os.geteuid() == 0 else None
    assert all_of_them in (None, effective.split()[1])
    assert int(effective.split()[1], 16) >> 21 & 1  # CAP_SYS_ADMIN
    assert seccomp.split()[1] == "0"
    # The cache key has it.
    sandboxed = line.replace(" --security=insecure", "")
    assert run(tools, sandboxed).executed != []
    assert run(tools, line, allow=("security.insecure",)).executed == []


def test_insecure_commands_need_namespaces(tools, monkeypatch):
    from ocitool.builder.solver import run as module

    monkeypatch.setattr(module, "moves", lambda context: True)
    with pytest.raises(BuildError, match="not supported where no namespaces can be made"):
        run(tools, "RUN --security=insecure true", allow=("security.insecure",))


@pytest.mark.parametrize("text", ["", "network", "device=", "device=a,alias=b", "fs.read=/"])
def test_an_unknown_entitlement(text):
    with pytest.raises(FormatError) as caught:
        parse_entitlements((text,))
    assert caught.value.message == f"unknown entitlement {text}" and "device" in caught.value.hint


def test_devices_are_allowed_by_name_by_kind_or_all():
    assert parse_entitlements(("device",)).allow_device("a/b=c")
    for given in ("a/b=c", "a/b", "a/b=*"):
        assert parse_entitlements((f"device={given}",)).allow_device("a/b=c")
    assert not parse_entitlements(("device=a/b=d", "network.host")).allow_device("a/b=c")


# -- devices ------------------------------------------------------------------------------------


@pytest.fixture
def specified(tmp_path, monkeypatch):
    """Return a function that writes a specification, in the one directory that is read."""
    top = tmp_path / "cdi"
    top.mkdir()
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(top),))

    def write(name="acme.json", *, edits, common=None, device="0"):
        document = {
            "cdiVersion": "0.6.0",
            "kind": "acme.com/unit",
            "devices": [{"name": device, "containerEdits": edits}],
            "containerEdits": common or {},
        }
        (top / name).write_text(json.dumps(document))
        return top

    return write


ALLOW = {"allow": ("device",)}


def test_a_device_brings_nodes_mounts_and_variables(tools, specified, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/f").write_text("of the host\n")
    edits = {
        "deviceNodes": [{"path": "/dev/acme0", "hostPath": "/dev/zero"}],
        "mounts": [
            {"hostPath": f"{tmp_path}/lib", "containerPath": "/opt/acme", "options": ["ro"]}
        ],
    }
    specified(edits=edits, common={"env": ["ACME=all", "UNIT=0"]})
    line = (
        "RUN --device=acme.com/unit=0 head -c 3 /dev/acme0 | wc -c; cat /opt/acme/f; "
        "echo $ACME $UNIT; touch /own"
    )
    built = run(tools, line, **ALLOW)
    assert built.output.split() == ["3", "of", "the", "host", "all", "0"]
    assert built.names() == ["own"]
    assert run(tools, line.replace("=0 ", "=* "), **ALLOW).output == built.output


@pytest.mark.skipif(os.geteuid() != 0, reason="a user's cgroup filters no devices")
def test_a_node_has_the_permissions_of_its_specification(tools, specified):
    loop = "/dev/loop-control"  # which no container may open by default
    if not os.path.exists(loop):
        pytest.skip(f"needs {loop}")
    line = "RUN --device=acme.com/unit=0 : < /dev/loop-control; : > /dev/loop-control"
    node = {"path": loop, "permissions": "rw"}
    specified(edits={"deviceNodes": [node]})
    try:
        run(tools, line, **ALLOW)
    except StepFailed:
        pytest.skip("a parent cgroup refuses the device")
    specified(edits={"deviceNodes": [{**node, "permissions": "r"}]})
    run(tools, line.partition(";")[0], **ALLOW)
    with pytest.raises(StepFailed):
        run(tools, line, no_cache=True, **ALLOW)


def test_a_device_has_to_be_allowed_also_where_the_step_is_cached(tools, specified):
    specified(edits={"env": ["A=1"]})
    run(tools, "RUN --device=acme.com/unit=0 true", **ALLOW)
    assert run(tools, "RUN --device=acme.com/unit=0 true", **ALLOW).executed == []
    with pytest.raises(BuildError) as caught:
        run(tools, "RUN --device=acme.com/unit=0 true", allow=("device=acme.com/unit=1",))
    assert caught.value.message == "device acme.com/unit=0 is not allowed"
    assert caught.value.hint == "allow it with --allow device=acme.com/unit=0"


def test_a_device_may_be_missing_unless_it_is_required(tools, specified):
    top = specified(edits={})
    assert run(tools, "RUN --device=acme.com/other=0 echo here").output == "here\n"
    with pytest.raises(BuildError, match=r"required device acme\.com/other=0 is not registered"):
        run(tools, "RUN --device=acme.com/other=0,required true")
    (top / "a.yaml").write_text("kind: [acme.com/other\n")
    (top / "b.json").write_text("{")
    (top / "d.json").write_text('{"kind": "a/b", "devices": [{"name": "0", "containerEdits": 5}]}')
    (top / "e.json").write_text("[" * 100_000)
    (top / "f.json").write_text('{"kind": "a/b"}')
    (top / "g.json").write_text('{"kind": "a/b", "devices": null}')
    (top / "h.json").write_text('{"kind": "a/b", "devices": ["0"]}')
    (top / "i.json").write_text('{"kind": "a/b", "devices": [{}], "containerEdits": null}')
    with pytest.raises(BuildError) as caught:
        run(tools, "RUN --device=acme.com/other=0,required true")
    assert "a.yaml cannot be read: while parsing" in caught.value.hint
    assert "b.json cannot be read" in caught.value.hint
    assert "d.json cannot be read: containerEdits is not an object" in caught.value.hint
    assert "e.json cannot be read: nested too deeply" in caught.value.hint
    assert "f.json cannot be read: 'devices' is missing" in caught.value.hint
    assert "g.json cannot be read: devices is not an array" in caught.value.hint
    assert "h.json cannot be read: a device is not an object" in caught.value.hint
    assert "i.json cannot be read: 'name' is missing" in caught.value.hint
    built = run(tools, "RUN --device=acme.com/other=0 echo warned")
    assert any("a.yaml" in text for text in built.warnings + tuple(map(str, built.events.events)))


def test_specifications_may_be_yaml(tools, specified):
    top = specified(edits={})
    lines = (
        "cdiVersion: 0.6.0", "kind: acme.com/other", "devices:", "- name: '0'",
        "  containerEdits: {env: [A=yaml]}",
    )  # fmt: skip
    (top / "other.yaml").write_text("\n".join(lines))
    assert run(tools, "RUN --device=acme.com/other=0 echo $A", **ALLOW).output == "yaml\n"


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"hooks": [{"hookName": "createContainer"}]}, "has hooks, which are not supported"),
        ({"deviceNodes": [{"path": "/dev/no-such"}]}, "/dev/no-such: No such file or directory"),
        ({"deviceNodes": [{"path": "/etc/passwd"}]}, "/etc/passwd is not a device node"),
        ({"deviceNodes": [{"path": "/dev/null", "uid": 77}]}, "/dev/null has uid 0"),
        ({"deviceNodes": [{}]}, "its specification is malformed"),
        ({"deviceNodes": [{"path": 5}]}, "its specification is malformed"),
        ({"deviceNodes": [{"path": "/dev/\0"}]}, "its specification is malformed"),
        ({"mounts": [{"hostPath": ["/"], "containerPath": "/x"}]}, "specification is malformed"),
        ({"env": 5}, "its specification is malformed"),
        (
            {"mounts": [{"hostPath": "/", "containerPath": "/x", "options": ["sync"]}]},
            "the option sync of mounts is not supported",
        ),
    ],
)
def test_what_a_specification_cannot_have(tools, specified, edits, message):
    specified(edits=edits)
    with pytest.raises(BuildError) as caught:
        run(tools, "RUN --device=acme.com/unit=0 true", **ALLOW)
    assert message in caught.value.message and "acme.com/unit=0" in caught.value.message
