"""``pull``, ``push``, ``login``, ``logout``, ``registry serve``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.completion.values import files, images
from ocitool.cli.options.shared import (
    insecure_option,
    platform_option,
    transfer_options,
    written_authfile_option,
)
from ocitool.cli.output.outfile import require_file, write_text
from ocitool.cli.output.output import write_line
from ocitool.errors import AuthError, FormatError, ImageNotFound, during
from ocitool.oci.reference import is_repository

_HUB: Final = "docker.io"  # the registry of names without one, also if it is ""


@click.command()
@click.argument("name", metavar="NAME[:TAG|@DIGEST]", shell_complete=images)
@click.option("-a", "--all-tags", is_flag=True, help="Pull all tags of the repository NAME")
@platform_option
@transfer_options
@pass_app
def pull(
    app: App,
    name: str,
    all_tags: bool,
    platform: str | None,
    quiet: bool,
    progress: str,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Pull an image from a registry

    The layers are unpacked while they are downloaded, so that the image is ready to run.
    """
    from ocitool.image.transfer import pull as pull_image
    from ocitool.image.transfer import tags_of
    from ocitool.oci.reference import Reference

    if all_tags:
        _require_repository(name)
    with (
        app.progress("quiet" if quiet else progress) as sink,
        during(f"pulling {name}"),
        app.store(sink) as store,
    ):
        names = [name]
        if all_tags:
            names = tags_of(name, insecure=not tls_verify, authfile=authfile, progress=sink)
        pulled = [
            pull_image(
                each,
                into=store,
                platform=platform or None,
                insecure=not tls_verify,
                authfile=authfile,
                progress=sink,
            )
            for each in names
        ]
    if quiet and all_tags:
        write_line(Reference.parse(name).repository)
        return
    for each, image in zip(names, pulled, strict=True):
        if not quiet:
            write_line(f"Digest: {image.digest}")
        write_line(str(Reference.parse(each)))


def _require_repository(name: str) -> None:
    if not is_repository(name):
        raise click.UsageError("a tag or a digest cannot be used with --all-tags")


def _require_alone(name: str, others: Mapping[str, str | None]) -> None:
    """Raise `UsageError` unless *name* is a repository, and none of *others* is given."""
    _require_repository(name)
    for what, given in others.items():
        if given:
            raise click.UsageError(f"--all-tags and {what} are mutually exclusive")


