"""The options ``-v``, ``--mount`` and ``--tmpfs``: from docker's syntax to mounts.

Source: docker's reference, "Mount volume" and "Add bind mounts or volumes using the --mount flag";
docker/cli, opts/mount.go.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Final

from ocitool.errors import ContainerError
from ocitool_runtime.spec import Mount
from ocitool_runtime.words import parse_boolean

#: Options of -v that change nothing here: these are for Docker Desktop, and the default.
_WITHOUT_EFFECT: Final = ("cached", "consistent", "delegated", "private", "rprivate")
#: What to use for options of podman.
_INSTEAD: Final = {
    "O": "use ro, and copy what is to be changed; `ocitool build` has it",
    "U": "give the files their owner before, with chown",
}
_RELABEL: Final = ("z", "Z")
_SELINUX: Final = "/sys/fs/selinux/enforce"
_SIZE: Final = re.compile(r"(\d+)([kmgKMG]?)[iI]?[bB]?")
_KEYS: Final = {
    "src": "source", "destination": "target", "dst": "target", "ro": "readonly",
}  # fmt: skip
_FLAGS: Final = ("readonly", "bind-nonrecursive")
_VALUES: Final = ("type", "source", "target", "bind-propagation", "tmpfs-size", "tmpfs-mode")
_UNSUPPORTED: Final = ("volume-", "image-", "bind-recursive", "bind-create-src", "consistency")


def parse_mounts(
    volumes: Sequence[str], mounts: Sequence[str], tmpfs: Sequence[str]
) -> tuple[Mount, ...]:
    """Return the mounts of these options; two of one target are refused, as docker does."""
    found = (
        *map(volume, volumes), *map(any_mount, mounts), *map(tmpfs_mount, tmpfs),
    )  # fmt: skip
    targets = set()
    for mount in found:
        if mount.target in targets:
            raise ContainerError(f"duplicate mount point: {mount.target}")
        targets.add(mount.target)
    return found


def with_image_volumes(mounts: Sequence[Mount], paths: Iterable[str]) -> tuple[Mount, ...]:
    """Add a volume at each of *paths* that has no mount; the result is in the order of mounting.

    As docker's: what is mounted below another mount comes after it, however they were given.
    """
    targets = {mount.target for mount in mounts}
    wanted = dict.fromkeys(map(_normal, paths))
    made = (_own(target) for target in wanted if target not in targets)
    return tuple(sorted((*mounts, *made), key=lambda mount: mount.target.count("/")))


def _own(target: str) -> Mount:
    return Mount(type="volume", target=target, owned=True)


def volume(text: str) -> Mount:
    """Read ``[SOURCE:]TARGET[:OPTIONS]``; without a source it is an anonymous volume."""
    return _own(_target(text, text)) if re.fullmatch("/[^:]*", text) else bind_mount(text)


def bind_mount(text: str) -> Mount:
    """Read ``SOURCE:TARGET[:OPTIONS]``; the source is a path of the host that exists."""
    parts = text.split(":")
    if len(parts) == 1 or not parts[0].startswith(("/", ".")):
        raise ContainerError(
            f"-v {text}: named volumes are not supported",
            hint="use an absolute host path: -v /data:/data",
        )
    if len(parts) > 3 or not parts[1].startswith("/"):
        raise ContainerError(
            f"invalid volume specification: {text!r}",
            hint="use SOURCE:TARGET[:ro]; the target is an absolute path",
        )
    options = _bind_options(text, parts[2] if len(parts) == 3 else "rw")
    source = os.path.abspath(parts[0])
    if not os.path.lexists(source):
        raise ContainerError(
            f"-v {text}: {source}: no such file or directory", hint="create it first"
        )
    return Mount(type="bind", source=source, target=_target(text, parts[1]), options=options)


def _bind_options(text: str, words: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(words.split(",")))
    for word in found:
        if word not in ("ro", "rw", *_WITHOUT_EFFECT, *_RELABEL):
            raise ContainerError(
                f"-v {text}: the option {word!r} is not supported",
                hint=_INSTEAD.get(word, "use ro, rw, z or Z"),
            )
    for group in (("ro", "rw"), _RELABEL):
        if len(set(group).intersection(found)) > 1:
            raise ContainerError(f"-v {text}: {' and '.join(group)} are mutually exclusive")
    if set(_RELABEL).intersection(found) and os.path.exists(_SELINUX):
        raise ContainerError(
            f"-v {text}: relabeling for SELinux is not supported",
            hint="label the files with chcon -R -t container_file_t, and leave z or Z out",
        )
    return ("rbind", "ro" if "ro" in found else "rw")


def any_mount(text: str) -> Mount:
    """Read ``type=bind|tmpfs,source=...,target=...[,readonly][,...]``, which is a line of CSV."""
    fields = _fields(text)
    kind = fields.get("type", "volume").lower()
    if kind not in ("bind", "tmpfs", "volume"):
        raise ContainerError(
            f"--mount {text}: mounts of type {kind} are not supported",
            hint="use type=bind, type=tmpfs, or type=volume without a source",
        )
    for other in ("bind", "tmpfs"):
        if kind != other and any(key.startswith(f"{other}-") for key in fields):
            raise ContainerError(f"--mount {text}: cannot mix '{other}-*' options with type {kind}")
    if "target" not in fields:
        raise ContainerError(f"--mount {text}: target is required")
    if not fields["target"].startswith("/"):
        raise ContainerError(f"--mount {text}: the target must be an absolute path")
    target = _target(text, fields["target"])
    access = "ro" if fields.get("readonly") == "true" else "rw"
    if kind == "bind":
        return _bind(text, fields, target, access)
    if kind == "volume":
        return _anonymous(text, fields, target, access)
    if "source" in fields:
        raise ContainerError(f"--mount {text}: a mount of type tmpfs has no source")
    options = [f"{name}={value}" for name, value in _tmpfs_values(text, fields)]
    return Mount(
        type="tmpfs", target=target, options=(access, "nosuid", "nodev", "noexec", *options)
    )


def _bind(text: str, fields: dict[str, str], target: str, access: str) -> Mount:
    source = fields.get("source", "")
    if not source.startswith(("/", ".")):
        raise ContainerError(
            f"--mount {text}: source is required, and must be an absolute path,"
            " or a relative one that begins with a dot"
        )
    source = os.path.abspath(source)
    if not os.path.lexists(source):
        raise ContainerError(f"--mount {text}: bind source path does not exist: {source}")
    if (wanted := fields.get("bind-propagation", "rprivate")) not in ("private", "rprivate"):
        raise ContainerError(f"--mount {text}: bind-propagation={wanted} is not supported")
    kind = "bind" if fields.get("bind-nonrecursive") == "true" else "rbind"
    return Mount(type="bind", source=source, target=target, options=(kind, access))


def _anonymous(text: str, fields: dict[str, str], target: str, access: str) -> Mount:
    if fields.get("source"):
        raise ContainerError(
            f"--mount {text}: named volumes are not supported",
            hint="use type=bind, or leave source out",
        )
    if access == "ro":
        raise ContainerError(f"--mount {text}: a volume without a source cannot be read-only")
    return _own(target)


def _fields(text: str) -> dict[str, str]:
    import csv  # slow to load, rarely wanted

    try:
        (row,) = csv.reader([text], strict=True)
    except (ValueError, csv.Error) as error:
        raise ContainerError(f"invalid --mount {text!r}: {error}") from None
    if not row:
        raise ContainerError("invalid --mount: the value is empty")
    found: dict[str, str] = {}
    for field in row:
        key, equals, value = field.partition("=")
        key = _KEYS.get(key.lower(), key.lower())
        if key in _FLAGS:
            found[key] = _boolean(text, key, value if equals else "true")
        elif key.startswith(_UNSUPPORTED):
            raise ContainerError(f"--mount {text}: the option {key!r} is not supported")
        elif key not in _VALUES:
            raise ContainerError(f"--mount {text}: unexpected key {key!r} in {field!r}")
        elif not equals:
            raise ContainerError(f"--mount {text}: the field {field!r} must be a key=value pair")
        else:
            found[key] = value
    return found


def _boolean(text: str, key: str, value: str) -> str:
    found = parse_boolean(value)
    if found is None:
        raise ContainerError(f"--mount {text}: invalid value for {key}: {value!r}")
    return str(found).lower()


def _tmpfs_values(text: str, fields: dict[str, str]) -> list[tuple[str, str]]:
    found = []
    if (size := fields.get("tmpfs-size")) is not None:
        match = _SIZE.fullmatch(size)
        if match is None:
            raise ContainerError(f"--mount {text}: invalid value for tmpfs-size: {size!r}")
        found.append(("size", f"{match[1]}{match[2].lower()}"))
    if (mode := fields.get("tmpfs-mode")) is not None:
        if not re.fullmatch(r"0?[0-7]{1,4}", mode):
            raise ContainerError(f"--mount {text}: invalid value for tmpfs-mode: {mode!r}")
        found.append(("mode", mode[-4:]))
    return found


def tmpfs_mount(text: str) -> Mount:
    """Read ``/path[:size=64m,mode=1777,...]``."""
    path, _, words = text.partition(":")
    if not path.startswith("/"):
        raise ContainerError(f"--tmpfs {text}: mount path must be absolute")
    options = tuple(word for word in words.split(",") if word)
    safe = ("nosuid", "nodev", "noexec")
    defaults = tuple(each for each in safe if each.removeprefix("no") not in options)
    return Mount(
        type="tmpfs",
        target=_target(text, path),
        options=tuple(dict.fromkeys((*defaults, *options))),
    )


def _normal(path: str) -> str:
    """Return an absolute path with one slash at its begin; posixpath keeps two."""
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _target(text: str, path: str) -> str:
    target = _normal(path)
    if target == "/":
        raise ContainerError(f"invalid volume specification: {text!r}: destination can't be '/'")
    return target
