"""Copying an image from a source to a sink: children first, each blob once, in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, Protocol

from ocitool.errors import BadManifest, DigestMismatch, FormatError, NotFound
from ocitool.image.image import Image, choose, require_platform
from ocitool.oci import limits
from ocitool.oci.content import ContentSink, ContentSource, Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, Manifest, parse_any
from ocitool.oci.platform import Platform, this_platform
from ocitool.oci.streams import Tee
from ocitool.progress import SILENT, ProgressSink, TransferCounter

JOBS: Final = 4  # blobs at a time; more gains nothing with one registry
_MOST_NESTED: Final = 8  # indexes in indexes; no tool makes more than two


class Observer(Protocol):
    """Is called while an image is copied; an error that it raises ends the copy."""

    def has_config(self, manifest: Manifest) -> None:
        """Take notice that the config has been copied, and that the layers will be."""

    def copies(self, manifest: Manifest, blobs: Sequence[Future[str]]) -> None:
        """Take notice of the copies of the layers, in order, which go on meanwhile."""


def copy(
    source: ContentSource,
    sink: ContentSink,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    name: str = "",
    progress: ProgressSink = SILENT,
    action: str = "copy",
    observer: Observer | None = None,
) -> Descriptor:
    """Copy the image that *source* stands for to *sink*; returns its descriptor there.

    Of an index, the image for *platform* (this machine's by default) is copied, or with
    *all_platforms* everything.  Bytes are never changed, so neither are digests.  *name* is
    used for errors.

    Raises:
        NotFound: a manifest or blob of the image does not exist; or there is no image for
            *platform*.
        BadManifest: a document is too large, or has too many parts (`ocitool.oci.limits`); nothing
            of it was fetched.
        DigestMismatch: content does not match its descriptor.
        OcitoolError: what the source or the sink raises.
    """
    root = source.resolve()
    limits.require_document(root, name)
    raw = source.fetch(root)
    document = parse_any(raw, root.media_type)
    if isinstance(document, Index) and not all_platforms:
        chosen = choose(document, platform or this_platform())
        limits.require_document(chosen, name)
        raw = source.fetch(chosen)
        document = parse_any(raw, chosen.media_type)
    elif isinstance(document, Manifest) and platform is not None:
        require_platform(Image(source, document.descriptor), platform, name)
    job = _Job(source, sink, progress, action, observer, name)
    job.document(document, root=True)
    return document.descriptor


class _Job:
    def __init__(
        self,
        source: ContentSource,
        sink: ContentSink,
        progress: ProgressSink,
        action: str,
        observer: Observer | None,
        name: str,
    ) -> None:
        self._source = source
        self._sink = sink
        self._progress = progress
        self._action = action
        self._observer = observer
        self._name = name
        self._done: set[Digest] = set()

    def document(self, document: Manifest | Index, *, root: bool, depth: int = 0) -> None:
        if depth > _MOST_NESTED:
            raise FormatError(f"indexes are nested more than {_MOST_NESTED} deep")
        if isinstance(document, Index):
            limits.require_manifests(document, self._name)
            for child in document.manifests:
                limits.require_document(child, self._name)
            for child in document.manifests:
                if child.digest not in self._done:  # small indexes could name it 2^40 times
                    self._require_few()
                    raw = self._source.fetch(child)
                    self.document(parse_any(raw, child.media_type), root=False, depth=depth + 1)
                    self._done.add(child.digest)
        else:
            self._blobs(document)
        self._sink.put_manifest(document.descriptor, document.raw, root=root)

    def _require_few(self) -> None:
        if len(self._done) >= limits.MANIFESTS:
            message = f"the indexes name more than {limits.MANIFESTS} manifests"
            raise BadManifest(message, where=self._name)

    def _blobs(self, manifest: Manifest) -> None:
        limits.require_parts(manifest, self._name)
        self._sink.expect((manifest.config, *manifest.layers))
        self._blob(manifest.config)
        if self._observer is not None:
            self._observer.has_config(manifest)
        with _workers() as pool:
            # A manifest may name a descriptor several times; its blob is copied once.
            numbered = {layer.digest: (at, layer) for at, layer in enumerate(manifest.layers, 1)}
            futures = {digest: pool.submit(self._layer, *each) for digest, each in numbered.items()}
            layers = [futures[layer.digest] for layer in manifest.layers]
            if self._observer is not None:
                self._observer.copies(manifest, layers)
            for future in layers:
                future.result()

    def _layer(self, number: int, descriptor: Descriptor) -> str:
        try:
            return self._blob(descriptor)
        except (DigestMismatch, NotFound) as error:
            place = f"layer {number} of {self._name or 'the image'} ({descriptor.digest})"
            error.where = f"{place}: {error.where}" if error.where else place
            raise

    def _blob(self, descriptor: Descriptor) -> str:
        key, total = str(descriptor.digest), descriptor.size
        counter = TransferCounter(self._progress, self._action, key=key, total=total)

        def opened() -> Stream:
            counter.begin()
            return Tee(self._source.open(descriptor), counter.count)

        state = "failed"
        try:
            state = self._sink.put_blob(descriptor, opened)
        finally:
            counter.end(state)
        return state


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(JOBS, thread_name_prefix="copy")
    try:
        yield pool
    finally:
        # After a failure, copies that have not started must not start.
        pool.shutdown(wait=True, cancel_futures=True)
