"""The search of what a build has made for the values of its secrets, before it gets a name."""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ocitool.builder.definition import Definition
from ocitool.builder.secret_scan.compressed_members import search_layer
from ocitool.builder.secret_scan.search import Search
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.solver.solver import Solution
from ocitool.errors import BuildError
from ocitool.layer.compression.parallel import ReadAhead
from ocitool.layer.index.lines import IndexEntry
from ocitool.oci.config import ImageConfig
from ocitool.store.layer_content import Layer, reporting_corrupt_blob
from ocitool.store.store import Store

_HINT: Final = (
    "use the secret only within its step, and write it to no file that stays in the "
    "layer; if this is a false alarm, use --secret-scan=off"
)


def scan(
    store: Store,
    definition: Definition,
    solution: Solution,
    config: ImageConfig,
    annotations: Mapping[str, str],
    secrets: Secrets,
    warn: Callable[[str], None],
) -> None:
    """Search the layers that were made, cached or not, *config* of the image, and *annotations*.

    Layers of base images are not searched.  One of a stage that the image does not have is a
    warning: it is in the build cache alone.

    Raises:
        BuildError: the image has a value; with the step and the path, and without the value.
    """
    search = Search(secrets)
    for name in search.skipped:
        warn(f"secret {name} is too short to be searched for in the image")
    if not search:
        return
    faults = [*_in_layers(store, definition, solution, search, warn)]
    base = definition.image.base
    document = {**json.loads(config.dump()), "annotations": annotations}
    faults += _in_document(document, {} if base is None else json.loads(base.dump()), search)
    for fault in faults[1:]:
        warn(str(fault))
    if faults:
        raise faults[0]


def _in_layers(
    store: Store,
    definition: Definition,
    solution: Solution,
    search: Search,
    warn: Callable[[str], None],
) -> Iterator[BuildError]:
    """Yield what is in layers of the image, and warn of what is in others."""
    searched: dict[Layer, dict[str, str]] = {}
    for number, record in solution.records.items():
        found = searched.get(record.layer)
        if found is None:
            found = searched[record.layer] = _paths(store, record.layer, search, warn)
        for secret, path in found.items():
            place = f"{path} in the layer of {search.masked(definition.names[number])}"
            if record.layer in solution.layers:
                _forget(store, record.layer)
                text = f"secret {secret} is in the image: {place}"
                yield _fault(definition, number, text, search)
            else:
                kept = f"secret {secret} is in the build cache, not in the image: {place}"
                warn(str(_fault(definition, number, kept, search)))


def _forget(store: Store, layer: Layer) -> None:
    """Remove what the build cache has of *layer*.

    Cache keys have no secrets: a build without secrets would use the layer, and not search it.
    """
    uses = store.build_cache.uses()
    store.build_cache.remove([use.key for use in uses if use.layer == layer])


def _fault(definition: Definition, number: int, text: str, search: Search) -> BuildError:
    error = BuildError(text, hint=_HINT)
    if (location := definition.locations.get(number)) is not None:
        error.where, error.line = str(location), location.line
        error.excerpt = tuple(map(search.masked, location.excerpt))
    return error


def _paths(
    store: Store, layer: Layer, search: Search, warn: Callable[[str], None]
) -> dict[str, str]:
    """Return the first path of *layer* that has each secret."""
    with (
        reporting_corrupt_blob(store.blobs, layer),
        contextlib.closing(ReadAhead(store.layers.open(layer))) as stream,
    ):
        found, members = search_layer(stream, search)
    if members.cut:
        cut = search.masked(f"/{members.cut}")
        warn(f"{cut} decompresses to too much data: the rest was not searched for secrets")
    paths = {name: f"{path} (decompressed)" for name, path in members.found.items()}
    if found:
        entries = sorted(store.layers.index(layer).entries(), key=lambda each: each.offset)
        paths |= {name: _path(entries, at) for name, at in found.items()}
    return {name: search.masked(f"/{path}") for name, path in paths.items()}


def _path(entries: list[IndexEntry], at: int) -> str:
    """Return whose content, or else whose header, is at *at* in the tar of *entries*."""
    number = bisect_right(entries, at, key=lambda each: each.offset) - 1
    if number < 0 or at >= entries[number].offset + _stored(entries[number]):
        number = min(number + 1, len(entries) - 1)  # it is in a name, a link or an attribute
    return entries[number].entry.path


def _stored(member: IndexEntry) -> int:
    if member.sparse is not None:
        return sum(length for _, length in member.sparse)
    return member.entry.size


def _in_document(document: Any, base: Any, search: Search) -> Iterator[BuildError]:
    """Yield what is in *document*, and was not in that of the *base*."""
    before = {text for _, text in _texts(base, "")}
    for where, text in _texts(document, ""):
        if text not in before:
            for secret in search.find_in(text.encode("utf-8", "surrogateescape")):
                yield BuildError(
                    f"secret {secret} is in the image's configuration: {search.masked(where)}",
                    hint=(
                        "everybody who has the image can read ARG, ENV, LABEL and the text of "
                        "commands; "
                    )
                    + _HINT,
                )


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield the strings of a JSON document, names too, each with the path to it."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            place = f"{where}.{key}" if where else key
            yield place, key
            yield from _texts(each, place)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _texts(each, f"{where}[{number}]")
