"""Layers of users who have one id and no other: their owners are kept aside.

Such a driver is named ``NAME.aside`` wherever a name stands: as its directory, in the rows of the
store.  So layers of both forms never mix, also when the user is given more ids some day.
See `ocitool.layer.ownership` for what is kept and how.
"""

from __future__ import annotations

import os
from typing import Final

from ocitool.drivers.driver import Support
from ocitool.layer.ownership import OWNER, single_id

#: What is left to users for whom no driver works.
WITHOUT: Final = "pull, build without RUN, push, save and load need no unpacking and work"
_SUFFIX: Final = ".aside"


def reason() -> str:
    """Say why the owners of this user's layers are kept aside; ``""`` if they are not."""
    if os.geteuid() == 0:
        return "this user namespace has a single id" if single_id() else ""
    from ocitool_runtime.host.idmap import current_maps

    maps = current_maps()
    return maps if isinstance(maps, str) else ""


def named(driver: str) -> str:
    """Return the name of the plugin *driver* where owners are kept aside."""
    return f"{plugin(driver)}{_SUFFIX}"


def plugin(name: str) -> str:
    """Return the name of the plugin without what says that owners are kept aside."""
    return name.removesuffix(_SUFFIX)


def is_aside(name: str) -> bool:
    """Say whether *name* is that of a driver whose owners are kept aside."""
    return name.endswith(_SUFFIX)


def probe(home: str) -> Support:
    """Say whether files in *home* can have the attributes that owners are kept in."""
    import tempfile  # not for root, who is here at each start

    with tempfile.NamedTemporaryFile(prefix="probe-", dir=home) as file:
        try:
            os.setxattr(file.fileno(), OWNER, b"0:0")
        except OSError as error:
            return Support(
                ok=False,
                reason=f"layers cannot be unpacked by this user: {reason()}; and the store's file "
                f"system takes no attributes to keep owners in: {error.strerror}",
                hint=WITHOUT,
            )
    return Support(ok=True, reason=f"the owners of files are kept in attributes, for {reason()}")
