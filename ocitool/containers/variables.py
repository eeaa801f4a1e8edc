"""The environment of a container: the image's, that of ``--env-file``, that of ``--env``.

Source: docker's reference, "Set environment variables"; docker/cli, pkg/kvfile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ocitool.errors import ContainerError

_LARGEST: Final = 16 << 20  # bytes of a file with variables
_BLANK: Final = " \t\n\v\f\r"


def file_entries(path: str, caller: Mapping[str, str]) -> Iterator[str]:
    """Yield ``NAME=VALUE`` of a file; a name alone has the value of *caller*, if there is one."""
    for line in _text(path).split("\n"):
        line = line.removesuffix("\r").lstrip(_BLANK)  # a value keeps what ends it
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            raise ContainerError(f"invalid env file ({path}): no variable name on line {line!r}")
        if any(blank in name for blank in _BLANK):
            raise ContainerError(
                f"invalid env file ({path}): the name of variable {name!r} has white space"
            )
        if name != line:
            yield line
        elif name in caller:
            yield f"{name}={caller[name]}"


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:  # a pipe, too: --env-file <(command)
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise ContainerError(f"cannot read the env file {path}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise ContainerError(f"the env file {path} has more than {_LARGEST} bytes")
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise ContainerError(f"invalid env file ({path}): it is not UTF-8: {error}") from None


def variables(
    entries: Sequence[str], base: Mapping[str, str], caller: Mapping[str, str]
) -> dict[str, str]:
    """Return *base* changed by *entries*; a name without a value has that of *caller*."""
    env = dict(base)
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name:
            raise ContainerError(
                f"invalid environment variable: {entry!r}", hint="write NAME=value"
            )
        if equals:
            env[name] = value
        elif name in caller:
            env[name] = caller[name]
        else:
            env.pop(name, None)
    return env
