"""The instructions that make layers: each becomes an `Op`, and a way to carry it out."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ocitool.builder.archive import Spooled, is_archive
from ocitool.builder.cache import key_of
from ocitool.builder.commit import Step
from ocitool.builder.context import Context, Item
from ocitool.builder.copy import Part, Target, make_directories, plan
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.values import check_source, parse_chmod
from ocitool.builder.dockerfile.words import expand_raw
from ocitool.builder.evaluate import StageState
from ocitool.builder.matching import segments_of
from ocitool.builder.owners import owner_of
from ocitool.builder.plan import CopyOp, RunOp, WorkdirOp
from ocitool.builder.run import SCRIPTS, run
from ocitool.builder.solver import Solver
from ocitool.builder.sources import FromContext, FromImage, FromText, Source
from ocitool.builder.writing import write_layer
from ocitool.errors import BuildError, StepFailed
from ocitool.oci.platform import Platform
from ocitool.progress import ProgressSink
from ocitool.store.layers import Layer, layer_names
from ocitool.store.store import Store
from ocitool.store.trees import LayeredTree
from ocitool_runtime import userns
from ocitool_runtime.idmap import Maps

Found = tuple[Source, list[Item]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What the steps of a build are done with."""

    store: Store
    solver: Solver
    context: Context
    progress: ProgressSink
    epoch: int | None

    def layered(self, layers: tuple[Layer, ...]) -> LayeredTree:
        """Return the tree of *layers*, to be looked into."""
        return LayeredTree(self.store.layers, layers)

    def now(self) -> int:
        """Return the time of what the builder makes itself, in nanoseconds."""
        return time.time_ns() if self.epoch is None else self.epoch * 1_000_000_000


def run_step(shop: Workshop, state: StageState, instruction: do.Run, label: str) -> None:
    """RUN."""
    script = ""
    args = state.command(instruction.command)
    if instruction.heredocs and instruction.command.args[0].startswith("#!"):
        script = instruction.command.args[0]
        args = (*state.shell, f"{SCRIPTS}/{instruction.heredocs[0].name}")
    network = instruction.network or "default"
    op = RunOp(
        below=state.layers,
        platform=str(state.platform),
        epoch=shop.epoch,
        args=args,
        env=state.scope.run_env(),
        cwd=state.cwd,
        user=state.run.user,
        network="none" if network == "none" else "host",
        script=script,
        secret_env=state.scope.proxies(),
    )

    def perform(step: int) -> Layer:
        try:
            return run(shop.store, op, step, shop.progress, _maps())
        except StepFailed as error:
            span = instruction.span
            error.where = f"{state.file.name}:{span.first}"
            error.excerpt = state.file.physical[span.first - 1 : span.last]
            raise

    record = shop.solver.solve(label, op, perform)
    created_by = " ".join(["RUN", *state.scope.history_args(), *args])
    _take(state, record.layer, record.created, created_by)


def _maps() -> Maps:
    maps = userns.current_maps()
    if isinstance(maps, str):
        raise BuildError(
            f"RUN needs subordinate ids: {maps}",
            hint="a Dockerfile without RUN builds without any privileges",
        )
    return maps


def workdir_step(shop: Workshop, state: StageState, instruction: do.Workdir, label: str) -> None:
    """WORKDIR: the directory, where it is missing."""
    text = state.expand(instruction.path)
    if not text:
        raise state.file.error(instruction.span, "WORKDIR must have an argument")
    path = state.absolute(text)
    op = WorkdirOp(
        below=state.layers,
        platform=str(state.platform),
        epoch=shop.epoch,
        path=path,
        user=state.run.user,
    )

    def perform(_: int) -> Layer | None:
        image = shop.layered(state.layers)
        if not make_directories(path, Target(dest=path, tree=image.tree)):
            return None
        owner = owner_of(state.run.user, image.read) if state.run.user else None
        target = Target(dest=path, tree=image.tree, owner=owner, now=shop.now())
        return write_layer(shop.store, make_directories(path, target), (), epoch=shop.epoch)

    record = shop.solver.solve(label, op, perform)
    state.run = replace(state.run, working_dir=path)
    _take(state, record.layer, record.created, f"WORKDIR {path}")