def _checked_compression(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    if value is not None:
        from ocitool.image.compress import Compression

        try:
            Compression.parse(value)
        except FormatError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise click.BadParameter(f"{error.message}{hint}", context, parameter) from error
    return value


@click.command()
@click.argument("name", metavar="IMAGE", shell_complete=images)
@click.argument("target", required=False, metavar="[NAME[:TAG]]", shell_complete=images)
@click.option(
    "--compression", metavar="FORMAT[:LEVEL]", callback=_checked_compression,
    help="Compress layers as gzip, zstd, estargz or uncompressed before pushing them",
)  # fmt: skip
@click.option("-a", "--all-tags", is_flag=True, help="Push all local tags of the repository IMAGE")
@click.option("--digestfile", metavar="FILE", shell_complete=files, help="Write the digest to FILE")
@transfer_options
@pass_app
def push(
    app: App,
    name: str,
    target: str | None,
    all_tags: bool,
    compression: str | None,
    digestfile: str | None,
    quiet: bool,
    progress: str,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Push an image to a registry

    IMAGE is pushed to the registry in its name, or under the name NAME, which may begin with
    docker://, as with buildah and podman.

    With --compression, layers in another format are compressed again.  This changes their digests
    and the digest of the pushed image, but not the image in the store.  docker reads zstd since
    version 23.
    """
    from ocitool.image.transfer import push as push_image
    from ocitool.oci.reference import Reference

    target = (target or "").removeprefix("docker://")
    if all_tags:
        _require_alone(name, {"a second name": target, "--digestfile": digestfile})
    if digestfile:
        require_file(digestfile, "--digestfile")
    with (
        app.progress("quiet" if quiet else progress) as sink,
        during(f"pushing {target or name}"),
        app.store(sink) as store,
    ):
        names = store.tags_of(name) if all_tags else [name]
        if not names:
            raise ImageNotFound(f"no image in the store has a tag of {name!r}")
        pushed = [
            push_image(
                each,
                source=store,
                to=target,
                compression=compression or "",
                insecure=not tls_verify,
                authfile=authfile,
                progress=sink,
            )
            for each in names
        ]
    if digestfile:
        write_text(digestfile, str(pushed[0].digest))
    if quiet and all_tags:
        write_line(Reference.parse(name).repository)
        return
    for each, descriptor in zip(names, pushed, strict=True):
        reference = Reference.parse(target or each)
        if quiet:
            write_line(str(reference))
        else:
            write_line(f"{reference.tag}: digest: {descriptor.digest} size: {descriptor.size}")


@click.command()
@click.argument("registry", default=_HUB, metavar="[REGISTRY]")
@click.option("-u", "--username", metavar="NAME", help="User name")
@click.option(
    "-p",
    "--password",
    metavar="SECRET",
    help="Password; other users can see it in the process list",
)
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin")
@insecure_option
@written_authfile_option
def login(
    registry: str,
    username: str | None,
    password: str | None,
    password_stdin: bool,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Log in to a registry

    The credentials are checked with the registry and stored in an authentication file of docker or
    podman, or by the credential helper that is configured there.
    """
    from ocitool_registry.auth.credential import Credential
    from ocitool_registry.auth.keychain import Fixed, store_credential
    from ocitool_registry.client.client import RegistryClient

    registry = registry or _HUB
    if password and password_stdin:
        raise click.UsageError("--password and --password-stdin are mutually exclusive")
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    elif not (username and password) and not sys.stdin.isatty():
        raise click.UsageError(
            "cannot prompt without a terminal: use --username and --password-stdin"
        )
    if password_stdin and not username:
        raise click.UsageError("--password-stdin requires --username")
    username = username or click.prompt("Username", err=True)
    password = password or click.prompt("Password", hide_input=True, err=True)
    credential = Credential(username=username or "", password=password or "")
    client = RegistryClient(registry, credentials=Fixed(credential), insecure=not tls_verify)
    with during(f"logging in to {registry}"):
        try:
            client.ping()
        except AuthError as error:
            error.hint = "check the user name and the password"
            raise
    path = store_credential(registry, credential, authfile)
    write_line(f"Login succeeded; credentials stored in {path}")


@click.command()
@click.argument("registry", default=_HUB, metavar="[REGISTRY]")
@written_authfile_option
def logout(registry: str, authfile: str | None) -> None:
    """Log out of a registry

    Removes the credentials from every authentication file, or from FILE with --authfile.
    """
    from ocitool_registry.auth.keychain import remove_credential

    registry = registry or _HUB
    if remove_credential(registry, authfile):
        write_line(f"Removing login credentials for {registry}")
    else:  # no error, so that a job may end with it whatever happened before
        write_line(f"Not logged in to {registry}")


@click.command()
@click.option(
    "--addr", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT",
    help="Address to listen on; port 0 selects a free port",
)  # fmt: skip
@pass_app
def serve(app: App, addr: str) -> None:
    """Start a registry server

    Serves the store in the subdirectory `registry` of the storage directory, over plain HTTP.
    Pushed images are kept until they are deleted through the registry: `ocitool system prune` and
    `ocitool rmi` refuse to change that store.

    There is no authentication: anybody who can reach the address can pull, push and delete.
    """
    import signal

    from ocitool.store.directory.ownership import require_own
    from ocitool.store.registry_backend import StoreBackend
    from ocitool_registry.server.serve import serve as make_server

    host, colon, port = addr.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise FormatError(f"invalid address {addr!r}: expected HOST:PORT", where="--addr")
    settings = app.settings()
    trusted = settings.trusted_owner
    require_own(settings.root, trusted)
    with StoreBackend(f"{settings.root}/registry", trusted_owner=trusted) as backend:
        server = make_server(backend, host.strip("[]") or "0.0.0.0", int(port))

        def stop(*_: object) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # do not interrupt the shutdown
            raise SystemExit(0)

        signal.signal(signal.SIGTERM, stop)
        try:
            with server:
                write_line(f"Serving on http://{server.address}", sys.stderr)
                server.wait()
        except KeyboardInterrupt:
            write_line("Stopped.", sys.stderr)
