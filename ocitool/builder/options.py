"""Options and result of a build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from ocitool.builder.outputs.exported import Exported
from ocitool.errors import BuildError, OcitoolError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.option_types import convert_fields
from ocitool.progress import CheckWarning
from ocitool_registry.access import Access
from ocitool_runtime.defaults import ResourceOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions(ResourceOptions):
    """Options of one build; the fields are those of the command.

    Raises:
        FormatError: a value is of another type; the Dockerfile may be a string, too.
    """

    #: A directory, a tar archive, a URL, or "-" for standard input; or a tar as bytes or a stream.
    context: str | bytes | BinaryIO = "."
    #: The Dockerfile, or several that are read as one: paths, URLs, or "-" for standard input.
    #: Default: Dockerfile or Containerfile in the context.
    file: str | tuple[str, ...] = ""
    dockerfile: bytes | None = None  # its text, instead of a file
    #: By the name of the image or stage that they replace: a directory, "docker-image://IMAGE",
    #: "oci-layout://DIRECTORY[:TAG][@DIGEST]", or a URL.
    build_contexts: Mapping[str, str] = field(default_factory=dict, hash=False)
    ignorefile: str = ""  # a file with the ignore rules, instead of the context's
    tags: tuple[str, ...] = ()  # references
    build_args: Mapping[str, str] = field(default_factory=dict, hash=False)
    #: Values by ID, for RUN --mount=type=secret and for ADD of URLs.
    secrets: Mapping[str, bytes] = field(default_factory=dict, hash=False, repr=False)
    secret_scan: bool = True  # a value in the image that is built is an error
    #: SSH agents: "ID" of the environment, "ID=SOCKET", or "ID=KEY,KEY" with private keys in files.
    ssh: tuple[str, ...] = ()
    from_image: str = ""  # the image of the first FROM, whatever that names
    target: str = ""  # a stage; default: the last one
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)  # override LABEL
    unset_labels: tuple[str, ...] = ()  # labels to remove from the image; `labels` are kept
    inherit_labels: bool = True  # of the images and stages that stages are based on
    env: Mapping[str, str] = field(default_factory=dict, hash=False)  # of the image, after ENV
    unset_env: tuple[str, ...] = ()  # variables that the image has not; RUN has them
    #: Of the manifest; with "manifest-descriptor:" before the key, of its entry in OCI layouts.
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_annotation: bool = False  # whether the manifest has the time of creation, too
    omit_history: bool = False  # the image has no history, not even that of its base
    ignored_paths: tuple[str, ...] = ()  # an error if a step changes anything beneath these
    no_cache: bool = False
    cache_ttl: float | None = None  # seconds; older records of the cache are not used
    no_cache_filter: tuple[str, ...] = ()  # names of stages to build without the cache
    #: Which base images are pulled: "missing", "always" all of them, "never" none; "newer" is
    #: "always", but the stored image is used if a registry fails.
    pull: str = "missing"
    platform: str = ""  # default: this machine's
    network: str = "default"  # of RUN: the name of a `Network`, or "bridge"
    add_hosts: tuple[str, ...] = ()  # "name:address", lines of /etc/hosts for RUN
    shm_size: int | None = None  # bytes of /dev/shm for RUN; None or 0: 64 MiB
    ulimits: tuple[str, ...] = ()  # "name=soft[:hard]", limits of RUN
    dns: tuple[str, ...] = ()  # addresses of name servers for RUN; "none": the image's resolv.conf
    dns_search: tuple[str, ...] = ()  # search domains for RUN; ".": none
    dns_options: tuple[str, ...] = ()  # options of resolv.conf for RUN
    no_hosts: bool = False  # RUN has the image's /etc/hosts
    no_hostname: bool = False  # changes nothing: RUN always has the image's /etc/hostname
    volumes: tuple[str, ...] = ()  # "/host:/container[:ro]", of each RUN; in no layer
    #: What RUN may ask for: "network.host", "security.insecure", "device", "device=NAME".
    allow: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opts: tuple[str, ...] = ()  # "no-new-privileges", "seccomp=unconfined"
    insecure: bool = False  # registries: plain HTTP, and certificates that are not verified
    insecure_pull: bool = False  # the same for base images alone
    insecure_registries: tuple[str, ...] = ()  # the same for these, as "localhost:5000"
    #: Files with certificates of CAs by registry.
    registry_certificates: Mapping[str, str] = field(default_factory=dict, hash=False)
    registry_mirrors: tuple[str, ...] = ()  # "host[/path]", asked for images of docker.io
    registry_maps: tuple[str, ...] = ()  # "registry=host[/path][;...]", asked for its images
    registry_fallback: bool = True  # whether the registry itself is asked after these
    authfile: str = ""  # credentials; default: where docker and podman have them
    creds: str = field(default="", repr=False)  # "user:password", for every registry
    cert_dir: str = ""  # certificates of CAs, *.crt, and of the client, *.cert with *.key
    retry: int | None = None  # how often a failed request is repeated; None: a few times
    retry_delay: float | None = None  # seconds before that; None: longer each time
    #: Seconds since the epoch: the latest time of anything new.  None: the current time;
    #: "context": that of the commit, or of the file, that the context is fetched from; or the name
    #: of another context, or of a stage that does nothing but ADD such a file or repository.
    source_date_epoch: int | str | None = None
    #: Seconds since the epoch: that time, and the time of every new file, whatever it has.
    timestamp: int | None = None
    rewrite_timestamp: bool = False  # as always with `source_date_epoch`; a warning without
    squash: bool = False  # the new layers become one
    squash_all: bool = False  # all layers do, those of the base image too
    #: Where the result goes, as --output takes it; default: the store, under the tags.
    outputs: tuple[str, ...] = ()
    push: bool = False  # to the registries in the names
    load: bool = False  # into docker's engine, or podman's store, if there is one
    format: str = "oci"  # media types: "oci" or "docker"
    compression_format: str = ""  # of new layers: gzip (the default), zstd, estargz, uncompressed
    compression_level: int | None = None
    force_compression: bool = False  # of the base image's layers, too

    def __post_init__(self) -> None:
        convert_fields(self)

    @property
    def access(self) -> Access:
        """How registries are accessed."""
        return Access(
            insecure=self.insecure,
            authfile=self.authfile,
            creds=self.creds,
            cert_dir=self.cert_dir,
            insecure_hosts=self.insecure_registries,
            certificates=self.registry_certificates,
            retries=self.retry,
            retry_delay=self.retry_delay,
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The values of `file`."""
        given = (self.file,) if isinstance(self.file, str) else self.file
        return tuple(filter(None, given))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build made."""

    descriptor: Descriptor  # of the manifest
    image_id: Digest  # the digest of the config
    tags: tuple[str, ...]  # that the image has in the store
    steps: int
    cached: int  # how many of the steps were cached
    warnings: tuple[str, ...] = ()  # as text, those of the checks last
    checks: tuple[CheckWarning, ...] = ()  # what the build checks found
    exports: tuple[Exported, ...] = ()  # what became of it, in the order of the outputs

    @property
    def digest(self) -> Digest:
        """The manifest's digest: what a registry will call the image."""
        return self.descriptor.digest


class OutputsFailed(BuildError):
    """Some outputs of a build failed, for the reasons ``errors``; ``result`` has the others."""

    def __init__(self, errors: Sequence[OcitoolError], result: BuildResult) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)
        self.result = result
