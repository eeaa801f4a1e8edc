"""Pulling from and pushing to registries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ocitool.errors import BadReference, ImageNotFound
from ocitool.image.arrival import Arrival, unpacking
from ocitool.image.compress import Compression, recompress
from ocitool.image.copy import copy
from ocitool.image.image import Image, image_of
from ocitool.image.store_content import StoreSink, StoreSource, local_image
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.store import Store
from ocitool_registry.access import Access


def pull(
    name: str,
    *,
    into: Store,
    platform: Platform | str | None = None,
    insecure: bool = False,
    authfile: str | None = None,
    access: Access | None = None,
    unpack: bool = True,
    progress: ProgressSink = SILENT,
) -> Image:
    """Pull the image *name* into a store, under this name.

    With *unpack* its layers are unpacked as they arrive, so that it is ready to run; if this user
    cannot unpack layers, they are only read, with a notice.  *platform* (``linux/arm64``) is this
    machine's by default.  *access* is used instead of *insecure* and *authfile*.

    Raises:
        FormatError: *platform* is invalid.
        ImageNotFound: the registry has no such image, or none for the platform.
        RegistryError: the registry, or the connection to it, failed.
        BadManifest: it is not an image, or its documents are wrong (`ocitool.image.arrival`).
        LayerError: a layer cannot be unpacked.
        DigestMismatch: the registry sent corrupt content, of which nothing is kept; or a layer is
            not what its diff ID says.
    """
    from ocitool_registry.client.content import RegistrySource, connect

    into.layout.require_writable()  # before anything is fetched
    wanted = Platform.parse(platform) if isinstance(platform, str) else platform
    reference = Reference.parse(name)
    client = connect(
        reference, insecure=insecure, authfile=authfile, access=access, **_messages(progress)
    )
    source = RegistrySource(client, reference)
    observer = Arrival(into, reference.familiar, unpacking(into, progress) if unpack else None)
    descriptor = copy(
        source,
        StoreSink(into, str(reference)),
        platform=wanted,
        name=reference.familiar,
        progress=progress,
        action="pull",
        observer=observer,
    )
    image = image_of(StoreSource(into, descriptor), name=reference.familiar)
    for layer in image.manifest.layers:
        into.note_origin(layer.digest, reference.repository)
    return image


def tags_of(
    repository: str,
    *,
    insecure: bool = False,
    authfile: str | None = None,
    progress: ProgressSink = SILENT,
) -> list[str]:
    """Return the names of all images that the registry has in *repository*, sorted.

    Raises:
        ImageNotFound: the registry has no such repository, or it has no tags.
        RegistryError: the registry, or the connection to it, failed.
    """
    from ocitool_registry.client.content import connect

    reference = Reference.parse(repository)
    client = connect(
        reference, insecure=insecure, authfile=authfile, access=None, **_messages(progress)
    )
    names = [str(reference.tagged(tag)) for tag in client.tags(reference.path)]
    if not names:
        raise ImageNotFound(f"the registry has no tags of {reference.repository}")
    return sorted(names)


def _messages(progress: ProgressSink) -> dict[str, Callable[[str], object]]:
    """Return where a client's messages go."""

    def emit(level: str, text: str) -> None:
        progress.emit(Notice(text=text, level=level))

    return {"log": partial(emit, "debug"), "warn": partial(emit, "warning")}


def push(
    name: str,
    *,
    source: Store,
    to: str = "",
    insecure: bool = False,
    authfile: str | None = None,
    access: Access | None = None,
    progress: ProgressSink = SILENT,
    compression: str = "",
) -> Descriptor:
    """Push the image *name* of a store to its registry, or to the reference *to*.

    Blobs that the registry has are not sent, and those that another of its repositories has are
    mounted.  *compression* is a form that the layers are brought into first: ``gzip``, ``zstd``,
    ``estargz``, ``uncompressed`` or the name of a plugin's codec, and perhaps a level:
    ``zstd:19`` (`ocitool.image.compress.recompress`).  By default they are pushed as they are.
    *access* is used instead of *insecure* and *authfile*.

    Returns the descriptor of the manifest that was pushed.

    Raises:
        FormatError: *compression* is not supported.
        BadReference: it would be pushed by a digest, or by an image ID, instead of a tag.
        ImageNotFound: the store has no such image.
        RegistryError: the registry, or the connection to it, failed.
    """
    reference = _destination(name, to, source)
    image = local_image(source, name)
    if compression:
        image = recompress(source, image, Compression.parse(compression), progress)
    access = access or Access(insecure=insecure, authfile=authfile or "")
    return push_image(image, reference, source=source, access=access, progress=progress)


def push_image(
    image: Image,
    reference: Reference,
    *,
    source: Store,
    by_digest: bool = False,
    access: Access,
    progress: ProgressSink,
) -> Descriptor:
    """Push *image*, which is in the store *source*, to *reference*; returns its descriptor.

    With *by_digest* it gets no tag in the repository.  Otherwise as `push`.
    """
    from ocitool_registry.client.content import RegistrySink, connect

    if by_digest:
        reference = replace(reference, tag="")
    client = connect(reference, insecure=False, authfile=None, access=access, **_messages(progress))

    def origins(digest: Digest) -> Sequence[str]:
        prefix = f"{reference.domain}/"
        known = source.origins(digest)
        return [each.removeprefix(prefix) for each in known if each.startswith(prefix)]

    sink = RegistrySink(client, reference, origins=origins)
    descriptor = copy(
        StoreSource(source, image.descriptor),
        sink,
        name=reference.familiar,
        progress=progress,
        action="push",
    )
    for layer in image.manifest.layers:
        source.note_origin(layer.digest, reference.repository)
    return descriptor


def _destination(name: str, to: str, source: Store) -> Reference:
    """Return the tag to push to."""
    text = to or name
    if Reference.parse(text).digest is not None:
        # By its own digest the image would have no name; by another one it would not be found.
        raise BadReference("cannot push a digest reference", where=text, hint="push it by a tag")
    if not to and source.find_id(name) is not None:
        raise BadReference(
            "cannot push an image ID",
            where=name,
            hint="add the name to push it under: `ocitool push ID NAME`",
        )
    return Reference.parse_new(text)
