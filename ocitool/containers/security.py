"""What a container may do: ``--cap-add``, ``--cap-drop`` and ``--security-opt``.

Source: moby, oci/caps/utils.go, TweakCapabilities, and daemon/daemon_unix.go, parseSecurityOpt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ocitool.errors import ContainerError
from ocitool_runtime.host.capabilities import NAMES
from ocitool_runtime.spec import DEFAULT_CAPABILITIES

_ALL: Final = "CAP_ALL"
_TRUE: Final = ("", "1", "t", "T", "TRUE", "true", "True")
_FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")
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
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ContainerError(f"invalid --security-opt: {text!r}", hint="use true or false")


def capabilities(
    added: Sequence[str], dropped: Sequence[str], available: frozenset[str]
) -> tuple[str, ...]:
    """Return docker's capabilities with those that are *added* and without those *dropped*.

    Of a name in both, adding wins; ALL adds what is *available* here.

    Raises:
        ContainerError: a name is unknown, or what it names is not available.
    """
    adds, drops = _known("--cap-add", added), _known("--cap-drop", dropped)
    if _ALL in adds:
        return tuple(name for name in NAMES if name in available and name not in drops)
    for name in sorted(adds - available):
        raise ContainerError(
            f"--cap-add {name}: this process does not have the capability, and cannot give it"
        )
    kept = () if _ALL in drops else DEFAULT_CAPABILITIES
    return tuple(name for name in NAMES if name in adds or (name in kept and name not in drops))


def _known(option: str, texts: Sequence[str]) -> frozenset[str]:
    found = set()
    for text in texts:
        name = text.upper()
        name = name if name.startswith("CAP_") else f"CAP_{name}"
        if name not in (*NAMES, _ALL):
            raise ContainerError(f"{option}: unknown capability: {text!r}")
        found.add(name)
    return frozenset(found)
