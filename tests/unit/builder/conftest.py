"""A build context, a store, and builds whose results are read with the stdlib alone."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from ocitool import BuildOptions, Store, build
from ocitool.errors import OcitoolError
from ocitool.image.archive.archive import load
from ocitool.progress import (
    CheckWarning,
    Event,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
)
from ocitool_runtime import get_isolation
from tests.fixtures import images
from tests.fixtures.git_server import GitServer, Repository, copied
from tests.fixtures.tools import GROUP, PASSWD, install_tools


@dataclass
class RecordedEvents:
    """A progress sink that keeps every event."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def executed(self) -> list[str]:
        """The instructions that were executed and not taken from the cache."""
        names = {e.step: e.name for e in self.events if isinstance(e, StepStarted)}
        ended = [e for e in self.events if isinstance(e, StepFinished) and not e.cached]
        found = [names[e.step] for e in ended]
        # Neither what is internal nor what fetches a context is an instruction.
        fetches = ("[internal]", "[context ")
        return [name.partition("] ")[2] for name in found if not name.startswith(fetches)]

    def ended(self) -> dict[str, str]:
        """Every step by its name, and how it ended: "done", "cached", or a message."""
        names = {e.step: e.name for e in self.events if isinstance(e, StepStarted)}
        assert sorted(names) == list(range(1, len(names) + 1))
        found = {}
        for e in self.events:
            if isinstance(e, StepFinished):
                found[names[e.step]] = "cached" if e.cached else "done"
            elif isinstance(e, StepErred):
                found[names[e.step]] = e.message
        return found

    @property
    def output(self) -> str:
        """What the commands printed."""
        parts = [event.data for event in self.events if isinstance(event, StepOutput)]
        return b"".join(parts).decode()


@dataclass(frozen=True)
class Built:
    """An image as plain values: ``layers`` are lists of tar members, lowest first."""

    digest: str
    document: dict[str, Any]
    blobs: list[bytes]
    events: RecordedEvents
    warnings: tuple[str, ...]
    checks: tuple[CheckWarning, ...]

    @cached_property
    def tars(self) -> list[bytes]:
        """The layers, uncompressed."""
        return [images.plain(blob) for blob in self.blobs]

    @property
    def executed(self) -> list[str]:
        """The instructions that were not taken from the cache."""
        return self.events.executed

    @property
    def output(self) -> str:
        """What the commands printed."""
        return self.events.output

    @property
    def config(self) -> dict[str, Any]:
        return self.document["config"]

    @property
    def history(self) -> list[dict[str, Any]]:
        return self.document["history"]

    @property
    def tree(self) -> dict[str, str]:
        """path -> type, mode, owner, link or digest, xattrs."""
        return images.tree(self.tars)

    @property
    def layers(self) -> list[list[tarfile.TarInfo]]:
        return [tarfile.open(fileobj=io.BytesIO(tar)).getmembers() for tar in self.tars]

    def names(self, layer: int = -1) -> list[str]:
        """The paths of one layer."""
        return [member.name for member in self.layers[layer]]

    def read(self, path: str) -> str:
        """Return a file's content, from the topmost layer that has it."""
        for tar in reversed(self.tars):
            with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
                names = opened.getnames()
                if path in names:
                    file = opened.extractfile(path)
                    assert file is not None
                    return file.read().decode()
        raise AssertionError(f"{path} is in no layer")


