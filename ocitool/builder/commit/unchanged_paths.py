"""Paths that no layer may contain: kaniko's ``--ignore-path``, which leaves them out.

Here a layer always contains everything that its step has changed.  If no step has changed these
paths, the image is the same as kaniko's; otherwise the build fails.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from ocitool.builder.definition import Definition
from ocitool.builder.solver.solver import Solution
from ocitool.errors import BuildError
from ocitool.store.store import Store


def require_unchanged(
    store: Store, definition: Definition, solution: Solution, paths: Sequence[str]
) -> None:
    """Raise `BuildError` if a layer that was made for the image has anything beneath *paths*."""
    ignored = [posixpath.normpath(f"/{path}").strip("/") for path in paths]
    for number, record in solution.records.items():
        if record.layer not in solution.layers:
            continue
        for entry in store.layers.index(record.layer).entries():
            found = entry.entry.path.strip("/")
            if any(f"{found}/".startswith(f"{path}/") for path in ignored):
                with definition.locations[number].in_errors():
                    raise BuildError(
                        f"a step changed /{found}, which --ignore-path excludes from the image",
                        hint="change the step, or remove --ignore-path",
                    )
