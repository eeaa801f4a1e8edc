"""``RUN --device``: devices of the host, as the Container Device Interface describes them.

The specifications of this machine say which device nodes, mounts and variables a device consists
of.  They are read in JSON; a sandbox has no hooks.

Source: CNCF, container-device-interface, SPEC.md.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ocitool.builder.definition import Device
from ocitool.builder.solver.mounts.making import Made, moves
from ocitool.builder.solver.step_context import StepContext
from ocitool.errors import BuildError
from ocitool.oci.json_text import parse_json
from ocitool.progress import Notice
from ocitool_runtime.spec import DeviceRule, Mount

#: Of a device that several have, the last one counts.
DIRECTORIES: Final = ("/etc/cdi", "/var/run/cdi")
_LARGEST: Final = 16 << 20  # bytes of a specification
_EDITS: Final = ("env", "deviceNodes", "mounts", "additionalGids")
_MOUNT_OPTIONS: Final = ("ro", "rw", "nosuid", "nodev", "noexec", "bind", "rbind")
_WITHOUT_EFFECT: Final = ("private", "rprivate")  # as all mounts of a sandbox are


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the specifications have: for each device its edits, those of the whole file first."""

    devices: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


def made_devices(context: StepContext, devices: Sequence[Device]) -> Made:
    """Return what a RUN has of *devices*; one that is not required may be missing.

    Raises:
        BuildError: one is missing or not allowed, or cannot be had as its specification says.
    """
    if not devices:
        return Made()
    found, mounts, env = _read(DIRECTORIES), list[Mount](), dict[str, str]()
    rules, groups = list[DeviceRule](), list[str]()
    for device in devices:
        names = list(_named(device.name, found.devices))
        if not names:
            _missing(context, device, found)
        for name in names:
            _check(context, device, name)
            for edits in found.devices[name]:
                made = _applied(name, edits)
                mounts += made.mounts
                env |= made.env
                rules += made.devices
                groups += made.groups
    return Made(mounts=tuple(mounts), env=env, devices=tuple(rules), groups=tuple(groups))


def _named(name: str, known: Mapping[str, object]) -> Iterator[str]:
    """Yield the devices that *name* stands for: one, or with ``*`` or without a name all."""
    kind, _, device = name.partition("=")
    for each in known:
        if each == name or (device in ("", "*") and each.startswith(f"{kind}=")):
            yield each


def _missing(context: StepContext, device: Device, found: _Found) -> None:
    why = "; ".join(found.unreadable)
    if device.required:
        raise BuildError(
            f"required device {device.name} is not registered",
            hint=why or f"{' and '.join(DIRECTORIES)} have no specification of it",
        )
    if why:
        text = f"device {device.name} is not registered: {why}"
        context.progress.emit(Notice(text=text, level="warning"))


def _check(context: StepContext, device: Device, name: str) -> None:
    if not device.allowed:
        raise BuildError(
            f"device {name} is not allowed", hint=f"allow it with --allow device={device.name}"
        )
    if moves(context):
        raise BuildError(
            f"device {name}: this isolation does not support devices",
            hint="use --isolation namespaces where it works",
        )


# -- specifications -------------------------------------------------------------------------------


def _read(directories: Sequence[str]) -> _Found:
    devices: dict[str, Sequence[Mapping[str, Any]]] = {}
    unreadable = []
    for directory in directories:
        for name in _files(directory):
            path = f"{directory}/{name}"
            try:
                devices |= _devices(_load(path))
            except KeyError as error:
                unreadable.append(f"{path} cannot be read: {error} is missing")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                unreadable.append(f"{path} cannot be read: {reason}")
    return _Found(devices=devices, unreadable=tuple(unreadable))


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [name for name in names if name.endswith((".json", ".yaml", ".yml"))]


def _load(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        data = file.read(_LARGEST)
    return _object(parse_json(data) if path.endswith(".json") else _yaml(data), "it")


def _yaml(data: bytes) -> object:
    import yaml  # slow to load, rarely wanted

    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _devices(document: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    kind, devices = document["kind"], document["devices"]
    if not isinstance(devices, list):
        raise ValueError("devices is not an array")
    return {
        f"{kind}={_object(device, 'a device')['name']}": [_edits(document), _edits(device)]
        for device in devices
    }


def _edits(of: Mapping[str, Any]) -> dict[str, Any]:
    return _object(of.get("containerEdits") or {}, "containerEdits")


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")
    return value


# -- edits ----------------------------------------------------------------------------------------


def _applied(name: str, edits: Mapping[str, Any]) -> Made:
    for key, value in edits.items():
        if value and key not in _EDITS:
            raise BuildError(
                f"device {name}: its specification has {key}, which are not supported",
                hint="supported are device nodes, mounts, variables and groups",
            )
    try:
        nodes = [_node(name, node) for node in edits.get("deviceNodes") or ()]
        env = dict(each.partition("=")[::2] for each in edits.get("env") or ())
        mounts = [_mount(name, mount) for mount in edits.get("mounts") or ()]
        groups = tuple(str(int(group)) for group in edits.get("additionalGids") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BuildError(f"device {name}: its specification is malformed: {error!r}") from error
    return Made(
        mounts=(*(mount for mount, _ in nodes), *mounts),
        env=env,
        devices=tuple(rule for _, rule in nodes),
        groups=groups,
    )


def _node(name: str, node: Mapping[str, Any]) -> tuple[Mount, DeviceRule]:
    path = _text(node["path"])
    source = _text(node.get("hostPath") or path)
    try:
        found = os.stat(source)
    except OSError as error:
        raise BuildError(f"device {name}: {source}: {error.strerror}") from error
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise BuildError(f"device {name}: {source} is not a device node")
    here = {"uid": found.st_uid, "gid": found.st_gid, "fileMode": stat.S_IMODE(found.st_mode)}
    for key, value in here.items():
        wanted = node.get(key)
        if wanted is not None and wanted != value:
            raise BuildError(
                f"device {name}: {source} has {key} {value}, and the specification {wanted}",
                hint="change the specification or the device node of the host",
            )
    rule = DeviceRule(
        kind="b" if stat.S_ISBLK(found.st_mode) else "c",
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        access=_text(node.get("permissions") or "rwm"),
    )
    return Mount(type="bind", source=source, target=path, options=("rw", "dev")), rule


def _mount(name: str, mount: Mapping[str, Any]) -> Mount:
    options = [each for each in mount.get("options") or () if each not in _WITHOUT_EFFECT]
    for option in options:
        if option not in _MOUNT_OPTIONS:
            raise BuildError(f"device {name}: the option {option} of mounts is not supported")
    return Mount(
        type="bind",
        source=_text(mount["hostPath"]),
        target=_text(mount["containerPath"]),
        options=tuple(options),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is no text")
    return value
