"""Names of build arguments that mean something without an ARG."""

from __future__ import annotations

from typing import Final

#: The latest time of anything new, in seconds since the epoch.
EPOCH: Final = "SOURCE_DATE_EPOCH"
#: The host name that a RUN sees.
HOSTNAME_ARG: Final = "BUILDKIT_SANDBOX_HOSTNAME"
#: Whether the result of one platform is written in the form of several.
MULTI_PLATFORM: Final = "BUILDKIT_MULTI_PLATFORM"
