"""The options of kaniko's executor, as click has them.

Source: kaniko's README, "Additional Flags", and cmd/executor/cmd/root.go.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import click

from ocitool.cli.options.containers import all_of
from ocitool.cli.options.goflags import BOOL, OptionalValue, boolean
from ocitool.cli.options.shared import parse_duration

#: Flags that change nothing here, with the only value that holds, or None for both.
ACCEPTED: Final[dict[str, bool | None]] = {
    "--cache-copy-layers": None,
    "--cache-run-layers": True,
    "--cleanup": None,
    "--compressed-caching": None,
    "--force": None,
    "--log-timestamp": None,
    "--no-push-cache": None,
    "--pre-cleanup": None,
    "--preserve-context": None,
    "--skip-push-permission-check": None,
    "--skip-unused-stages": None,
    "--use-new-run": None,
}
#: What is said of another value.
_OTHERWISE: Final = {"--cache-run-layers": "use --cache=false to execute all steps"}


def _accepted(name: str) -> Callable[[Any], Any]:
    held = ACCEPTED[name]

    def check(context: click.Context, parameter: click.Parameter, value: bool | None) -> None:
        if held is not None and value not in (None, held):
            raise click.UsageError(
                f"{name}={str(value).lower()} is not supported: {_OTHERWISE[name]}"
            )

    return click.option(
        name, cls=OptionalValue, bare="true", type=BOOL, default=None, metavar="BOOL",
        callback=check, expose_value=False, help="Accepted: the image is the same without it",
    )  # fmt: skip


def _no_push(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    text = os.environ.get("KANIKO_NO_PUSH")
    return value if text is None else boolean("KANIKO_NO_PUSH", text)


def _ttl(context: click.Context, parameter: click.Parameter, text: str) -> str:
    if parse_duration(context, parameter, text) is None:  # also where there is no --cache
        raise click.UsageError("invalid duration '': use 336h")
    return text


def _flag(*names: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, is_flag=True, **more)


def _several(*names: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, multiple=True, **more)


source = all_of(
    click.option("-c", "--context", default="/workspace/", show_default=True, metavar="CONTEXT",
                 help="Build context: DIR, dir://DIR, tar://FILE, tar://stdin,"
                      " git://REPOSITORY[#REF[#COMMIT]] or https://ARCHIVE"),
    click.option("--context-sub-path", default="", metavar="PATH",
                 help="Subdirectory to use as the context"),
    click.option("-f", "--dockerfile", default="Dockerfile", show_default=True, metavar="PATH",
                 help="Dockerfile: its path, or else its path in the context"),
    _several("--git", metavar="KEY=VALUE[,...]",
             help="branch=NAME of a git context; single-branch and recurse-submodules"),
    _several("--build-arg", metavar="NAME[=VALUE]",
             help="Build argument; without VALUE, taken from the environment"),
    _several("--secret", metavar="id=NAME[,src=FILE]", help="Secret for RUN and ADD"),
    click.option("--target", default="", metavar="STAGE", help="Target build stage"),
    click.option("--custom-platform", "--customPlatform", default="", metavar="OS/ARCH",
                 help="Platform of the image"),
)  # fmt: skip

result = all_of(
    _several("-d", "--destination", metavar="NAME", help="Name to push the image under"),
    _flag("--no-push", callback=_no_push,
          help="Do not push the image  [env: KANIKO_NO_PUSH]"),
    click.option("--tar-path", "--tarPath", default="", metavar="FILE",
                 help="Write the image to FILE, as an archive for docker"),
    click.option("--oci-layout-path", default="", metavar="DIR",
                 help="Write the image to DIR, as an OCI image layout"),
    click.option("--digest-file", default="", metavar="FILE", help="Write the digest to FILE"),
    click.option("--image-name-with-digest-file", default="", metavar="FILE",
                 help="Write REPOSITORY@DIGEST of each destination to FILE"),
    click.option("--image-name-tag-with-digest-file", default="", metavar="FILE",
                 help="Write REPOSITORY:TAG@DIGEST of each destination to FILE"),
    _several("--label", metavar="KEY=VALUE", help="Label of the image"),
    _several("--annotation", metavar="KEY=VALUE", help="Annotation of the image"),
    _flag("--reproducible", help="Set all new timestamps to 1970"),
    _flag("--single-snapshot", help="Create a single layer for all build steps"),
    click.option("--snapshot-mode", "--snapshotMode", default="full", expose_value=False,
                 type=click.Choice(["full", "redo", "time"]),
                 help="Accepted: content is compared, whatever the times"),
    _several("--ignore-path", metavar="PATH", help="Fail if a step changes anything below PATH"),
    click.option("--ignore-var-run", "--whitelist-var-run", cls=OptionalValue, bare="true",
                 type=BOOL, default=False, metavar="BOOL",
                 help="As --ignore-path /var/run"),
    click.option("--compression", type=click.Choice(["gzip", "zstd"]),
                 help="Compression of layers"),
    click.option("--compression-level", type=int, default=-1, metavar="LEVEL",
                 help="Level of compression"),
)  # fmt: skip

cache = all_of(
    _flag("--cache", help="Use the build cache of the storage directory"),
    click.option("--cache-ttl", default="336h", show_default=True, metavar="TIME", callback=_ttl,
                 help="Do not use cache records that are older"),
    click.option("--cache-repo", default="", metavar="NAME",
                 help="Not used, with a warning: the build cache is in the storage directory"),
    click.option("--cache-dir", default="", metavar="DIR", help="Not used, with a warning"),
)  # fmt: skip

registries = all_of(
    _flag("--insecure", help="Push without TLS, or without verifying certificates"),
    _flag("--skip-tls-verify", help="As --insecure"),
    _flag("--insecure-pull", help="Pull without TLS, or without verifying certificates"),
    _flag("--skip-tls-verify-pull", help="As --insecure-pull"),
    _several("--insecure-registry", metavar="REGISTRY", help="Registry to access in both ways"),
    _several("--skip-tls-verify-registry", metavar="REGISTRY", help="As --insecure-registry"),
    _several("--registry-certificate", metavar="REGISTRY=FILE",
             help="File with CA certificates for a registry"),
    _several("--registry-mirror", metavar="HOST[/PATH]",
             help=(
                 "Registry to ask for base images before docker.io  [env: "
                 "KANIKO_REGISTRY_MIRROR]"
             )),
    _several("--registry-map", metavar="REGISTRY=HOST[/PATH][;...]",
             help="Registries to ask for base images before REGISTRY  [env: KANIKO_REGISTRY_MAP]"),
    _flag("--skip-default-registry-fallback", help="Do not ask the original registry if it has "
                                                   "mirrors"),
    click.option("--push-retry", type=int, metavar="NUMBER",
                 help="Number of retries of a failed request to a registry"),
    click.option("--image-download-retry", type=int, metavar="NUMBER", help="As --push-retry"),
    click.option("--image-fs-extract-retry", type=int, metavar="NUMBER", help="As --push-retry"),
)  # fmt: skip

others = all_of(
    click.option("-v", "--verbosity", default="info", show_default=True,
                 type=click.Choice(["panic", "fatal", "error", "warn", "info", "debug", "trace"]),
                 help="Level of the messages to show"),
    click.option("--log-format", type=click.Choice(["text", "color", "json"]), default="color",
                 show_default=True, help="Format of the progress output; json is described in "
                                         "docs/progress.md"),
    click.option("--kaniko-dir", default="", metavar="DIR",
                 help="Directory with .docker/config.json  [env: KANIKO_DIR]  [default: /kaniko]"),
    *map(_accepted, ACCEPTED),
)  # fmt: skip
