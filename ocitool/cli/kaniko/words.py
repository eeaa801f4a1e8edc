"""From kaniko's options to the words of ``ocitool build``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final

import click

from ocitool.cli.kaniko.context import build_context, git_fields
from ocitool.oci.reference import Reference

_DIRECTORY: Final = "/kaniko"
#: Options that are given several times, and mean the same of ``ocitool build``; empty values are
#: variables of a CI file that are not set.
_SAME: Final = (
    "--build-arg", "--secret", "--label", "--annotation", "--insecure-registry",
    "--registry-certificate", "--registry-mirror", "--registry-map",
)  # fmt: skip
_PROGRESS: Final = {"panic": "none", "fatal": "none", "error": "none", "warn": "quiet"}


def build_words(given: Mapping[str, Any], environ: MutableMapping[str, str]) -> list[str]:
    """Return the options and the context of ``ocitool build`` for those *given* to kaniko.

    Raises:
        UsageError: what is given is not supported, or no complete call.
    """
    names: tuple[str, ...] = given["destination"]
    if not names and not given["no_push"]:
        raise click.UsageError("you must provide --destination, or use --no-push")
    if given["tar_path"] and not names:
        raise click.UsageError(
            "--tar-path requires --destination: the name of the image in the archive"
        )
    for option in ("--image-name-with-digest-file", "--image-name-tag-with-digest-file"):
        if given[option.strip("-").replace("-", "_")] and not names:
            raise click.UsageError(f"{option} requires --destination: the name in the file")
    context = build_context(
        given["context"], given["context_sub_path"], git_fields(",".join(given["git"])), environ
    )
    file = _dockerfile(given["dockerfile"], context.directory)
    words = ["--file", file, *context.options, *_image(given, names)]
    words += [*_registries(given, names, environ), *_progress(given)]
    words += _files(given["kaniko_dir"] or environ.get("KANIKO_DIR", ""), environ)
    for option in _SAME:
        for value in filter(None, given[option.strip("-").replace("-", "_")]):
            words += [option, value]
    return [*words, "--", context.word]


def _dockerfile(path: str, directory: str) -> str:
    """Return where the Dockerfile is: here, or else in the context."""
    if os.path.exists(path) or "://" in path:
        return path
    return os.path.join(directory, path) if directory else path


def _image(given: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield from ("--tag", name)
    if names and not given["no_push"]:
        yield "--push"
    if given["tar_path"]:
        yield from ("--output", _csv("type=docker", f"dest={given['tar_path']}"))
    if given["oci_layout_path"]:
        yield from (
            "--output", _csv("type=oci", "tar=false", f"dest={given['oci_layout_path']}"),
        )  # fmt: skip
    for option, value in (
        ("--target", given["target"]),
        ("--platform", given["custom_platform"]),
        ("--compression-format", given["compression"]),
    ):
        if value:
            yield from (option, value)
    if given["compression_level"] >= 0:
        yield from ("--compression-level", str(given["compression_level"]))
    for path in (*given["ignore_path"], *["/var/run"] * given["ignore_var_run"]):
        yield from ("--ignore-path", path)
    if given["single_snapshot"]:
        yield "--squash"
    if given["reproducible"]:
        yield "--timestamp=0"
    yield from ("--cache-ttl", given["cache_ttl"]) if given["cache"] else ("--no-cache",)


def _csv(*fields: str) -> str:
    return ",".join(f'"{field}"' if "," in field else field for field in fields)


def _registries(
    given: Mapping[str, Any], names: Sequence[str], environ: Mapping[str, str]
) -> Iterator[str]:
    if given["insecure"] or given["skip_tls_verify"]:
        for registry in dict.fromkeys(Reference.parse(name).domain for name in names):
            yield from ("--insecure-registry", registry)
    for registry in given["skip_tls_verify_registry"]:
        yield from ("--insecure-registry", registry)
    if given["insecure_pull"] or given["skip_tls_verify_pull"]:
        yield "--insecure-pull"
    if given["skip_default_registry_fallback"]:
        yield "--skip-default-registry-fallback"
    for option, name in (
        ("--registry-mirror", "KANIKO_REGISTRY_MIRROR"),
        ("--registry-map", "KANIKO_REGISTRY_MAP"),
    ):
        if environ.get(name):
            yield from (option, environ[name])
    retries = [
        number
        for name in ("push_retry", "image_download_retry", "image_fs_extract_retry")
        if (number := given[name]) is not None
    ]
    if retries:
        yield from ("--retry", str(max(retries)))


def _progress(given: Mapping[str, Any]) -> Iterator[str]:
    usual = "json" if given["log_format"] == "json" else "plain"
    yield f"--progress={_PROGRESS.get(given['verbosity'], usual)}"
    if given["verbosity"] in ("debug", "trace"):
        yield "--debug"


def _files(directory: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the options for kaniko's own files: credentials, and certificates of CAs.

    Credentials of the usual directory are only used if the environment names no others; those of a
    *directory* that is given are always used.
    """
    others = environ.get("DOCKER_CONFIG") or environ.get("REGISTRY_AUTH_FILE")
    path = os.path.join(directory or _DIRECTORY, ".docker/config.json")
    if (directory or not others) and os.path.exists(path):
        yield from ("--authfile", path)
    certificates = os.path.join(directory or _DIRECTORY, "ssl/certs")
    if os.path.isdir(certificates) and os.listdir(certificates):
        yield from ("--cert-dir", certificates)