class BuildFixture:
    """Builds from one context into one store."""

    def __init__(self, top: Path, store: Store) -> None:
        self.top = top
        self.store = store

    def put(self, recipe: Mapping[str, Any]) -> None:
        """Make files as ``testdata/builds/context.yaml`` describes them."""
        images.lay_out(recipe, self.top)

    def build(self, dockerfile: str = "", *tags: str, **options: Any) -> Built:
        """Build *dockerfile*, or the context's, in the context or in another of *options*."""
        events = RecordedEvents()
        text = dockerfile.encode() or None
        given = BuildOptions(**{"context": self.top, "dockerfile": text, "tags": tags, **options})
        result = build(given, store=self.store, progress=events)
        layout = Path(self.store.layout.root) / "oci"
        document, blobs = images.layout_blobs(layout, str(result.digest))
        with_layer = sum(not entry.get("empty_layer") for entry in document["history"])
        assert with_layer == len(blobs) == len(document["rootfs"]["diff_ids"])
        return Built(str(result.digest), document, blobs, events, result.warnings, result.checks)

    def image(self, name: str, *recipes: Mapping[str, Any], **fields: Any) -> None:
        """Put an image into the store: a layer for each recipe, ``config`` and more in *fields*."""
        archive = self.top.parent / "image.tar"
        images.write_docker_archive(archive, name, recipes, fields)
        with open(archive, "rb") as stream:
            load(stream, into=self.store)


@pytest.fixture
def project(tmp_path, store_root) -> Iterator[BuildFixture]:
    """An empty context and an empty store."""
    top = tmp_path / "context"
    top.mkdir()
    with Store.open(os.fspath(store_root)) as store:
        yield BuildFixture(top, store)


@pytest.fixture
def sources(project: BuildFixture) -> BuildFixture:
    """A project with files, directories and links of several modes in its context."""
    project.put(
        {
            "f": "a file\n",
            "run.sh": {"text": "#!/bin/sh\n", "mode": 0o755},
            "d": {"mode": 0o750},
            "d/a": "a\n",
            "d/sub": {"mode": 0o700},
            "d/sub/c": "c\n",
            "d/link": {"link": "a"},
            "d/out": {"link": "/etc/passwd"},
        }
    )
    return project


@pytest.fixture
def tools(project: BuildFixture) -> BuildFixture:
    """A project with the image ``base``: a shell and a few tools of this machine."""
    support = get_isolation().probe()
    if not support.ok:
        pytest.skip(f"no namespaces here: {support.reason}")
    return with_tools(project)


def with_tools(project: BuildFixture) -> BuildFixture:
    """Build ``base:1``, from a directory ``base`` of the context."""
    project.put({"base": {}, "base/bin": {}, "base/etc": {}, "base/tmp": {"mode": 0o1777}})
    project.put({"base/etc/passwd": PASSWD, "base/etc/group": GROUP})
    project.put({"base/root": {"mode": 0o700}})
    install_tools(project.top / "base")
    project.build('FROM scratch\nCOPY base /\nENV PATH=/bin\nCMD ["sh"]', "base:1")
    return project


@pytest.fixture
def repository(git_server: GitServer, git_examples: Path) -> Repository:
    """Two commits of ``main``, the first tagged ``v1`` and ``v1a`` (annotated); ``team/side``."""
    return copied(git_server, git_examples, "r")


@pytest.fixture
def parent(git_server: GitServer, git_examples: Path, repository: Repository) -> Repository:
    """A repository with ``r.git`` as the submodule ``lib/r``, which is named relatively."""
    return copied(git_server, git_examples, "parent")


def scratch(*lines: str) -> str:
    """Return a Dockerfile on scratch."""
    return "\n".join(["FROM scratch", *lines])


def failure(project: BuildFixture, dockerfile: str = "", **options: Any) -> OcitoolError:
    """Return the error of a build, which leaves nothing behind."""
    with pytest.raises(OcitoolError) as caught:
        project.build(dockerfile, **options)
    assert os.listdir(project.store.lease().path) == []
    assert caught.value.hint
    return caught.value


def owner(said: str) -> str:
    """Return the owner in a line about a file."""
    return said.split()[2]


def kept(project: BuildFixture) -> list[str]:
    """Return the files of this process's lease, where unfinished work is."""
    return os.listdir(project.store.lease().path)


def refused(project: BuildFixture, line: str, **options: object) -> OcitoolError:
    """Return the error that a Dockerfile with *line* ends with; nothing is left behind."""
    with pytest.raises(OcitoolError) as caught:
        project.build(scratch(line), **options)
    assert str(caught.value).startswith("Dockerfile:2") and kept(project) == []
    return caught.value
