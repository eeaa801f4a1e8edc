"""Base images of a registry: resolved without a layer, fetched once, and not again."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from ocitool import BuildOptions, Store, build, push
from ocitool.builder.definition import SourceImage
from ocitool.builder.solver.images import SourceImages
from ocitool.errors import BuildError, FormatError, OcitoolError, RegistryError
from ocitool.image.store_content import local_image
from ocitool.oci.platform import this_platform
from ocitool.progress import SILENT, Event, Notice, StepStarted
from ocitool.store.maintenance.prune import prune
from ocitool_registry import MemoryBackend, application
from ocitool_registry.access import Access
from tests.fixtures.stores import age
from tests.unit.builder.conftest import BuildFixture

pytestmark = pytest.mark.slow


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


@contextmanager
def counting_registry():
    """Serve a registry in memory; gives ``HOST:PORT`` and a count of its GETs by path."""
    inner, requests = application(MemoryBackend()), Counter()

    def app(environ, start):
        if environ["REQUEST_METHOD"] == "GET":
            requests[environ["PATH_INFO"]] += 1
        return inner(environ, start)

    with make_server("127.0.0.1", 0, app, ThreadingServer, QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def published(project, tmp_path):
    """A registry with an image of two layers, its name, and another store to build in."""
    project.put({"f": "1", "g": "2"})
    project.build("FROM scratch\nCOPY f /\nCOPY g /\nENV A=1", "base:1", source_date_epoch=0)
    with counting_registry() as (address, requests), Store.open(str(tmp_path / "other")) as store:
        name = f"{address}/base:1"
        pushed = push("base:1", source=project.store, to=name)
        requests.clear()
        yield name, pushed.digest, requests, BuildFixture(project.top, store)


def blobs(requests):
    return [path for path in requests if "/blobs/" in path]


def source_images(store, *, pull="missing"):
    return SourceImages(store, SILENT, pull=pull, access=Access())


def test_resolving_fetches_no_layer(published):
    name, digest, requests, other = published
    images = source_images(other.store)
    image = images.resolve(name, this_platform())
    assert image.digest == digest and image.config.run.environment()["A"] == "1"
    assert len(blobs(requests)) == 1  # the config
    assert list(other.store.blobs.all()) == []
    vertex = SourceImage(reference=name, platform=this_platform(), digest=digest)
    layers, cached = images.fetch(vertex)
    assert len(layers) == 2 and not cached
    assert max(requests.values()) == 1 and len(blobs(requests)) == 3
    assert images.fetch(vertex) == (layers, False) and max(requests.values()) == 1


def test_a_build_fetches_what_the_store_does_not_have(published):
    name, _, requests, other = published
    built = other.build(
        f"FROM {name} AS a\nFROM {name}\nCOPY --from={name} f /h\nCOPY --from=a g /i"
    )
    assert {"f", "g", "h", "i"} <= set(built.tree)
    assert max(requests.values()) == 1 and len(blobs(requests)) == 3
    requests.clear()
    assert other.build(f"FROM {name}\nCOPY --from={name} f /h").executed == []
    assert not requests
    again = other.build(f"FROM {name}\nCOPY --from={name} f /h", pull="always")
    assert blobs(requests) == [] and again.executed == [f"FROM {name}"]


def test_a_failed_build_that_only_resolved_leaves_no_image(published):
    name, _, _, other = published
    with pytest.raises(BuildError, match="failed to resolve source metadata"):
        other.build(f"FROM {name}\nCOPY --from={name.replace('base', 'gone')} f /")
    assert list(other.store.refs.names()) == []
    assert list(other.store.blobs.all()) == []


def test_an_unreachable_registry_is_named_with_the_line(project):
    with pytest.raises(RegistryError, match=r"^Dockerfile:1: .*127\.0\.0\.1:1") as caught:
        project.build("FROM 127.0.0.1:1/x:1")
    assert caught.value.hint


def test_which_base_images_are_pulled(published):
    name, _, requests, other = published
    with pytest.raises(BuildError, match=f"no such image: {name}") as caught:
        other.build(f"FROM {name}", pull="never")
    assert caught.value.hint == "build without --pull=never"
    assert not requests
    other.build(f"FROM {name}", pull="missing")
    requests.clear()
    other.build(f"FROM {name}", pull="never")
    assert not requests
    other.build(f"FROM {name}", pull="always")
    assert requests


def test_newer_images_are_pulled_unless_the_registry_fails(project):
    project.image("127.0.0.1:1/base:1", {"a": "1"})
    text = "FROM 127.0.0.1:1/base:1"
    with pytest.raises(OcitoolError, match="onnection refused"):
        project.build(text, pull="always")
    (warning,) = (
        event.text
        for event in project.build(text, pull="newer").events.events
        if isinstance(event, Notice)
    )
    assert warning.startswith(
        "using the stored image 127.0.0.1:1/base:1, since its registry failed: "
    )
    with pytest.raises(OcitoolError, match="onnection refused"):
        project.build("FROM 127.0.0.1:1/none:1", pull="newer")


@pytest.mark.parametrize("pull", ["always", "missing", "newer", "never"])
def test_an_id_is_asked_of_no_registry(project, monkeypatch, pull):
    project.put({"f": "1"})
    project.image("base:1", {"a": "1"})
    image = local_image(project.store, "base:1")

    def asked(*_):
        raise AssertionError("a registry was asked")

    monkeypatch.setattr("ocitool_registry.client.content.connect", asked)
    for name in (str(image.id), image.id.encoded, image.id.short, f"sha256:{image.id.short[:3]}"):
        built = project.build(f"FROM {name}\nCOPY --from={name} /a /b", pull=pull)
        assert set(built.tree) == {"a", "b"}
    for name in ("0" * 64, "sha256:" + "0" * 64, "sha256:0123"):
        with pytest.raises(OcitoolError, match=r"no such image|it is an image ID"):
            project.build(f"FROM {name}", pull=pull)


@pytest.mark.parametrize("policy", ["ifnewer", ""])
def test_an_unknown_pull_policy(project, policy):
    with pytest.raises(FormatError, match="unknown pull policy"):
        project.build("FROM scratch", pull=policy)


class PrunedMeanwhile:
    """A progress sink that prunes the store, as another process, before each step."""

    def __init__(self, root: str) -> None:
        self._root = root

    def emit(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            with Store.open(self._root) as store:
                prune(store, all_images=True)


def test_a_base_image_of_the_store_stays_while_it_is_used(project):
    """Its blobs are older than the build, and a prune removes its name."""
    project.image("base:1", {"d/f": "1"})
    project.put({"g": "2"})
    age(project.store)
    text = b"FROM base:1\nWORKDIR /w\nCOPY g /d/\nCOPY --from=base:1 /d /e\n"
    options = BuildOptions(context=str(project.top), dockerfile=text, tags=("app:1",))
    build(options, store=project.store, progress=PrunedMeanwhile(project.store.layout.root))
    image = local_image(project.store, "app:1", this_platform())
    assert all(project.store.blobs.size(layer.digest) for layer in image.manifest.layers)
    assert len(image.manifest.layers) == 4
