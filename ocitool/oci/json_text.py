"""JSON that others wrote, as Go reads it."""

from __future__ import annotations

import json
import re
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")


def parse_json(data: bytes) -> Any:
    """Return the value in *data*, which is well-formed text.

    Half a surrogate pair is no character, and cannot be written anywhere: it becomes U+FFFD.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return well_formed(json.loads(data))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def well_formed(value: Any) -> Any:
    """Return a value of JSON with U+FFFD for each half of a surrogate pair in it."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [well_formed(each) for each in value]
    if isinstance(value, dict):
        return {well_formed(name): well_formed(each) for name, each in value.items()}
    return value
