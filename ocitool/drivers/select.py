"""Which driver is used, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from ocitool import plugins
from ocitool.drivers.driver import Driver, Support
from ocitool.drivers.rootless import single_id
from ocitool.errors import DriverError, DriverUnavailable
from ocitool_runtime.host import userns


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One driver and what its probe said."""

    name: str
    support: Support


def make(name: str, home: str) -> Driver:
    """Return the driver *name* with its directory *home*, made if missing.

    For an ordinary user it works through a user namespace: ``NAME.aside`` through one of a single
    id, with owners kept aside (`ocitool.drivers.rootless.single_id`).

    Raises:
        DriverUnavailable: this user has no range of ids, so those of containers cannot be kept.
    """
    kind = plugins.lookup("ocitool.drivers", single_id.plugin(name))
    os.makedirs(home, mode=0o700, exist_ok=True)
    driver: Driver = kind(home)
    if single_id.is_aside(name):
        maps = userns.single_map()
    elif os.geteuid() == 0:
        return driver
    else:
        maps = _ranges(name)
    from ocitool.drivers.rootless.proxy import Unshared

    return Unshared(name, driver, home, maps)


def _ranges(name: str) -> userns.Maps:
    maps = userns.current_maps()
    if isinstance(maps, str):
        raise DriverUnavailable(
            f"layers cannot be unpacked by this user with their owners: {maps}",
            where=name,
            hint=f"{single_id.named(name)} keeps the owners aside",
        )
    return maps


def probe(name: str, home: str) -> Support:
    """Say whether the driver *name* works in *home*."""
    try:
        driver = make(name, home)
        if os.geteuid() != 0 and not (supported := userns.supported()).ok:
            reason = f"layers cannot be unpacked by this user: {supported.reason}"
            hint = f"{supported.hint}; {single_id.WITHOUT}".removeprefix("; ")
            return Support(ok=False, reason=reason, hint=hint)
        try:
            support = driver.probe()
            if support.ok and single_id.is_aside(name):
                kept = single_id.probe(home)
                text = f"{support.reason}; {kept.reason}" if kept.ok else kept.reason
                return replace(kept, reason=text)
            return support
        finally:
            if end := getattr(driver, "close", None):  # one with a process of its own
                end()
    except DriverUnavailable as error:
        return Support(ok=False, reason=error.message, hint=error.hint)
    except (DriverError, OSError) as error:
        return Support(ok=False, reason=str(error))


def choose(drivers: str, wanted: str = "") -> tuple[str, tuple[Candidate, ...]]:
    """Return the name of the driver to use, and what was tried on the way.

    *drivers* is the directory that holds a directory for each driver.  A *wanted* driver is used
    or refused, never replaced.

    Raises:
        DriverUnavailable: none works, or not the wanted one.
    """
    tried: list[Candidate] = []
    kept_aside = bool(single_id.reason())
    if single_id.is_aside(wanted) and not kept_aside:
        raise DriverUnavailable(
            "owners need not be kept aside: this user has all ids",
            where=f"driver {wanted}",
            hint=f"--driver {single_id.plugin(wanted)}",
        )
    for name in (wanted,) if wanted else plugins.names("ocitool.drivers"):
        name = single_id.named(name) if kept_aside else name
        support = probe(name, f"{drivers}/{name}")
        tried.append(Candidate(name=name, support=support))
        if support.ok:
            return name, tuple(tried)
    told = next((each for each in tried if not each.support.quiet), tried[0])
    reason, hint = told.support.reason, told.support.hint
    raise DriverUnavailable(reason, where=f"driver {told.name}", hint=hint)
