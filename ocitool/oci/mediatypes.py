"""Media types of OCI and of Docker.

Source: OCI image-spec v1.1, media-types.md, "Compatibility Matrix".
"""

from __future__ import annotations

from typing import Final

from ocitool.errors import FormatError, UnsupportedEntry

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD: Final = OCI_LAYER + "+zstd"
OCI_LAYER_NONDISTRIBUTABLE: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"

DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SCHEMA1: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD: Final = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})

#: What a client accepts, the preferred first.  GHCR, ACR and GitLab answer 404 for a manifest
#: whose stored type is not listed.
ACCEPT: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, "*/*")

#: layer media type -> name of the codec in the group ``ocitool.codecs``
_CODECS: Final = {
    OCI_LAYER: "none",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    OCI_LAYER_NONDISTRIBUTABLE: "none",
    OCI_LAYER_NONDISTRIBUTABLE + "+gzip": "gzip",
    OCI_LAYER_NONDISTRIBUTABLE + "+zstd": "zstd",
    DOCKER_LAYER: "none",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN: "none",
    DOCKER_FOREIGN + ".gzip": "gzip",
}


#: layers that registries do not keep, and that clients do not upload
NONDISTRIBUTABLE: Final = frozenset(
    {
        OCI_LAYER_NONDISTRIBUTABLE,
        OCI_LAYER_NONDISTRIBUTABLE + "+gzip",
        OCI_LAYER_NONDISTRIBUTABLE + "+zstd",
        DOCKER_FOREIGN,
        DOCKER_FOREIGN + ".gzip",
    }
)
_OCI: Final = {
    DOCKER_LAYER: OCI_LAYER,
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
    DOCKER_LAYER_ZSTD: OCI_LAYER_ZSTD,
    DOCKER_FOREIGN: OCI_LAYER_NONDISTRIBUTABLE,
    DOCKER_FOREIGN + ".gzip": OCI_LAYER_NONDISTRIBUTABLE + "+gzip",
}


def as_oci(media_type: str) -> str:
    """Return OCI's media type for the same layer."""
    return _OCI.get(media_type, media_type)


def as_docker(media_type: str) -> str:
    """Return docker's media type for the same layer; `FormatError` if docker has none."""
    kind = as_oci(media_type)
    for docker in (DOCKER_LAYER, DOCKER_LAYER_GZIP):
        if _OCI[docker] == kind:
            return docker
    raise FormatError(
        f"docker's media types do not support a layer of the type {media_type!r}",
        hint="compress all layers with gzip, or use OCI's media types",
    )


def bare(media_type: str) -> str:
    """Return *media_type* without parameters (Artifactory adds ``;charset=ISO-8859-1``)."""
    return media_type.partition(";")[0].strip()


def codec_of(media_type: str) -> str:
    """Return the codec's name for a layer; `UnsupportedEntry` if its type is not supported."""
    try:
        return _CODECS[media_type]
    except KeyError:
        raise UnsupportedEntry(f"unsupported layer media type {media_type!r}") from None


def is_layer(media_type: str) -> bool:
    """Say whether *media_type* is that of a supported file-system layer."""
    return media_type in _CODECS


def layer_type(codec: str) -> str:
    """Return OCI's media type of a layer compressed with *codec*."""
    return OCI_LAYER if codec == "none" else f"{OCI_LAYER}+{codec}"
