"""Options that a caller of the library can get wrong."""

from __future__ import annotations

import pytest

from ocitool import RunOptions
from ocitool.containers.lifecycle import confined_sandbox
from ocitool.errors import ContainerError
from ocitool_runtime import Network, Rlimit
from ocitool_runtime.host.userns.idmap import Maps, single_map


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pull": "often"}, "invalid pull option: 'often'"),
        ({"shm_size": -1}, "must not be less than 0"),
        ({"labels": {"": "x"}}, "the name is empty"),
        ({"network": "mine"}, "--network mine is not supported"),
    ],
)
def test_values_that_are_refused(options, said):
    with pytest.raises(ContainerError, match=said):
        RunOptions(image="x", **options).check()


def test_what_options_say_of_a_sandbox():
    options = RunOptions(
        image="x",
        add_hosts=["db:1.2.3.4"],
        dns=["1.2.3.4"],
        groups=["audio"],
        shm_size=1 << 20,
        ulimits=["nofile=1:2"],
        cap_drop=["ALL"],
        security_opts=["no-new-privileges", "seccomp=unconfined"],
        network=Network.NONE,
        read_only=True,
        init=True,
    )
    sandbox = confined_sandbox(options, Maps())
    assert sandbox.hosts == ("1.2.3.4\tdb",)
    assert (sandbox.dns, sandbox.groups, sandbox.shm_size) == (("1.2.3.4",), ("audio",), 1 << 20)
    assert sandbox.rlimits == (Rlimit(name="nofile", soft=1, hard=2),)
    assert sandbox.capabilities == ()
    assert (sandbox.no_new_privileges, sandbox.seccomp) == (True, False)
    assert (sandbox.network, sandbox.readonly, sandbox.init) == ("none", True, True)


def test_no_size_of_shared_memory_is_dockers():
    for size in (None, 0):
        sandbox = confined_sandbox(RunOptions(image="x", shm_size=size), Maps())
        assert sandbox.shm_size == 64 << 20


def test_a_single_id_needs_the_filter():
    options = RunOptions(image="x", security_opts=("seccomp=unconfined",))
    with pytest.raises(ContainerError, match="not supported for a user with a single ID"):
        confined_sandbox(options, single_map())
