"""Capabilities and security options, as docker combines them."""

from __future__ import annotations

import pytest

from ocitool.errors import ContainerError
from ocitool_runtime.host.capabilities import NAMES, available
from ocitool_runtime.security import Security, capabilities, parse_security
from ocitool_runtime.spec import DEFAULT_CAPABILITIES

EVERY = frozenset(NAMES)
DEFAULT = frozenset(DEFAULT_CAPABILITIES)


@pytest.mark.parametrize(
    ("added", "dropped", "expected"),
    [
        ((), (), DEFAULT),
        (("sys_admin",), (), DEFAULT | {"CAP_SYS_ADMIN"}),
        (("CAP_SYS_ADMIN",), ("cap_chown",), (DEFAULT | {"CAP_SYS_ADMIN"}) - {"CAP_CHOWN"}),
        ((), ("ALL",), set()),
        (("CHOWN",), ("all",), {"CAP_CHOWN"}),
        (("CHOWN",), ("CHOWN",), DEFAULT),
        (("ALL",), (), EVERY),
        (("ALL",), ("SYS_ADMIN",), EVERY - {"CAP_SYS_ADMIN"}),
        (("ALL",), ("ALL",), EVERY),
    ],
)
def test_added_and_dropped(added, dropped, expected):
    assert set(capabilities(added, dropped, EVERY)) == set(expected)


def test_all_are_those_that_there_are_and_one_that_is_not_there_is_refused():
    fewer = EVERY - {"CAP_SYS_ADMIN"}
    assert set(capabilities(("ALL",), (), fewer)) == fewer
    with pytest.raises(ContainerError, match="--cap-add CAP_SYS_ADMIN: this process does not have"):
        capabilities(("SYS_ADMIN",), (), fewer)


def test_unknown_names():
    with pytest.raises(ContainerError, match="--cap-add: unknown capability: 'foo'"):
        capabilities(("foo",), (), EVERY)
    with pytest.raises(ContainerError, match="--cap-drop: unknown capability: 'CAP_FOO'"):
        capabilities((), ("CAP_FOO",), EVERY)


def test_what_is_available_is_the_bounding_set():
    assert available() <= EVERY


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), Security()),
        (("no-new-privileges",), Security(no_new_privileges=True)),
        (("no-new-privileges:true",), Security(no_new_privileges=True)),
        (("no-new-privileges=1",), Security(no_new_privileges=True)),
        (("no-new-privileges", "no-new-privileges:false"), Security()),
        (("seccomp=unconfined",), Security(seccomp=False)),
        (("seccomp:unconfined",), Security(seccomp=False)),
        (("seccomp=builtin",), Security()),
        (("apparmor=unconfined", "label=disable"), Security()),
    ],
)
def test_security_options(texts, expected):
    assert parse_security(texts) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no-new-privileges:maybe", "invalid --security-opt"),
        ("seccomp=/profile.json", "seccomp profiles are not supported"),
        ("apparmor=docker-default", "apparmor=docker-default is not supported"),
        ("label=type:x", "label=type:x is not supported"),
        ("systempaths=unconfined", "systempaths=unconfined is not supported"),
        ("bogus", "bogus is not supported"),
    ],
)
def test_security_options_that_are_refused(text, said):
    with pytest.raises(ContainerError, match=said):
        parse_security((text,))
