"""Drivers of users with a single ID, who cannot own files as the users of a container do.

Owners and devices are kept in ownership override xattrs instead (`ocitool.layer.ownership`).  Such
a driver is named ``NAME.aside`` wherever a name is stored: as its directory, in the rows of the
store.  So layers of both forms never mix, also when the user is given subordinate IDs later.
"""

from __future__ import annotations

import os
from typing import Final

from ocitool.drivers.driver import Support
from ocitool.layer.ownership import OWNER
from ocitool_runtime.errors import MapsUnavailable
from ocitool_runtime.host.userns import idmap

#: What works for users for whom no driver does.
WITHOUT: Final = "pull, build without RUN, push, save and load need no unpacking and work"
_SUFFIX: Final = ".aside"


def reason() -> str:
    """Say why this user has a single ID, and what would help; ``""`` if the user has more."""
    if os.geteuid() == 0:
        return "this user namespace maps a single ID" if idmap.maps_single_id() else ""
    try:
        idmap.current_maps()
    except MapsUnavailable as error:
        return f"{error} ({error.hint})"
    return ""


def named(driver: str) -> str:
    """Return the name of the plugin *driver* with ownership override xattrs."""
    return f"{plugin(driver)}{_SUFFIX}"


def plugin(name: str) -> str:
    """Return the name of the plugin, without the suffix for ownership override xattrs."""
    return name.removesuffix(_SUFFIX)


def is_aside(name: str) -> bool:
    """Say whether *name* is that of a driver with ownership override xattrs."""
    return name.endswith(_SUFFIX)


def probe(home: str) -> Support:
    """Say whether files in *home* can have ownership override xattrs."""
    import tempfile  # not for root, who is here at each start

    with tempfile.TemporaryFile(dir=home) as file:
        try:
            os.setxattr(file.fileno(), OWNER, b"0:0")
        except OSError as error:
            return Support(
                ok=False,
                reason=f"layers cannot be unpacked by this user: {reason()}; and the file system "
                "of the store does not support user extended attributes for file owners: "
                f"{error.strerror}",
                hint=WITHOUT,
            )
    return Support(ok=True, reason=f"file owners are stored in extended attributes: {reason()}")
