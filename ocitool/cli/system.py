"""``system df|prune|check``, ``info``, ``version``."""

from __future__ import annotations

import contextlib
import os
import platform
from typing import TYPE_CHECKING, Any

import click

from ocitool import __version__
from ocitool.cli.app import App, pass_app
from ocitool.cli.options import (
    authfile_option,
    format_option,
    insecure_option,
    progress_option,
)
from ocitool.cli.output import write
from ocitool.cli.space import df, prune
from ocitool.cli.text import one_line, shortened

if TYPE_CHECKING:
    from ocitool.progress import ProgressSink
    from ocitool.settings import Settings
    from ocitool.store.store import Store


@click.group(short_help="Look after the store.")
def system() -> None:
    """See what the store takes, prove it, clean it."""


system.add_command(df)
system.add_command(prune)


@system.command(short_help="Prove that the store is whole.")
@click.option("--repair", is_flag=True, help="Mend what is wrong, and remove what nobody uses.")
@insecure_option
@authfile_option
@progress_option
@pass_app
def check(app: App, repair: bool, tls_verify: bool, authfile: str | None, progress: str) -> int:
    """Read every blob, follow every name, compare every unpacked layer with its tar.

    Exits with 1 if something is wrong, and says what would mend it; what nobody uses any more is
    told and is not wrong.  Changes nothing without --repair.

    With --repair damaged and missing blobs are fetched again from the registry that they came from,
    damaged layers and indexes are removed, to be made again when they are needed, and what nobody
    uses goes.  Exits with 1 if something could not be repaired.
    """
    with app.progress(progress) as sink, app.store(sink) as store:
        lines, wrong = (
            _repaired(store, sink, not tls_verify, authfile) if repair else _checked(store, sink)
        )
    write("".join(f"{line}\n" for line in lines))
    return 1 if wrong else 0


def _checked(store: Store, sink: ProgressSink) -> tuple[list[str], bool]:
    from ocitool.errors import StoreError
    from ocitool.store.maintenance.check import check as prove
    from ocitool.store.maintenance.orphans import leftovers

    problems = list(prove(store, sink))
    lines = [_told(problem.what, problem.remedy) for problem in problems]
    with contextlib.suppress(StoreError):  # names or database are damaged, as was told
        if found := list(leftovers(store)):
            lines += map(one_line, found)
            lines += ["  not wrong, but of no use: run `ocitool system prune`"]
    return lines if problems else [*lines, "The store is whole."], bool(problems)


def _told(what: str, then: str) -> str:
    return f"{one_line(shortened(what))}\n  {one_line(shortened(then))}"


def _repaired(
    store: Store, sink: ProgressSink, insecure: bool, authfile: str | None
) -> tuple[list[str], bool]:
    from ocitool.image.repair import Mended
    from ocitool.image.repair import repair as mend

    lines, wrong = [], False
    for result in mend(store, sink, insecure=insecure, authfile=authfile):
        if isinstance(result, Mended):
            lines.append(_told(result.problem.what, result.done))
        else:
            wrong = True
            lines.append(_told(result.what, result.remedy))
    return lines if wrong else [*lines, "The store is whole."], wrong


@click.command(short_help="Show what is used here, and why.")
@format_option
@pass_app
def info(app: App, format_: str | None) -> None:
    """Show the store, its driver and why it was chosen, and what the machine allows."""
    from ocitool.cli.output import emit_documents

    with app.store() as store:
        document = _information(app, store)
    if format_:
        emit_documents([document], format=format_)
    else:
        write("".join(_lines(document)))


def _information(app: App, store: Any) -> dict[str, Any]:
    from ocitool.errors import DriverUnavailable, StoreError
    from ocitool_runtime.isolation import get_isolation

    settings = app.settings()
    document: dict[str, Any] = {
        "Version": __version__,
        "Root": settings.root,
        "RootFrom": settings.origins["root"],
        "Images": len(store.refs.names()),
        **_shared_stores(store, settings),
        "User": f"{os.geteuid()}:{os.getegid()}",
        "Kernel": platform.release(),
        "Architecture": platform.machine(),
        "Python": platform.python_version(),
    }
    try:
        choice = store.choose_driver()
        document["Driver"] = choice.name
        document["DriverWhy"] = _why(settings, choice)
    except (DriverUnavailable, StoreError) as error:
        document["Driver"] = "none"
        document["DriverWhy"] = f"{error} ({error.hint})" if error.hint else str(error)
    support = get_isolation().probe()
    document["Containers"] = "work" if support.ok else f"do not work: {support.reason}"
    if not support.ok and support.hint:
        document["ContainersHint"] = support.hint
    return document


def _shared_stores(store: Store, settings: Settings) -> dict[str, str]:
    if not store.shared:
        return {}
    found = (f"{each.root} ({len(each.refs.names())} images)" for each in store.shared)
    return {"SharedStores": ", ".join(found), "SharedFrom": settings.origins["shared_stores"]}


def _why(settings: Any, choice: Any) -> str:
    if settings.driver:
        return f"{settings.origins['driver']} names it"
    passed = [f"{name} is not: {support.reason}" for name, support in choice.passed_over]
    return "; ".join([choice.reason, *passed])


def _lines(document: dict[str, Any]) -> list[str]:
    width = max(len(key) for key in document)
    return [f"{key + ':':<{width + 1}} {one_line(str(value))}\n" for key, value in document.items()]


@click.command(short_help="Show the version.")
@format_option
def version(format_: str | None) -> None:
    """Show the versions of ocitool and Python."""
    from ocitool.cli.output import emit_documents

    document = {
        "Version": __version__,
        "Python": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": platform.machine(),
    }
    if format_:
        emit_documents([document], format=format_)
    else:
        write("".join(_lines(document)))
