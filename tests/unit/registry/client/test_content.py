"""A repository as a source of content, whatever the registry says its manifests are."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from ocitool.errors import BadManifest
from ocitool.oci import mediatypes as types
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, Manifest
from ocitool.oci.reference import Reference
from ocitool_registry import MemoryBackend, application
from ocitool_registry.client.content import RegistrySink, RegistrySource, connect

CONFIG = b"{}"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def registry(media_type, raw=None):
    """Serve a registry that sends every manifest as *media_type*, and *raw* for each if given."""
    inner = application(MemoryBackend())

    def app(environ, start):
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")

        def changed(status, headers, *rest):
            if reads and "/manifests/" in environ["PATH_INFO"]:
                headers = [each for each in headers if each[0].lower() != "content-type"]
                headers += [("Content-Type", media_type)] if media_type else []
                if raw is not None:
                    headers = [("Content-Type", media_type), ("Content-Length", str(len(raw)))]
            return start(status, headers, *rest)

        body = inner(environ, changed)
        if raw is None or not reads or "/manifests/" not in environ["PATH_INFO"]:
            return body
        return [raw if environ["REQUEST_METHOD"] == "GET" else b""]

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Reference.parse(f"127.0.0.1:{server.server_port}/app:1")
        finally:
            server.shutdown()
            thread.join()


def push(reference, *documents):
    sink = RegistrySink(connect(reference), reference)
    config = Descriptor(media_type=types.OCI_CONFIG, digest=Digest.of(CONFIG), size=len(CONFIG))
    sink.put_blob(config, lambda: io.BytesIO(CONFIG))
    for document in documents:
        sink.put_manifest(document.descriptor, document.raw, root=document is documents[-1])


def manifest(media_type=types.OCI_MANIFEST):
    config = Descriptor(media_type=types.OCI_CONFIG, digest=Digest.of(CONFIG), size=len(CONFIG))
    return Manifest.new(config, [], media_type=media_type)


@pytest.mark.parametrize("sent", ["text/plain; charset=utf-8", "application/json", "", "x/y"])
@pytest.mark.parametrize(
    "document",
    [
        manifest(),
        manifest(types.DOCKER_MANIFEST),
        Index.new([manifest().descriptor]),
        Index.new([manifest().descriptor], media_type=types.DOCKER_LIST),
    ],
    ids=lambda document: document.media_type,
)
def test_a_manifest_of_no_type_is_read_by_its_content(document, sent):
    """Static file servers send text/plain."""
    with registry(sent) as reference:
        push(reference, manifest(), document)
        for each in (reference, reference.at(document.descriptor.digest)):
            source = RegistrySource(connect(each), each)
            assert source.resolve() == document.descriptor
            assert source.fetch(source.resolve()) == document.raw


@pytest.mark.parametrize(
    ("sent", "raw", "message"),
    [
        ("text/plain", b'{"schemaVersion": 1, "fsLayers": []}', "schema 1"),
        ("text/html", b"<html>sign in", "invalid JSON"),
    ],
)
def test_what_is_no_manifest_by_its_content(sent, raw, message):
    with registry(sent, raw) as reference:
        push(reference, manifest())
        with pytest.raises(BadManifest, match=message):
            RegistrySource(connect(reference), reference).resolve()
