"""What the options of a build say of each RUN: network, volumes, rights, limits of resources."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from ocitool.builder.build_arguments import HOSTNAME_ARG
from ocitool.builder.definition import Rights, Surroundings, Volume
from ocitool.builder.options import BuildOptions
from ocitool.errors import BuildError
from ocitool_runtime.defaults import SHM_SIZE, Network, ResourceOptions, Resources
from ocitool_runtime.words import (
    parse_host,
    parse_option,
    parse_search,
    parse_server,
    parse_ulimits,
)

if TYPE_CHECKING:
    from ocitool_runtime.spec import Mount

_HOSTS, _RESOLV = "/etc/hosts", "/etc/resolv.conf"


def surroundings(options: BuildOptions, default: Callable[[Network], Network]) -> Surroundings:
    """Return what the options say of each RUN; *default* is `Store.network`.

    Raises:
        BuildError: the network is not supported, or options exclude each other.
        ContainerError: a volume or a right is invalid, or not supported.
        FormatError: the network of the settings is not supported.
        SandboxError: a host, a name server or a limit is invalid.
    """
    try:
        network = Network(options.network)
    except ValueError:
        raise BuildError(
            f"--network {options.network} is not supported", hint=f"one of {', '.join(Network)}"
        ) from None
    without_dns = "none" in options.dns
    if without_dns and (len(options.dns) > 1 or options.dns_search or options.dns_options):
        raise BuildError(
            "--dns none keeps the /etc/resolv.conf of the image: other DNS options have no effect",
            hint="remove them, or remove --dns none",
        )
    if network is Network.NONE:
        _require_no_dns(options)
    if options.no_hosts and options.add_hosts:
        raise BuildError(
            "--no-hosts keeps the /etc/hosts of the image: --add-host has no effect",
            hint="leave one of them out",
        )
    image_files = {_HOSTS: options.no_hosts, _RESOLV: without_dns}
    return Surroundings(
        network=default(network),
        hostname=options.build_args.get(HOSTNAME_ARG, ""),
        hosts=tuple(parse_host(each.lower()) for each in options.add_hosts),
        shm_size=options.shm_size or SHM_SIZE,
        rlimits=parse_ulimits(options.ulimits),
        dns=() if without_dns else tuple(map(parse_server, options.dns)),
        dns_search=tuple(map(parse_search, options.dns_search)),
        dns_options=tuple(map(parse_option, options.dns_options)),
        image_files=tuple(path for path, kept in image_files.items() if kept),
        volumes=_volumes(options),
        rights=_rights(options),
        resources=_resources(options),
    )


def _require_no_dns(options: BuildOptions) -> None:
    """Refuse what says where names are looked up, as buildah does."""
    asked = {
        "--dns": set(options.dns) - {"none"},
        "--dns-option": options.dns_options,
        "--dns-search": options.dns_search,
    }
    for option, values in asked.items():
        if values:
            raise BuildError(
                f"the {option} option cannot be used with --network=none",
                hint="leave one of them out",
            )


def _volumes(options: BuildOptions) -> tuple[Volume, ...]:
    if not options.volumes:
        return ()
    from ocitool_runtime.volumes import parse_mounts

    plain, discarded = [], []
    for text in options.volumes:
        written, discard = _without_discard(text)
        plain.append(written)
        discarded.append(discard)
    mounts = parse_mounts(plain, (), ())
    found = (
        _volume(text, mount, discard)
        for text, mount, discard in zip(options.volumes, mounts, discarded, strict=True)
    )
    # What is mounted below another one comes after it, as with buildah.
    return tuple(sorted(found, key=lambda volume: volume.target.count("/")))


def _without_discard(text: str) -> tuple[str, bool]:
    """Return a volume without podman's option O, and whether it has it."""
    place, colon, words = text.rpartition(":")
    found = words.split(",")
    if ":" not in place or "O" not in found:
        return text, False
    rest = ",".join(word for word in found if word != "O")
    return f"{place}{colon}{rest}" if rest else place, True


def _volume(text: str, mount: Mount, discard: bool) -> Volume:
    if mount.type != "bind":
        raise BuildError(
            f"-v {text}: a build has no anonymous volumes", hint="use a host path: -v /data:/data"
        )
    readonly = "ro" in mount.options
    if discard and (readonly or not os.path.isdir(mount.source)):
        why = "O and ro are mutually exclusive" if readonly else "O is only for directories"
        raise BuildError(f"-v {text}: {why}", hint="use ro")
    return Volume(source=mount.source, target=mount.target, readonly=readonly, discard=discard)


def _rights(options: BuildOptions) -> Rights:
    if not (options.cap_add or options.cap_drop or options.security_opts):
        return Rights()
    from ocitool_runtime.security import parse_capabilities, parse_security

    security = parse_security(options.security_opts)
    return Rights(
        added=parse_capabilities("--cap-add", options.cap_add),
        dropped=parse_capabilities("--cap-drop", options.cap_drop),
        no_new_privileges=security.no_new_privileges,
        seccomp=security.seccomp,
    )


def _resources(options: BuildOptions) -> Resources:
    if not any(getattr(options, each.name) for each in fields(ResourceOptions)):
        return Resources()
    from ocitool_runtime.resources import parse_resources

    return parse_resources(options)
