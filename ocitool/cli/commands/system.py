"""``system df|check``, ``info``, ``version``."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import click

from ocitool import __version__
from ocitool.cli.app import App, pass_app
from ocitool.cli.options.shared import (
    authfile_option,
    format_option,
    insecure_option,
    progress_option,
    short_format_option,
)
from ocitool.cli.output.output import Column, emit_list, short_id, write, write_line
from ocitool.cli.output.text import one_line, shortened
from ocitool.cli.output.units import ago, human_size
from ocitool.oci.platform import this_platform

if TYPE_CHECKING:
    from ocitool.progress import ProgressSink
    from ocitool.settings import Settings
    from ocitool.store.maintenance.usage.usage import Usage
    from ocitool.store.store import Store


@click.command()
@click.option("--repair", is_flag=True, help="Repair problems, and remove unreferenced data")
@insecure_option
@authfile_option
@progress_option
@pass_app
def check(app: App, repair: bool, tls_verify: bool, authfile: str | None, progress: str) -> int:
    """Check the integrity of the store

    Verifies the digest of every blob, resolves every image name, and compares every unpacked layer
    with its blob.  Each problem is printed with its remedy, and the exit code is then 1.
    Unreferenced data is listed, too, but is not a problem.  Nothing is changed without --repair.

    With --repair, corrupt and missing blobs are fetched again from the registry that they were
    pulled from.  Corrupt layers and indexes are removed; they are created again when they are
    needed.  Unreferenced data is removed.  The exit code is 1 if a problem could not be repaired.
    """
    given = click.get_current_context().get_parameter_source
    for name in ("authfile", "tls_verify"):
        if not repair and given(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} requires --repair")
    with app.progress(progress) as sink, app.store(sink) as store:
        lines, wrong = (
            _repaired(store, sink, not tls_verify, authfile) if repair else _checked(store, sink)
        )
    write("".join(f"{line}\n" for line in lines))
    return 1 if wrong else 0


def _checked(store: Store, sink: ProgressSink) -> tuple[list[str], bool]:
    from ocitool.errors import StoreError
    from ocitool.store.maintenance.check.check import check as check_store
    from ocitool.store.maintenance.unreferenced import unreferenced_data

    problems = list(check_store(store, sink))
    lines = [_entry(problem.what, problem.remedy) for problem in problems]
    with contextlib.suppress(StoreError):  # the index or the database is corrupt, as reported
        if found := list(unreferenced_data(store)):
            lines += map(one_line, found)
            before = "after a repair, " if problems else ""
            lines += [f"  unreferenced data: {before}run `ocitool system prune` to remove it"]
    return lines if problems else [*lines, "No problems found"], bool(problems)


def _entry(problem: str, remedy: str) -> str:
    return f"{one_line(shortened(problem))}\n  {one_line(shortened(remedy))}"


def _repaired(
    store: Store, sink: ProgressSink, insecure: bool, authfile: str | None
) -> tuple[list[str], bool]:
    from ocitool.image.repair import Repaired
    from ocitool.image.repair import repair as repair_store

    lines, wrong = [], False
    for result in repair_store(store, sink, insecure=insecure, authfile=authfile):
        if isinstance(result, Repaired):
            lines.append(_entry(result.problem.what, result.done))
        else:
            wrong = True
            lines.append(_entry(result.what, result.remedy))
    if not wrong:
        lines.append("All problems were repaired" if lines else "No problems found")
    return lines, wrong


@click.command()
@short_format_option
@pass_app
def info(app: App, format_: str | None) -> None:
    """Display system-wide information

    Shows the store, the storage driver and why it was chosen, and whether containers can run.
    """
    from ocitool.cli.output.output import emit_documents

    with app.store() as store:
        document = _information(app, store)
    if format_:
        emit_documents([document], format=format_)
    else:
        write("".join(_lines(document)))


def _information(app: App, store: Any) -> dict[str, Any]:
    from ocitool.errors import DriverUnavailable, StoreError
    from ocitool.settings import settings_files

    settings = app.settings()
    document: dict[str, Any] = {
        "Version": __version__,
        "Root": settings.root,
        "RootFrom": settings.origins["root"],
        "SettingsFiles": ", ".join(settings_files(os.environ)),
        "Images": store.summaries.count(store.refs),
        **_shared_stores(store, settings),
        "User": f"{os.geteuid()}:{os.getegid()}",
        "OSType": platform.system().lower(),
        "KernelVersion": platform.release(),
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count(),
        "Python": platform.python_version(),
    }
    try:
        choice = store.choose_driver()
        document["Driver"] = choice.name
        document["DriverWhy"] = _why(settings, choice)
    except (DriverUnavailable, StoreError) as error:
        document["Driver"] = "none"
        document["DriverWhy"] = f"{error} ({error.hint})" if error.hint else str(error)
    return document | _containers(settings, store)


def _containers(settings: Settings, store: Store) -> dict[str, str]:
    """Return whether containers can be run, and what each isolation and network says of itself."""
    from ocitool_runtime.host.isolations.automatic import each_support

    found = dict(each_support())
    wanted = [settings.isolation] if settings.isolation in found else list(found)
    usable = next((name for name in wanted if found[name].ok), "")
    first = found[wanted[0]]
    document = {"Containers": f"supported ({usable})" if usable else "not supported"}
    for name, support in found.items():
        document[f"Isolation{name.capitalize()}"] = "supported" if support.ok else support.reason
    if not usable and first.hint:
        document["ContainersHint"] = first.hint
    return document | (_networks(store, usable) if usable else {})


def _networks(store: Store, isolation: str) -> dict[str, str]:
    from ocitool_runtime.defaults import Network
    from ocitool_runtime.host import private_network

    found = {Network.PRIVATE: "supported", Network.HOST: "supported", Network.NONE: "supported"}
    chosen = store.network(Network.DEFAULT)
    if isolation != "namespaces":
        found |= dict.fromkeys(
            (Network.PRIVATE, Network.NONE), f"not supported by isolation {isolation}"
        )
    else:
        support = private_network.probe()
        remedy = f"{support.reason} ({support.hint})" if support.hint else support.reason
        found[Network.PRIVATE] = f"supported ({support.reason})" if support.ok else remedy
    if chosen is Network.DEFAULT:
        private = found[Network.PRIVATE].startswith("supported")
        chosen = Network.PRIVATE if private else Network.HOST
    document = {f"Network{name.capitalize()}": text for name, text in found.items()}
    return {"Network": chosen.value, **document}


def _shared_stores(store: Store, settings: Settings) -> dict[str, str]:
    if not store.shared:
        return {}
    count = store.summaries.count
    found = (f"{each.root} ({_images(count(each.refs))})" for each in store.shared)
    return {"SharedStores": ", ".join(found), "SharedFrom": settings.origins["shared_stores"]}


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _why(settings: Any, choice: Any) -> str:
    if settings.driver:
        return f"selected by {settings.origins['driver']}"
    passed = [f"{each.name} is not available: {each.support.reason}" for each in choice.passed_over]
    return "; ".join([choice.reason, *passed])


def _lines(document: dict[str, Any]) -> list[str]:
    width = max(len(key) for key in document)
    return [f"{key + ':':<{width + 1}} {one_line(str(value))}\n" for key, value in document.items()]


@click.command()
@short_format_option
def version(format_: str | None) -> None:
    """Show version information"""
    from ocitool.cli.output.output import emit_documents

    here = this_platform()
    document = {
        "Version": __version__,
        "Python": platform.python_version(),
        "Os": here.os,
        "Arch": here.architecture,
    }
    if format_:
        # docker's document has these two; here one program is both.
        emit_documents([{**document, "Client": document, "Server": document}], format=format_)
    else:
        write("".join(_lines(document)))


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Show each image and each build cache record")
@format_option
@pass_app
def df(app: App, verbose: bool, format_: str | None) -> None:
    """Show disk usage, and how much `ocitool system prune` can reclaim"""
    from ocitool.store.drivers import drivers_of
    from ocitool.store.maintenance.usage.build_cache import size_of
    from ocitool.store.maintenance.usage.usage import usage

    if verbose and format_:
        raise click.UsageError("--verbose and --format are mutually exclusive")
    with app.store() as store:
        found = usage(store)
        images = _image_rows(store, found) if verbose else []
        hidden = drivers_of(store.layout, hidden=True)
    for name in hidden:
        text = f"warning: layers of driver {name} are not counted: permission denied"
        write_line(text, sys.stderr)
    if not verbose:
        _emit_kinds(found, format_)
        return
    write("Images space usage:\n\n")
    emit_list(images, columns=_IMAGES)
    write(f"\nBuild cache usage: {human_size(size_of(found.cache))}\n\n")
    emit_list(_cache_rows(found), columns=_CACHE)


_KINDS = [
    Column("Type", "TYPE"),
    Column("TotalCount", "TOTAL"),
    Column("Active", "ACTIVE"),
    Column("Size", "SIZE"),
    Column("Reclaimable", "RECLAIMABLE"),
]
_IMAGES = [
    Column("Repository", "REPOSITORY"),
    Column("Tag", "TAG"),
    Column("ID", "IMAGE ID", short=short_id),
    Column("CreatedSince", "CREATED"),
    Column("Size", "SIZE"),
    Column("SharedSize", "SHARED SIZE"),
    Column("UniqueSize", "UNIQUE SIZE"),
    Column("Containers", "CONTAINERS"),
]
_CACHE = [
    Column("ID", "CACHE ID", short=short_id),
    Column("Size", "SIZE"),
    Column("LastUsedSince", "LAST USED"),
    Column("Shared", "SHARED"),
]


def _emit_kinds(found: Usage, format_: str | None) -> None:
    rows = [
        {
            "Type": row.kind,
            "TotalCount": row.total,
            "Active": row.active,
            "Size": human_size(row.size),
            "Reclaimable": _reclaimable(row.reclaimable, row.size),
        }
        for row in found.rows
    ]
    emit_list(rows, columns=_KINDS, format=format_, key="Type")


def _reclaimable(size: int, of: int) -> str:
    return f"{human_size(size)} ({100 * size // of}%)" if of else human_size(size)


def _image_rows(store: Store, found: Usage) -> list[dict[str, Any]]:
    from ocitool.cli.images.listing import image_row, listed_images

    usage = {(image.name, image.digest): image for image in found.images}
    rows = []
    for listed in listed_images(store):
        image = None if listed.store else usage.get((listed.name, listed.digest))
        if image is not None:  # else it is in an additional store, or is newer than the usage
            sizes = {
                "Size": human_size(image.shared + image.unique),
                "SharedSize": human_size(image.shared),
                "UniqueSize": human_size(image.unique),
                "Containers": image.containers,
            }
            rows.append(image_row(listed) | sizes)
    return rows


def _cache_rows(found: Usage) -> list[dict[str, Any]]:
    return [
        {
            "ID": record.key,
            "Size": human_size(record.size),
            "LastUsedSince": ago(round(record.used * 1e9)),
            "Shared": record.shared,
        }
        for record in found.cache
    ]