def copy_step(
    shop: Workshop,
    state: StageState,
    instruction: do.Copy | do.Add,
    label: str,
    image: tuple[str, tuple[Layer, ...], Platform] | None,
) -> None:
    """COPY and ADD; *image* is what ``--from`` names: what to call it, and its layers."""
    word = "ADD" if isinstance(instruction, do.Add) else "COPY"
    sources = [state.expand(source) for source in instruction.sources]
    for source in sources:
        check_source(word, source)
    dest = _destination(state, instruction)
    chown = state.expand(instruction.chown or "")
    chmod = state.expand(instruction.chmod or "")
    mode = parse_chmod(chmod) if chmod else None
    texts = {
        heredoc.name: (
            expand_raw(heredoc.content, state.scope.values, unset=state.unset)
            if heredoc.expand
            else heredoc.content
        ).encode("utf-8", "surrogateescape")
        for heredoc in instruction.heredocs
    }
    finder = _Finder(shop, word, sources, texts, image)
    contents = finder.contents()
    if len(contents) > 1 and not dest.endswith("/"):
        raise BuildError(
            f"When using {word} with more than one source file, the destination must be a "
            "directory and end with a /"
        )
    op = CopyOp(
        below=state.layers,
        platform=str(state.platform),
        epoch=shop.epoch,
        dest=dest,
        contents=contents,
        chown=chown,
        chmod=chmod,
    )

    def perform(_: int) -> Layer | None:
        tree = shop.layered(state.layers)
        owner = owner_of(chown, tree.read) if chown else None
        target = Target(dest=dest, tree=tree.tree, owner=owner, chmod=mode, now=shop.now())
        with finder.parts() as parts:
            planned = plan(parts, target)
            return write_layer(shop.store, planned, parts, epoch=shop.epoch)

    record = shop.solver.solve(label, op, perform)
    _take(state, record.layer, record.created, label.partition("] ")[2])


class _Finder:
    """Finds what a COPY or ADD names: first only digests, then, if it must be done, the files."""

    def __init__(
        self,
        shop: Workshop,
        word: str,
        sources: list[str],
        texts: dict[str, bytes],
        image: tuple[str, tuple[Layer, ...], Platform] | None,
    ) -> None:
        self._shop = shop
        self._word = word
        self._names = sources
        self._texts = texts
        self._image = image
        self._source: Source
        if image is not None:
            lease = shop.store.lease
            self._source = FromImage(shop.layered(image[1]), image[0], lambda: lease().path)
        else:
            self._source = FromContext(shop.context)

    def contents(self) -> tuple[tuple[str, str, str], ...]:
        """Return name, kind and digest of each thing that is named."""
        found: list[tuple[str, str, str]] = []
        for name in self._names:
            found.extend(
                self._of_image(name) if self._image is not None else self._of_context(name)
            )
        if self._texts:
            text = FromText(self._texts, 0)
            found.extend(
                (name, "text", text.digest(Item(name, name, False))) for name in self._texts
            )
        return tuple(found)

    def _of_context(self, name: str) -> Iterator[tuple[str, str, str]]:
        for item in self._source.find(name):
            kind = "dir" if item.is_directory else "file"
            if self._unpacks(name, item):
                kind = "archive"
            # The name of a directory is of no account: its content is copied.
            yield "" if item.is_directory else item.name, kind, self._source.digest(item)

    def _of_image(self, name: str) -> list[tuple[str, str, str]]:
        """Digests of an image's files, remembered by its layers: looking takes reading them."""
        assert self._image is not None
        names = layer_names(self._image[1])
        key = key_of("from", names[-1] if names else "", name)
        database = self._shop.store.database
        rows = database.rows("SELECT record FROM cache WHERE key = ?", (key,))
        if rows:
            return [tuple(entry) for entry in json.loads(rows[0][0])["contents"]]
        contents = [
            ("" if item.is_directory else item.name, "owned", self._source.digest(item))
            for item in self._source.find(name)
        ]
        database.run(
            "INSERT OR REPLACE INTO cache VALUES (?, ?, unixepoch())",
            (key, json.dumps({"contents": contents})),
        )
        return contents

    def _unpacks(self, name: str, item: Item) -> bool:
        if self._word != "ADD" or item.is_directory:
            return False
        top = self._shop.context.top
        if os.path.islink(f"{top}/{'/'.join(segments_of(name))}"):
            return False
        return is_archive(f"{top}/{item.path}")

    @contextlib.contextmanager
    def parts(self) -> Iterator[list[Part]]:
        """Return the parts of the layer; what they have open is closed at the end."""
        parts: list[Part] = []
        with contextlib.ExitStack() as stack:
            for name in self._names:
                for item in self._source.find(name):
                    archive = None
                    if self._image is None and self._unpacks(name, item):
                        place = f"{self._shop.context.top}/{item.path}"
                        archive = Spooled(place, self._shop.store.lease().path)
                        stack.callback(archive.close)
                    parts.append(Part(source=self._source, item=item, archive=archive))
            text = FromText(self._texts, self._shop.now())
            parts.extend(Part(source=text, item=Item(name, name, False)) for name in self._texts)
            yield parts


def _destination(state: StageState, instruction: do.Copy | do.Add) -> str:
    """Return the absolute destination; a trailing slash stays, and ``.`` is a directory."""
    text = state.expand(instruction.dest)
    if not text:
        raise state.file.error(instruction.span, "the destination is empty")
    path = state.absolute(text)
    if path != "/" and (text.endswith(("/", "/.", "/..")) or text in (".", "..")):
        path += "/"
    return path


def _take(state: StageState, layer: Layer | None, created: str, created_by: str) -> None:
    if layer is not None:
        state.layers = (*state.layers, layer)
    state.steps.append(Step(created_by=created_by, layer=layer, created=created))
