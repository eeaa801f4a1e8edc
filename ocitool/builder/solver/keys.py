"""Cache keys: the digest of everything that the result of a step depends on, and of nothing else.

Inputs are framed and typed by JSON: no two different lists of them have the same text.  The file
system that a step stands on counts by its chain ID, never by how it came about, so a base image
that was rebuilt with equal content still hits.  Times and the names of machines do not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Any, Final

from ocitool.builder.definition import Copy, Run, Step, Surroundings
from ocitool.store.database.build_cache import Content
from ocitool.store.layer_content import Layer, chain_ids
from ocitool_runtime.defaults import Network

_VERSION: Final = 2  # of the keys; raised when a step comes to mean something else


def key_of(kind: str, *inputs: Any) -> str:
    """Return the key of a step of *kind* with *inputs*: strings, numbers, flags, None, lists."""
    framed = json.dumps([_VERSION, kind, *inputs], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(framed.encode("ascii")).hexdigest()


def step_key(
    step: Step,
    base: Sequence[Layer],
    epoch: int | None,
    contents: Sequence[Content] = (),
    mounted: Sequence[Content | None] = (),
) -> str:
    """Return the key of *step* on *base*.

    *contents* is what a COPY takes, *mounted* what each mount of a RUN shows.

    The kinds are stored data: a store that was written by an earlier version knows them.
    """
    common = (chain(base), step.platform, epoch)
    if isinstance(step, Run):
        env = sorted(step.env.items())
        network = _network(step.around.network)
        inputs = (list(step.args), env, step.cwd, step.user, network, step.script)
        mounts = _mounts(step, mounted)
        return key_of("RunOp", *common, *inputs, *_around(step.around), *mounts)
    if isinstance(step, Copy):
        files = [list(content) for content in contents]
        return key_of("CopyOp", *common, step.dest, files, step.chown, step.chmod)
    return key_of("WorkdirOp", *common, step.path, step.user)


def _network(network: Network) -> str:
    """Return "none", or "host" of every network that reaches others.

    Which of them is used depends on the machine, and a store may move to another.
    """
    return "none" if network is Network.NONE else "host"


#: What `Surroundings` had when keys came to hold them; what came later counts where it is given.
_FIRST: Final = ("hosts", "shm_size", "rlimits")


def _around(around: Surroundings) -> list[Any]:
    """Return what else a command could see; nothing where it is as always.

    Limits of resources are not seen, but by measuring.
    """
    fields, usual = asdict(around), asdict(Surroundings())
    for each in (fields, usual):
        del each["network"], each["resources"]
    if fields == usual:
        return []
    return [{k: v for k, v in fields.items() if k in _FIRST or v != usual[k]}]


def _mounts(step: Run, mounted: Sequence[Content | None]) -> list[Any]:
    """Return what the mounts are; of what they show, only the files that they take count."""
    found = []
    for mount, content in zip(step.mounts, mounted or [None] * len(step.mounts), strict=True):
        fields = asdict(mount)
        for name in ("source", "source_name", "path"):
            fields.pop(name, None)
        shown = None if content is None else list(content)
        found.append([type(mount).__name__, fields, shown])
    inputs: list[Any] = [["mounts", *found]] if found else []
    if step.insecure:
        inputs.append("insecure")
    if step.devices:
        # The result of a step that was allowed a device is not used where it is not allowed.
        inputs.append(["devices", *map(astuple, step.devices)])
    return inputs


def contents_key(
    source: Sequence[Layer],
    path: str,
    *,
    owners: bool,
    parents: bool = False,
    exclude: Sequence[str] = (),
) -> str:
    """Return the key of what *path* names in an image; *owners* says whether they count."""
    selection = [parents, list(exclude)] if parents or exclude else []
    return key_of("from", chain(source), path, owners, *selection)


def chain(layers: Sequence[Layer]) -> str:
    """Return the chain ID of *layers* as hexadecimal digits; empty without any."""
    ids = chain_ids(layers)
    return ids[-1] if ids else ""
