"""What a container may do: ``--cap-add``, ``--cap-drop`` and ``--security-opt``.

Source: moby, oci/caps/utils.go, TweakCapabilities, and daemon/daemon_unix.go, parseSecurityOpt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ocitool.errors import ContainerError
from ocitool_runtime.host.capabilities import NAMES, available
from ocitool_runtime.host.userns.idmap import Maps
from ocitool_runtime.spec import DEFAULT_CAPABILITIES, Sandbox
from ocitool_runtime.words import parse_boolean

_ALL: Final = "CAP_ALL"
#: What holds anyway: a sandbox has neither a profile of AppArmor nor a label of SELinux.
_HOLDS: Final = (("apparmor", "unconfined"), ("label", "disable"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """The part of a `Sandbox` that ``--security-opt`` decides."""

    no_new_privileges: bool = False
    seccomp: bool = True


def parse_security(texts: Sequence[str]) -> Security:
    """Read ``no-new-privileges[:BOOL]`` and ``seccomp=unconfined``; refuse any other by name."""
    no_new_privileges, seccomp = False, True
    for text in texts:
        name, _, value = text.partition("=" if "=" in text else ":")
        if name == "no-new-privileges":
            no_new_privileges = _boolean(text, value)
        elif name == "seccomp" and value in ("unconfined", "builtin"):
            seccomp = value == "builtin"
        elif name == "seccomp":
            raise ContainerError(
                f"--security-opt {text}: seccomp profiles are not supported",
                hint="use seccomp=builtin, the default, or seccomp=unconfined",
            )
        elif (name, value) not in _HOLDS:
            raise ContainerError(
                f"--security-opt {text} is not supported",
                hint="one of no-new-privileges[:BOOL], seccomp=unconfined",
            )
    return Security(no_new_privileges=no_new_privileges, seccomp=seccomp)


def _boolean(text: str, value: str) -> bool:
    found = parse_boolean(value or "true")
    if found is None:
        raise ContainerError(f"invalid --security-opt: {text!r}", hint="use true or false")
    return found


def capabilities(
    added: Sequence[str], dropped: Sequence[str], known: frozenset[str]
) -> tuple[str, ...]:
    """Return docker's capabilities with those that are *added* and without those *dropped*.

    Of a name in both, adding wins; ALL adds what is *known* here.

    Raises:
        ContainerError: a name is unknown, or what it names is not available.
    """
    adds = frozenset(parse_capabilities("--cap-add", added))
    drops = frozenset(parse_capabilities("--cap-drop", dropped))
    if _ALL in adds:
        return tuple(name for name in NAMES if name in known and name not in drops)
    for name in sorted(adds - known):
        raise ContainerError(
            f"--cap-add {name}: this process does not have the capability, and cannot give it"
        )
    kept = () if _ALL in drops else DEFAULT_CAPABILITIES
    return tuple(name for name in NAMES if name in adds or (name in kept and name not in drops))


def entitled(
    sandbox: Sandbox,
    maps: Maps,
    *,
    added: Sequence[str],
    dropped: Sequence[str],
    security: Security,
) -> Sandbox:
    """Return *sandbox* with these rights; `ContainerError` for those that this user cannot give."""
    if maps.single and not security.seccomp:
        raise ContainerError(
            "--security-opt seccomp=unconfined is not supported for a user with a single ID:"
            " the filter keeps the owners of files",
            hint="ask root for subordinate IDs, see `ocitool info`",
        )
    # The first process of a user namespace has all capabilities there.
    here = frozenset(NAMES) if maps.uid_maps else available()
    return replace(
        sandbox,
        capabilities=capabilities(added, dropped, here),
        no_new_privileges=security.no_new_privileges,
        seccomp=security.seccomp,
    )


def parse_capabilities(option: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return full names, sorted; `ContainerError` for an unknown one that *option* was given."""
    found = set()
    for text in texts:
        name = text.upper()
        name = name if name.startswith("CAP_") else f"CAP_{name}"
        if name not in (*NAMES, _ALL):
            raise ContainerError(
                f"{option}: unknown capability: {text!r}",
                hint="capabilities(7) lists them; write NET_ADMIN, CAP_NET_ADMIN or ALL",
            )
        found.add(name)
    return tuple(sorted(found))
