"""``RUN --device``: which devices of the host a command is given.

Source: Dockerfile reference, "RUN --device"; CDI's specification, SPEC.md, "Kind" and "Devices".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ocitool.builder.dockerfile.csv_fields import parse_bool, split_fields
from ocitool.errors import FormatError
from ocitool.suggestions import suggest

_KEYS: Final = ("name", "required")
#: ``vendor/class``, or ``vendor/class=device``, where ``*`` is all devices.
_NAME: Final = re.compile(
    r"[a-z](?:[a-z0-9_.-]*[a-z0-9])?/[a-z](?:[a-z0-9_-]*[a-z0-9])?"
    r"(?:=(?:\*|[a-z0-9](?:[a-z0-9_.:-]*[a-z0-9])?))?",
    re.I | re.A,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFlag:
    """One ``--device``; nothing in it is expanded."""

    name: str  # vendor/class=device
    required: bool = False


def parse_device(text: str) -> DeviceFlag:
    """Read ``[name=]VENDOR/CLASS=DEVICE[,required]``.

    Raises:
        FormatError: there is no name, or something else beside it.
    """
    name, required = "", False
    for field in split_fields(text, "device"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = parse_bool(key, value) if equals else True
        elif key == "name" and equals:
            if name:
                raise FormatError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif equals:
            raise FormatError(f"unexpected key '{key}' in '{field}'{suggest(key, _KEYS)}")
        else:
            raise FormatError(f"invalid field '{field}' must be a key=value pair")
    if not _NAME.fullmatch(name):
        raise FormatError(
            f'invalid device "{name}"',
            hint="a device is VENDOR/CLASS=NAME, for example acme.com/gpu=0",
        )
    return DeviceFlag(name=name, required=required)
