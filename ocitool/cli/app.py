"""The global options of a command, and the settings and the store that they select."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

from ocitool.cli.output.output import write_line
from ocitool.settings import NO_HOME, Settings

if TYPE_CHECKING:
    from ocitool.cli.progress.renderer import Renderer
    from ocitool.progress import ProgressSink
    from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The global options."""

    root: str | None
    driver: str | None
    debug: bool
    shared_stores: str | None = None
    isolation: str | None = None

    def settings(self) -> Settings:
        """Read the settings; options override the environment and configuration files."""
        return Settings.load(
            flags={
                "root": self.root,
                "driver": self.driver,
                "shared_stores": self.shared_stores,
                "isolation": self.isolation,
            }
        )

    @contextlib.contextmanager
    def store(self, progress: ProgressSink | None = None) -> Iterator[Store]:
        """Open the store; a command that fails removes what it has stored for nothing.

        What was fetched before a registry failed is kept: the next try fetches only the rest.
        """
        from ocitool.errors import OcitoolError, RegistryError
        from ocitool.progress import SILENT
        from ocitool.store.store import Store

        settings = self.settings()
        _note_temporary(settings)
        with Store(settings, progress=progress or SILENT) as store:
            try:
                yield store
            except RegistryError:
                raise
            except OcitoolError:
                if store.blobs.written:
                    from ocitool.store.maintenance.prune import release_written

                    with contextlib.suppress(OcitoolError):  # the first error is the one to report
                        release_written(store)
                raise

    def has_store(self) -> bool:
        """Say whether there is a store to open, so that none has to be made."""
        return os.path.lexists(f"{self.settings().root}/format")

    def progress(self, mode: str, *, build: bool = False, stream: TextIO | None = None) -> Renderer:
        """Return the progress renderer for *mode*, to be used in a ``with`` block.

        It writes to *stream*, by default to stderr.
        """
        from ocitool.cli.progress import choose

        return choose(mode, stream, debug=self.debug, build=build)


def _note_temporary(settings: Settings) -> None:
    """Say once, when it is made, that the store is in a temporary directory."""
    if settings.origins["root"] == NO_HOME and not os.path.lexists(settings.root):
        text = f"warning: this user has no home directory: the store is {settings.root}"
        write_line(f"{text}; set OCITOOL_ROOT to choose another", sys.stderr)


pass_app = click.make_pass_decorator(App)
