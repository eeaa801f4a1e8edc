"""What a sandbox is asked for before there is one; apart from `spec`, so that it imports fast."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: What Docker gives to a container whose image has no PATH (moby, oci/defaults.go).
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Network(StrEnum):
    """Which network a sandbox has.  ``Network("none")`` reads what a user has written."""

    HOST = "host"  # that of the host
    NONE = "none"  # a network namespace with nothing in it but the loopback device
