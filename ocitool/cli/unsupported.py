"""Commands and options that docker has and ocitool has not, with the reason or another way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_FOREGROUND: Final = "containers run in the foreground"
_REMOVED: Final = "containers run in the foreground, and are removed when they exit"
_CLUSTERS: Final = "ocitool manages one machine, not a swarm"

#: Commands of `docker container` except `run`; most exist without `container`, too.
CONTAINER: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "attach", "create", "exec", "kill", "list", "logs", "ls", "pause", "port", "ps",
            "rename", "restart", "start", "stats", "stop", "top", "unpause", "update", "wait",
        ),
        _FOREGROUND,
    ),
    **dict.fromkeys(
        ("commit", "cp", "diff", "export", "inspect", "prune", "remove", "rm"), _REMOVED
    ),
}  # fmt: skip


BUILDER: Final[Mapping[str, str]] = dict.fromkeys(
    ("create", "du", "inspect", "ls", "rm", "stop", "use"),
    "there is only the builder of ocitool itself",
)

#: Commands of `docker buildx` except `build`.
BUILDX: Final[Mapping[str, str]] = {
    **BUILDER,
    **dict.fromkeys(("install", "uninstall"), BUILDER["use"]),
    "bake": "use `ocitool build` for each image",
    "dial-stdio": "there is no daemon",
    "history": "use `ocitool history` for the history of an image",
    "imagetools": "an image has one platform",
    "version": "see `ocitool version`",
}

SYSTEM: Final[Mapping[str, str]] = {
    "events": "there is no daemon that emits events",
    "dial-stdio": "there is no daemon",
}

_AS_TOP_LEVEL: Final = {
    name: why for name, why in CONTAINER.items()
    if name not in ("export", "inspect", "list", "ls", "prune", "remove")
}  # fmt: skip

UNSUPPORTED: Final[Mapping[str, str]] = {
    **_AS_TOP_LEVEL,
    **dict.fromkeys(("config", "node", "secret", "service", "stack", "swarm"), _CLUSTERS),
    "bake": "use `ocitool build` for each image",
    "checkpoint": _FOREGROUND,
    "compose": "use `ocitool run` for each container",
    "context": "there is no daemon to connect to",
    "events": SYSTEM["events"],
    "manifest": "an image has one platform",
    "network": "a container has a private network, the host's or none, see `ocitool run --help`",
    "plugin": "plugins are Python packages, see docs/drivers.md",
    "scout": "use a scanner of images",
    "search": "use the registry's own search",
    "trust": "signatures of images are not verified",
    "volume": "mount a directory of the host, see `ocitool run --help`",
}

_SIGNATURES: Final = "signatures of images are not verified"
_ONE_PLATFORM: Final = "an image in the store has one platform"
_NO_STOP: Final = "there is no command 'stop': ocitool passes its own signals on to the container"
_PORTS: Final = "ports cannot be published: use --network host"

_DEVICES: Final = "a container has only docker's default devices"

_RUN: Final = {
    **dict.fromkeys(("-d", "--detach"), _FOREGROUND),
    **dict.fromkeys(("-p", "--publish", "-P", "--publish-all"), _PORTS),
    "--privileged": "use --cap-add and --security-opt for what the command needs",
    "--device": _DEVICES,
    "--restart": _REMOVED,
    **dict.fromkeys(("--stop-signal", "--stop-timeout"), _NO_STOP),
    **dict.fromkeys(
        ("--memory-reservation", "--memory-swappiness", "--kernel-memory", "--oom-kill-disable",
         "--oom-score-adj", "--cpu-rt-period", "--cpu-rt-runtime", "--blkio-weight",
         "--blkio-weight-device", "--device-read-bps", "--device-read-iops", "--device-write-bps",
         "--device-write-iops"),
        "use --memory, --cpus, --cpuset-cpus, --pids-limit and the like",
    ),
    **dict.fromkeys(("--device-cgroup-rule", "--gpus"), _DEVICES),
    **dict.fromkeys(
        ("--pid", "--ipc", "--uts", "--userns", "--cgroupns"),
        "a container has its own namespaces: use --network for the network",
    ),
    "--disable-content-trust": _SIGNATURES,
}  # fmt: skip

#: What to use instead of a policy of allowed sources.
SOURCE_POLICY: Final = "pin images by digest in FROM, and use --checksum of ADD"
_ID_MAPPINGS: Final = "the user namespace maps the caller's subordinate IDs, see `ocitool info`"

_BUILD: Final = {
    **dict.fromkeys(
        ("--userns-gid-map", "--userns-gid-map-group", "--userns-uid-map",
         "--userns-uid-map-user"),
        _ID_MAPPINGS,
    ),
    **dict.fromkeys(
        ("--hooks-dir", "--runtime", "--runtime-flag"),
        "steps are executed by ocitool itself: use --isolation",
    ),
    **dict.fromkeys(
        ("--os-feature", "--os-version"), "an image has the values of its base image: use "
                                          "--platform"
    ),
    **dict.fromkeys(
        ("--decryption-key", "--cw"), "images are not encrypted: use skopeo or buildah for that"
    ),
    **dict.fromkeys(
        ("--sign-by", "--signature-policy"), "use cosign, or skopeo, for the image in a registry"
    ),
    **dict.fromkeys(("--policy", "--source-policy-file"), SOURCE_POLICY),
    **dict.fromkeys(
        ("--sbom-image-output", "--sbom-image-purl-output", "--sbom-merge-strategy",
         "--sbom-output", "--sbom-purl-output", "--sbom-scanner-command", "--sbom-scanner-image"),
        "a build makes no attestations: use a scanner on the image",
    ),
    **dict.fromkeys(
        ("--layer-label", "--save-stages", "--stage-labels"),
        "the build cache holds no images: use --target with --tag",
    ),
    **dict.fromkeys(
        ("--mount", "--transient-mount"), "use --volume, or RUN --mount in the Dockerfile"
    ),
    "--all-platforms": f"{_ONE_PLATFORM}: use --platform",
    "--cpp-flag": "Dockerfiles are not preprocessed: run cpp, and build with -f -",
    "--device": "use RUN --device in the Dockerfile, and --allow device",
    "--group-add": "a step has the groups of its USER: change them in the Dockerfile",
    "--iidfile-raw": "use --iidfile",
    "--raw-iidfile": "use --iidfile",
    "--manifest": "an image has one manifest and no index: use --tag",
    "--print": "use --call",
    "--resource": "use --memory, --cpus and the like, which limit each step",
    "--unsetannotation": "annotations of base images are not inherited",
}  # fmt: skip

_KANIKO: Final = {
    **dict.fromkeys(("-b", "--bucket"), "download the context, and use tar://FILE or tar://stdin"),
    **dict.fromkeys(
        ("--credential-helpers", "--azure-container-registry-config"),
        "name credential helpers in config.json, as docker does",
    ),
    "--force-build-metadata": "an instruction that changes no file has no layer",
    "--initial-fs-unpacked": "the file system of the container is not used",
    "--materialize": "use `ocitool build --output DIR`",
    "--push-ignore-immutable-tag-errors": "push another tag",
    "--registry-client-cert": "use `ocitool build --cert-dir`",
}

_NO_DAEMON: Final = "there is no daemon to connect to: remove the option"

#: Options of docker, buildah and podman before the command.
_GLOBAL: Final = {
    **dict.fromkeys(
        ("-c", "--context", "-H", "--host", "--tls", "--tlscacert", "--tlscert", "--tlskey",
         "--tlsverify", "--connection", "--identity", "-r", "--remote", "--ssh", "--url"),
        _NO_DAEMON,
    ),
    **dict.fromkeys(
        ("--registries-conf", "--registries-conf-dir", "--short-name-alias-conf"),
        "these files are not read: use --registry-mirror, --insecure-registry and complete names",
    ),
    **dict.fromkeys(("--userns-gid-map", "--userns-uid-map"), _ID_MAPPINGS),
    **dict.fromkeys(
        ("--conmon", "--hooks-dir", "--runtime", "--runtime-flag"),
        "containers are started by ocitool itself: use --isolation",
    ),
    **dict.fromkeys(
        ("--network-cmd-path", "--network-config-dir"),
        "networks have no configuration: use --network of the command",
    ),
    **dict.fromkeys(
        ("--authfile", "--cert-dir", "--creds", "--tls-verify"),
        "it is an option of commands: write it after the command, as in `ocitool build "
        "--cert-dir DIR`",
    ),
    "--config": "set DOCKER_CONFIG to the directory, or use --authfile of the command",
    "--namespace": "use --root for a store of its own",
    "--noout": "use --quiet of the command, or redirect",
    "--storage-opt": "storage drivers have no options: use --driver",
    "--syslog": "redirect to logger(1)",
    "--tmpdir": "there is no state of running containers; set TMPDIR for temporary files",
    "--volumepath": UNSUPPORTED["volume"],
}  # fmt: skip

#: Options by the name of their command.
OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "ocitool": _GLOBAL,
    "buildx": {"--builder": f"{BUILDER['use']}: remove the option"},
    "run": _RUN,
    "build": _BUILD,
    "kaniko-executor": _KANIKO,
    "images": {"--tree": _ONE_PLATFORM},
    "inspect": {**dict.fromkeys(("-s", "--size"), "an image has no container whose files could "
                                                  "be measured"),
                "--platform": _ONE_PLATFORM},
    "pull": {"--disable-content-trust": _SIGNATURES},
    "push": {"--disable-content-trust": _SIGNATURES, "--platform": _ONE_PLATFORM},
    **{name: {"--platform": _ONE_PLATFORM}
       for name in ("history", "import", "load", "rmi", "save")},
    "everything": {"--volumes": UNSUPPORTED["volume"]},
}  # fmt: skip
