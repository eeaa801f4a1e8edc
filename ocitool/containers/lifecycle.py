"""Running a container in the foreground, from its image to its exit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ocitool.containers.container import Container, refuse_existing
from ocitool.containers.options import RunOptions, parse_network
from ocitool.containers.variables import file_entries, variables
from ocitool.errors import ContainerError, ImageNotFound, during
from ocitool.image.image import Image
from ocitool.image.store_content import local_image
from ocitool.oci.config import RunConfig
from ocitool.oci.platform import Platform, this_platform
from ocitool.oci.reference import is_image_id
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.layer_content import chain_ids
from ocitool.store.store import Store
from ocitool_runtime.defaults import SHM_SIZE, Network
from ocitool_runtime.host.terminal import run_foreground
from ocitool_runtime.host.userns.idmap import Maps, usable_maps
from ocitool_runtime.isolation import get_isolation
from ocitool_runtime.resources import parse_resources
from ocitool_runtime.security import entitled, parse_security
from ocitool_runtime.spec import Exit, Mount, Sandbox, environment
from ocitool_runtime.volumes import parse_mounts, with_image_volumes
from ocitool_runtime.words import parse_host, parse_server, parse_ulimits


def run(options: RunOptions, *, store: Store, progress: ProgressSink = SILENT) -> Exit:
    """Run a container until it exits, and remove it.

    It has the streams of this process and gets its signals.  An image that is not in the store is
    pulled.

    Raises:
        ContainerError: an option is invalid, or not supported.
        SandboxError: the sandbox failed, not the program in it.
        ImageNotFound: there is no such image.
    """
    options.check()
    options = replace(options, network=store.network(parse_network(options.network)))
    isolation = get_isolation(store.settings.isolation)
    store.layout.require_writable()
    confined = confined_sandbox(options, usable_maps())
    lines = (line for path in options.env_files for line in file_entries(path, os.environ))
    options = replace(options, env=(*lines, *options.env), env_files=())
    if options.cidfile:
        refuse_existing(options.cidfile)
    image = _image(options, store, progress)
    if not options.platform:
        warn_of_platform(image, progress)
    with (
        Container(
            store.layout,
            name=options.name,
            image=str(image.digest),
            layers=chain_ids(image.layers),
            labels=options.labels,
        ) as container,
        store.layers.prepare(image.layers, progress) as tree,
    ):
        if options.cidfile:
            container.write_id(options.cidfile)
        named = replace(options, hostname=options.hostname or _hostname(options, container.id))
        confined = replace(confined, hostname_needed=bool(options.hostname))
        sandbox = started_from(confined, named, image.config.run, tree.mounts)
        done = run_foreground(isolation, sandbox, interactive=options.interactive)
    for warning in done.warnings:
        store.warn_once(warning, progress)
    if done.code and done.network_error:
        text = f"lost the private network: {done.network_error}"
        progress.emit(Notice(text=text, level="warning"))
    for note in done.notes:
        progress.emit(Notice(text=note, level="debug"))
    return done


def _hostname(options: RunOptions, container_id: str) -> str:
    """Return docker's choice: on the host's network the host's name, else the container's id."""
    return os.uname().nodename if options.network == Network.HOST else container_id[:12]


def _image(options: RunOptions, store: Store, progress: ProgressSink) -> Image:
    platform = Platform.parse(options.platform) if options.platform else None
    if options.pull != "always":
        try:
            return local_image(store, options.image, platform)
        except ImageNotFound:
            # An ID is known to no registry.
            if options.pull == "never" or is_image_id(options.image):
                raise
        wanted = f" for {platform}" if platform is not None else ""
        progress.emit(Notice(text=f"Unable to find image '{options.image}'{wanted} locally"))
    from ocitool.image.transfer import pull

    with during(f"pulling {options.image}"):
        return pull(options.image, into=store, platform=platform, progress=progress)


def warn_of_platform(image: Image, progress: ProgressSink) -> None:
    """Emit docker's warning of an image that was made for another machine."""
    actual, here = image.config.platform, this_platform()
    if not here.accepts(actual):
        text = (
            f"the requested image's platform ({actual}) does not match the detected host platform"
            f" ({here}) and no specific platform was requested"
        )
        progress.emit(Notice(text=text, level="warning"))


def confined_sandbox(options: RunOptions, maps: Maps) -> Sandbox:
    """Return what *options* say of a sandbox, whatever the image; nothing is executed yet.

    Raises:
        ContainerError: an option is invalid, or not supported.
        SandboxError: likewise.
    """
    sandbox = Sandbox(
        rootfs=(),
        args=(),
        mounts=parse_mounts(options.volumes, options.mounts, options.tmpfs),
        user=options.user,
        groups=options.groups,
        hosts=tuple(map(parse_host, options.add_hosts)),
        dns=tuple(map(parse_server, options.dns)),
        readonly=options.read_only,
        network=options.network,
        terminal=options.terminal,
        rlimits=parse_ulimits(options.ulimits),
        init=options.init,
        shm_size=options.shm_size or SHM_SIZE,
        resources=parse_resources(options, options.pids_limit),
    )
    rights = entitled(
        sandbox,
        maps,
        added=options.cap_add,
        dropped=options.cap_drop,
        security=parse_security(options.security_opts),
    )
    return maps.applied_to(rights)


def started_from(
    confined: Sandbox, options: RunOptions, config: RunConfig, rootfs: Sequence[Mount]
) -> Sandbox:
    """Return the sandbox of a container on *rootfs*; the image's config gives the defaults."""
    base = config.environment()
    if options.hostname:
        base.setdefault("HOSTNAME", options.hostname)
    if options.terminal:
        base.setdefault("TERM", "xterm")
    return replace(
        confined,
        rootfs=tuple(rootfs),
        mounts=with_image_volumes(confined.mounts, config.volumes),
        args=_command(options, config),
        env=environment(variables(options.env, base, os.environ)),
        cwd=options.workdir or config.working_dir or "/",
        user=options.user or config.user,
        hostname=options.hostname,
    )


def _command(options: RunOptions, config: RunConfig) -> tuple[str, ...]:
    if options.entrypoint is not None:
        # The image's CMD was made for the image's ENTRYPOINT.
        entrypoint: tuple[str, ...] = (options.entrypoint,)
        args = options.args
    else:
        entrypoint = config.entrypoint or ()
        args = options.args or config.cmd or ()
    # An entrypoint of one empty word counts as no entrypoint, as in docker's daemon.
    command = args if entrypoint == ("",) else (*entrypoint, *args)
    if not command:
        raise ContainerError(
            "no command specified, and the image has none",
            hint=f"ocitool run {options.image} COMMAND",
        )
    return command
