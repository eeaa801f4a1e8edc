"""Which driver is used, and why: probed once in each boot of the machine, and remembered."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeAlias

from ocitool import plugins
from ocitool.drivers.driver import Driver, Support
from ocitool.drivers.rootless import single_id
from ocitool.errors import DriverError, DriverUnavailable, PluginError
from ocitool_runtime.errors import MapsUnavailable
from ocitool_runtime.host.userns import userns

_GROUP: Final = "ocitool.drivers"
#: The file with the choice that is remembered, beside the directories of the drivers.
_REMEMBERED: Final = "choice.json"
#: The answer for drivers that mount root directories, if the isolation does not support that.
_MOUNTS: Final = Support(
    ok=False,
    reason="it mounts root directories, which isolation by chroot does not support",
    quiet=True,
)
#: Takes over a driver that works, and closes it.
Keep: TypeAlias = Callable[[Driver], object]
_METHODS: Final = tuple(name for name in vars(Driver) if not name.startswith("_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One driver and what its probe said."""

    name: str
    support: Support


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The driver in use and why it works; the drivers that were tried before it and do not work."""

    name: str
    reason: str = ""
    passed_over: tuple[Candidate, ...] = ()
    new: bool = True  # the last choice for this store was another one, or there was none


def make(name: str, home: str) -> Driver:
    """Return the driver *name* with its directory *home*, made if missing.

    For an ordinary user it works through a user namespace: ``NAME.aside`` through one of a single
    ID, with ownership override xattrs (`ocitool.drivers.rootless.single_id`); where user namespaces
    are refused, a driver that mounts nothing works with these alone.

    Raises:
        DriverUnavailable: this user has no subordinate IDs, so files of containers cannot be kept.
        PluginError: there is no such driver, or it lacks a method.
    """
    kind = plugins.lookup(_GROUP, single_id.plugin(name))
    os.makedirs(home, mode=0o700, exist_ok=True)
    driver: Driver = kind(home)
    if missing := [method for method in _METHODS if not hasattr(driver, method)]:
        raise PluginError(
            f"driver {name!r} lacks {', '.join(missing)} of ocitool.drivers.driver.Driver",
            where=_GROUP,
            hint="install a version of the driver that was made for this version of ocitool",
        )
    if single_id.is_aside(name):
        alone = getattr(driver, "unprivileged", False) and not _may_make_namespaces()
        maps = userns.Maps() if alone else userns.single_map()
    elif os.geteuid() == 0:
        return driver
    else:
        maps = _ranges(name)
    from ocitool.drivers.rootless.proxy import RootlessDriver

    return RootlessDriver(name, driver, home, maps)


def _may_make_namespaces() -> bool:
    return os.geteuid() == 0 or userns.supported().ok


def _ranges(name: str) -> userns.Maps:
    try:
        return userns.current_maps()
    except MapsUnavailable as error:
        raise DriverUnavailable(
            f"layers cannot be unpacked by this user with their owners: {error}",
            where=name,
            hint=f"{error.hint}; or use --driver {single_id.named(name)}, "
            "which stores the owners in extended attributes",
        ) from error


def close(driver: Driver) -> None:
    """Close *driver*."""
    driver.close()


def probe(name: str, home: str, keep: Keep = close) -> Support:
    """Say whether the driver *name* works in *home*; one that does is handed to *keep*."""
    try:
        with contextlib.ExitStack() as unless_kept:
            driver = unless_kept.enter_context(contextlib.closing(make(name, home)))
            if not getattr(driver, "unprivileged", False) and not _may_make_namespaces():
                supported = userns.supported()
                reason = f"layers cannot be unpacked by this user: {supported.reason}"
                hint = f"{supported.hint}; {single_id.WITHOUT}".removeprefix("; ")
                # Where this is so, no driver could do what vfs does not.
                return Support(ok=False, reason=reason, hint=hint, quiet=True)
            support = driver.probe()
            if support.ok and single_id.is_aside(name):
                owners = single_id.probe(home)
                text = f"{support.reason}; {owners.reason}" if owners.ok else owners.reason
                support = replace(owners, reason=text)
            if support.ok:
                unless_kept.pop_all()
                keep(driver)
            return support
    except DriverUnavailable as error:
        return Support(ok=False, reason=error.message, hint=error.hint)
    except (DriverError, OSError) as error:
        return Support(ok=False, reason=str(error))


def choose(drivers: str, wanted: str = "", *, mounts: bool = True, keep: Keep = close) -> Choice:
    """Choose the first driver that works, by probes; without *mounts* only one that mounts nothing.

    *drivers* is the directory that holds a directory for each driver.  A *wanted* driver is used
    or refused, never replaced.  The chosen driver is handed to *keep*.

    Raises:
        DriverUnavailable: none works, or not the wanted one.
    """
    tried: list[Candidate] = []
    single = bool(single_id.reason()) or not _may_make_namespaces()
    if single_id.is_aside(wanted) and not single:
        raise DriverUnavailable(
            "ownership override is only for users with a single ID, and this user has several",
            where=f"driver {wanted}",
            hint=f"use --driver {single_id.plugin(wanted)}",
        )
    for name in (wanted,) if wanted else plugins.names(_GROUP):
        if not (wanted or mounts or _mounts_nothing(name)):
            tried.append(Candidate(name=name, support=_MOUNTS))
            continue
        name = single_id.named(name) if single else name
        support = probe(name, f"{drivers}/{name}", keep)
        if support.ok:
            return Choice(name=name, reason=support.reason, passed_over=tuple(tried))
        tried.append(Candidate(name=name, support=support))
    shown = next((each for each in tried if not each.support.quiet), tried[0])
    reason, hint = shown.support.reason, shown.support.hint
    raise DriverUnavailable(reason, where=f"driver {shown.name}", hint=hint)


def _mounts_nothing(name: str) -> bool:
    return getattr(plugins.lookup(_GROUP, name), "unprivileged", False)


def choose_once(
    drivers: str,
    wanted: str,
    *,
    mounts: bool = True,
    keep: Keep = close,
    boot: str,
    before_probe: Callable[[], None],
    write: Callable[[str, bytes], None],
) -> Choice:
    """Return the choice that is remembered in *drivers*, or choose and remember.

    It is remembered until the next *boot* of the machine, for a user, the *wanted* driver and
    whether it may use *mounts*.
    A driver that was probed is handed to *keep*, because its worker runs already.
    *before_probe* is called before anything is written and may raise; *write* replaces a file.
    """
    path = f"{drivers}/{_REMEMBERED}"
    asked: dict[str, Any] = {"boot": boot, "uid": os.geteuid(), "wanted": wanted}
    if asked["uid"] != 0:  # the user may have been given subordinate IDs since
        asked["aside"] = single_id.reason()
    if not mounts:
        asked["mounts"] = False
    known = _remembered(path)
    if known is not None and known[0] == asked:
        return known[1]
    before_probe()
    choice = choose(drivers, wanted, mounts=mounts, keep=keep)
    if known is not None:
        choice = replace(choice, new=choice != replace(known[1], new=True))
    passed = [[each.name, asdict(each.support)] for each in choice.passed_over]
    answer = {"name": choice.name, "reason": choice.reason, "passed": passed}
    with contextlib.suppress(OSError):  # it only saves the time of a probe
        write(path, json.dumps({"asked": asked, "answer": answer}).encode())
    return choice


def _remembered(path: str) -> tuple[object, Choice] | None:
    """Return what was asked and chosen by the file *path*; None if there is no such file."""
    try:
        with open(path, "rb") as file:
            known = json.load(file)
        answer = known["answer"]
        passed = tuple(
            Candidate(name=name, support=Support(**support)) for name, support in answer["passed"]
        )
        choice = Choice(name=answer["name"], reason=answer["reason"], passed_over=passed, new=False)
        return known["asked"], choice
    except (OSError, ValueError, KeyError, TypeError):
        return None
