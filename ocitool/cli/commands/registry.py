"""``pull``, ``push``, ``login``, ``logout``, ``registry serve``."""

from __future__ import annotations

import sys

import click

from ocitool.cli.app import App, pass_app
from ocitool.cli.options import (
    authfile_option,
    insecure_option,
    platform_option,
    progress_option,
    quiet_option,
)
from ocitool.cli.output import write_line
from ocitool.errors import AuthError, FormatError


@click.command(short_help="Bring an image from a registry.")
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@platform_option
@quiet_option
@progress_option
@insecure_option
@authfile_option
@pass_app
def pull(
    app: App,
    name: str,
    platform: str | None,
    quiet: bool,
    progress: str,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Bring an image into the store, ready to run."""
    from ocitool.image.transfer import pull as pull_image
    from ocitool.oci.platform import Platform
    from ocitool.oci.reference import Reference

    with app.progress("quiet" if quiet else progress) as sink, app.store(sink) as store:
        image = pull_image(
            name,
            into=store,
            platform=Platform.parse(platform) if platform else None,
            insecure=not tls_verify,
            authfile=authfile,
            progress=sink,
        )
    if not quiet:
        write_line(f"Digest: {image.digest}")
    write_line(str(Reference.parse(name)))


@click.command(short_help="Send an image to a registry.")
@click.argument("name", metavar="IMAGE")
@click.argument("target", required=False, metavar="[NAME[:TAG]]")
@quiet_option
@progress_option
@insecure_option
@authfile_option
@pass_app
def push(
    app: App,
    name: str,
    target: str | None,
    quiet: bool,
    progress: str,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Send IMAGE to the registry in its name, or as NAME to another one."""
    from ocitool.image.transfer import push as push_image
    from ocitool.oci.reference import Reference

    with app.progress("quiet" if quiet else progress) as sink, app.store(sink) as store:
        descriptor = push_image(
            name,
            source=store,
            to=target or "",
            insecure=not tls_verify,
            authfile=authfile,
            progress=sink,
        )
    reference = Reference.parse(target or name)
    if quiet:
        write_line(str(reference))
    else:
        write_line(f"{reference.tag}: digest: {descriptor.digest} size: {descriptor.size}")


@click.command(short_help="Log in to a registry.")
@click.argument("registry", default="docker.io", metavar="[REGISTRY]")
@click.option("-u", "--username", metavar="NAME", help="The user's name.")
@click.option("-p", "--password", metavar="SECRET", help="Seen by others in the process list.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@insecure_option
@authfile_option
def login(
    registry: str,
    username: str | None,
    password: str | None,
    password_stdin: bool,
    tls_verify: bool,
    authfile: str | None,
) -> None:
    """Try credentials on a registry, and keep them where docker and podman do."""
    from ocitool_registry.auth.credential import Credential
    from ocitool_registry.auth.keychain import Fixed, store_credential
    from ocitool_registry.client.client import RegistryClient

    if password and password_stdin:
        raise click.UsageError("--password and --password-stdin exclude each other")
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    elif not (username and password) and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: use -u and --password-stdin")
    if password_stdin and not username:
        raise click.UsageError("--password-stdin needs --username")
    username = username or click.prompt("Username", err=True)
    password = password or click.prompt("Password", hide_input=True, err=True)
    credential = Credential(username=username or "", password=password or "")
    client = RegistryClient(registry, credentials=Fixed(credential), insecure=not tls_verify)
    try:
        client.ping()
    except AuthError as error:
        error.hint = "the registry refuses this user with this password"
        raise
    place = store_credential(registry, credential, authfile)
    write_line(f"Login succeeded; the credentials are in {place}.")


@click.command(short_help="Log out of a registry.")
@click.argument("registry", default="docker.io", metavar="[REGISTRY]")
@authfile_option
def logout(registry: str, authfile: str | None) -> None:
    """Forget the credentials for a registry."""
    from ocitool_registry.auth.keychain import remove_credential

    if not remove_credential(registry, authfile):
        raise AuthError(f"not logged in to {registry}")
    write_line(f"Removed the credentials for {registry}.")


@click.group(short_help="Be a registry.")
def registry() -> None:
    """Serve images to others."""


@registry.command(short_help="Serve a registry.")
@click.option(
    "--addr", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)  # fmt: skip
@pass_app
def serve(app: App, addr: str) -> None:
    """Serve the images of the store below --root's `registry` directory, over plain HTTP.

    What is pushed is kept there until it is deleted through the registry: `system prune` and `rmi`
    refuse that directory.  Anybody who can reach the address may push and pull.
    """
    import signal

    from ocitool.store.ownership import require_own
    from ocitool.store.registry_backend import StoreBackend
    from ocitool_registry.server.serve import serve as make_server

    host, colon, port = addr.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise FormatError(f"{addr!r} is not HOST:PORT", where="--addr")
    settings = app.settings()
    trusted = settings.trusted_owner
    require_own(settings.root, trusted)
    with StoreBackend(f"{settings.root}/registry", trusted_owner=trusted) as backend:
        server = make_server(backend, host.strip("[]") or "0.0.0.0", int(port))

        def stop(*_: object) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends once, whole
            raise SystemExit(0)

        signal.signal(signal.SIGTERM, stop)
        try:
            with server:
                write_line(f"Serving on http://{server.address}", sys.stderr)
                server.wait()
        except KeyboardInterrupt:
            write_line("Stopped.", sys.stderr)
