"""Images that a build starts from or copies from: in the store, or pulled into it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from typing import Final

from ocitool.builder.definition import ResolvedImage, SourceImage
from ocitool.builder.solver.mirrors import Mirrors
from ocitool.builder.transports import instead_of_base
from ocitool.errors import (
    BuildError,
    FormatError,
    ImageNotFound,
    NotFound,
    OcitoolError,
    RegistryError,
)
from ocitool.image.image import Image, image_of
from ocitool.image.store_content import local_image
from ocitool.oci.content import ContentSource, Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference, id_digits, is_image_id
from ocitool.progress import Notice, ProgressSink
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store
from ocitool_registry.access import Access

PULL_POLICIES: Final = ("always", "missing", "newer", "never")
_SHOWN: Final = 12  # digits of an ID that listings show


class SourceImages:
    """Resolves and fetches images; each is looked up once in a build.

    The registry is asked if *pull* is "always", or if it is "missing" and the store does not have
    the image; for "never" it is not asked.  If it is "newer" the registry is asked, and an image of
    the store is taken if that fails.  *access* is how, and *mirrors* are asked before it.
    *layouts* are the references to image layouts of this machine that may be read.

    Raises:
        FormatError: *pull* is another word.
    """

    def __init__(
        self,
        store: Store,
        progress: ProgressSink,
        *,
        pull: str,
        access: Access,
        mirrors: Mirrors | None = None,
        claim: bool = True,
        layouts: Iterable[str] = (),
    ) -> None:
        if pull not in PULL_POLICIES:
            known = ", ".join(PULL_POLICIES)
            raise FormatError(f"unknown pull policy {pull!r}", hint=f"supported: {known}")
        self._store = store
        self._progress = progress
        self._pull = pull
        self._access = access
        self._mirrors = mirrors or Mirrors()
        self._claim = claim
        self._layouts = frozenset(layouts)
        self._found: dict[tuple[str, Platform], Image] = {}
        self._origins: dict[tuple[str, Platform], str] = {}  # repositories
        self._remote: set[tuple[str, Platform]] = set()  # found in a registry
        self._fetched: set[tuple[str, Platform]] = set()

    def resolve(self, reference: str, platform: Platform) -> ResolvedImage:
        """Return digest and configuration of an image; fetches no layer.

        Raises:
            BuildError: there is no such image.
            RegistryError: the registry, or the way to it, failed.
        """
        image = self._find(reference, platform)
        return ResolvedImage(digest=image.digest, config=image.config)

    def fetch(self, vertex: SourceImage) -> tuple[tuple[Layer, ...], bool]:
        """Return the layers of an image, whose blobs are in the store then; and if they were."""
        image = self._find(vertex.reference, vertex.platform)
        key = (vertex.reference, vertex.platform)
        if vertex.reference in self._layouts and key not in self._fetched:
            from ocitool.builder.solver.layout_images import store_layers

            store_layers(image, self._store)
            self._fetched.add(key)
        elif key in self._remote and key not in self._fetched:
            with _explained(vertex.reference):
                self._copy(image, Reference.parse(vertex.reference), self._origins[key])
            self._fetched.add(key)
        return image.layers, key not in self._remote

    def _find(self, name: str, platform: Platform) -> Image:
        key = (name, platform)
        if key not in self._found:
            self._found[key] = self._look_up(name, platform)
        return self._found[key]

    def _look_up(self, name: str, platform: Platform) -> Image:
        # A Dockerfile must not read the layouts of this machine: no other reference is one.
        if name in self._layouts:
            from ocitool.builder.solver.layout_images import layout_image

            return layout_image(name, platform)
        reason = ""
        if self._pull in ("missing", "never") or self._is_id(name):
            try:
                return self._local(name, platform)
            except ImageNotFound as error:
                if is_image_id(name):  # which no registry knows
                    raise
                reason = error.message
        if self._pull == "never":
            raise BuildError(
                f"failed to resolve source metadata for {name}: {reason}, and base images are not"
                " pulled",
                hint="build without --pull=never",
            )
        asked = reason and f"{reason}, so its registry was asked"
        if asked and (use := instead_of_base(name)):
            asked = f"{asked}; {use}"
        try:
            image = self._in_registry(name, platform, asked)
        except (BuildError, RegistryError) as error:
            if self._pull != "newer":
                raise
            return self._older(name, platform, error)
        self._remote.add((name, platform))
        return image

    def _local(self, name: str, platform: Platform) -> Image:
        """Return the image of the store, whose blobs a prune then keeps until the build ends."""
        image = local_image(self._store, name, platform)
        if not self._claim:
            return image
        for descriptor in (image.descriptor, image.manifest.config, *image.manifest.layers):
            self._store.blobs.claim(descriptor)
        return image

    def _older(self, name: str, platform: Platform, error: OcitoolError) -> Image:
        """Return the image of the store, with a warning that the registry failed."""
        try:
            found = self._local(name, platform)
        except ImageNotFound:
            raise error from None
        self._warn(f"using the stored image {name}, since its registry failed: {error.message}")
        return found

    def _is_id(self, name: str) -> bool:
        """Say whether the store has an image with this ID, which no registry knows.

        Fewer digits than listings show may be a name: ``cafe``.
        """
        digits = id_digits(name)
        likely = is_image_id(name) or len(digits) >= _SHOWN
        return likely and self._store.find_id(name) is not None

    def _in_registry(self, name: str, platform: Platform, reason: str) -> Image:
        with _explained(name, reason):
            origins = list(self._mirrors.origins(Reference.parse(name)))
            for mirror in origins[:-1]:
                try:
                    return self._at(mirror, name, platform)
                except (NotFound, RegistryError) as error:
                    self._warn(
                        f"the mirror {mirror.repository} could not be used for {name}: {error}"
                    )
            return self._at(origins[-1], name, platform)

    def _at(self, origin: Reference, name: str, platform: Platform) -> Image:
        """Resolve the image *name* where its copy is called *origin*."""
        from ocitool_registry.client.content import RegistrySource, connect

        client = connect(origin, access=self._access, log=self._debug, warn=self._warn)
        source = _Documents(RegistrySource(client, origin), self._store)
        image = image_of(source, platform, name=name)
        source.root = image.descriptor
        _ = image.config  # fetched here, where its faults are explained
        self._origins[(name, platform)] = origin.repository
        return image

    def _copy(self, image: Image, reference: Reference, origin: str) -> None:
        from ocitool.image.arrival import Arrival, reading
        from ocitool.image.copy import copy
        from ocitool.image.store_content import StoreSink

        copy(
            image.source,
            StoreSink(self._store, str(reference)),
            name=reference.familiar,
            progress=self._progress,
            action="pull",
            observer=Arrival(self._store, reference.familiar, reading(self._store)),
        )
        for layer in image.manifest.layers:
            self._store.note_origin(layer.digest, origin)

    def _debug(self, text: str) -> None:
        self._progress.emit(Notice(text=text, level="debug"))

    def _warn(self, text: str) -> None:
        self._progress.emit(Notice(text=text, level="warning"))


@contextlib.contextmanager
def _explained(name: str, reason: str = "") -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise BuildError(
            f"failed to resolve source metadata for {name}: {error}", hint=error.hint or reason
        ) from error
    except RegistryError as error:
        error.hint = "; ".join(filter(None, (reason, error.hint)))
        raise


class _Documents:
    """A source that fetches each document once, and none that *store* has.

    With ``root`` it stands for that manifest.
    """

    def __init__(self, source: ContentSource, store: Store) -> None:
        self._source = source
        self._store = store
        self._fetched: dict[Digest, bytes] = {}
        self.root: Descriptor | None = None

    def resolve(self) -> Descriptor:
        return self.root or self._source.resolve()

    def fetch(self, descriptor: Descriptor) -> bytes:
        digest = descriptor.digest
        if digest not in self._fetched:
            stored = self._store.blobs.size(digest) is not None
            fetch = self._store.blobs.read if stored else self._source.fetch
            self._fetched[digest] = fetch(descriptor)
        return self._fetched[digest]

    def open(self, descriptor: Descriptor) -> Stream:
        known = self._fetched.get(descriptor.digest)
        return self._source.open(descriptor) if known is None else io.BytesIO(known)
