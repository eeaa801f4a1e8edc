"""Running a container in the foreground, from its image to its exit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ocitool.containers.container import Container
from ocitool.containers.options import RunOptions, bind_mount, tmpfs_mount, variables
from ocitool.errors import ContainerError, ImageNotFound
from ocitool.image.image import Image
from ocitool.image.store_content import local_image
from ocitool.oci.config import RunConfig
from ocitool.oci.platform import Platform, this_platform
from ocitool.oci.reference import is_image_id
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.layer_content import chain_ids
from ocitool.store.store import Store
from ocitool_runtime.defaults import Network
from ocitool_runtime.host.idmap import usable_maps
from ocitool_runtime.host.terminal import run_foreground
from ocitool_runtime.isolation import get_isolation
from ocitool_runtime.spec import Exit, Mount, Sandbox, environment


def run(options: RunOptions, *, store: Store, progress: ProgressSink = SILENT) -> Exit:
    """Run a container until it exits, and remove it.

    It has the streams of this process and gets its signals.  An image that is not in the store is
    pulled.

    Raises:
        ContainerError: an option is invalid, or not supported.
        SandboxError: the sandbox failed, not the program in it.
        ImageNotFound: there is no such image, or none for the platform that *options* ask for.
    """
    options.check()
    isolation = get_isolation(store.settings.isolation)
    store.layout.require_writable()
    mounts = [
        *(bind_mount(text) for text in options.volumes),
        *(tmpfs_mount(text) for text in options.tmpfs),
    ]
    platform = Platform.parse(options.platform) if options.platform else None
    image = _image(options.image, platform, store, progress)
    if platform is None:
        warn_of_platform(image, progress)
    with (
        Container(
            store.layout,
            name=options.name,
            image=str(image.digest),
            layers=chain_ids(image.layers),
        ) as container,
        store.layers.prepare(image.layers, progress) as tree,
    ):
        sandbox = sandbox_for(
            replace(options, hostname=options.hostname or _hostname(options, container.id)),
            image.config.run,
            tree.mounts,
            mounts,
        )
        done = run_foreground(isolation, sandbox, interactive=options.interactive)
    for warning in done.warnings:
        progress.emit(Notice(text=warning, level="warning"))
    for note in done.notes:
        progress.emit(Notice(text=note, level="debug"))
    return done


def _hostname(options: RunOptions, container_id: str) -> str:
    """Return docker's choice: on the host's network the host's name, else the container's id."""
    return os.uname().nodename if options.network == Network.HOST else container_id[:12]


def _image(name: str, platform: Platform | None, store: Store, progress: ProgressSink) -> Image:
    try:
        return local_image(store, name, platform)
    except ImageNotFound:
        if is_image_id(name):  # which no registry knows
            raise
        from ocitool.image.transfer import pull

        wanted = f" for {platform}" if platform is not None else ""
        progress.emit(Notice(text=f"Unable to find image '{name}'{wanted} locally"))
        return pull(name, into=store, platform=platform, progress=progress)


def warn_of_platform(image: Image, progress: ProgressSink) -> None:
    """Emit docker's warning of an image that was made for another machine."""
    actual, here = image.config.platform, this_platform()
    if not here.accepts(actual):
        text = (
            f"the requested image's platform ({actual}) does not match the detected host platform"
            f" ({here}) and no specific platform was requested"
        )
        progress.emit(Notice(text=text, level="warning"))


def sandbox_for(
    options: RunOptions,
    config: RunConfig,
    rootfs: Sequence[Mount],
    mounts: Sequence[Mount],
) -> Sandbox:
    """Return the sandbox of a container from *options*; the image's config gives the defaults."""
    sandbox = Sandbox(
        rootfs=tuple(rootfs),
        mounts=tuple(mounts),
        args=_command(options, config),
        env=environment(variables(options, config.environment(), os.environ)),
        cwd=options.workdir or config.working_dir or "/",
        user=options.user or config.user,
        hostname=options.hostname,
        readonly=options.read_only,
        network=options.network,
        terminal=options.terminal,
        init=options.init,
    )
    return usable_maps().applied_to(sandbox)


def _command(options: RunOptions, config: RunConfig) -> tuple[str, ...]:
    if options.entrypoint is not None:
        # The image's CMD was made for the image's ENTRYPOINT.
        entrypoint = (options.entrypoint,) if options.entrypoint else ()
        command = (*entrypoint, *options.args)
    else:
        command = (*(config.entrypoint or ()), *(options.args or config.cmd or ()))
    if not command:
        raise ContainerError(
            "no command specified, and the image has none",
            hint=f"ocitool run {options.image} COMMAND",
        )
    return command
