"""RUN --mount=type=secret and type=ssh: what a command gets of them, in memory alone."""

from __future__ import annotations

from typing import Final

from ocitool.builder.mounts import SecretMount, SshMount
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.secrets.ssh.agents import DEFAULT
from ocitool.builder.secrets.ssh.server import AgentServer
from ocitool.errors import BuildError
from ocitool_runtime.spec import Mount

_ATTRIBUTES: Final = ("nosuid", "nodev", "noexec")


def secret_value(mount: SecretMount, secrets: Secrets) -> bytes | None:
    """Return the value that *mount* shows; None if it was not given.

    Raises:
        BuildError: it is required, and was not given.
    """
    value = secrets.read(mount.id)
    if value is None and mount.required:
        raise BuildError(
            f"secret {mount.id}: not found",
            hint=f"pass it to the build: --secret id={mount.id},src=FILE",
        )
    return value


def secret_file(mount: SecretMount, value: bytes) -> Mount:
    """Return the file of a secret."""
    options = ("ro", *_ATTRIBUTES, *_owner(mount))
    return Mount(type="file", target=mount.target, content=value, options=options)


def secret_variable(mount: SecretMount, value: bytes) -> str:
    """Return the value of a secret as that of a variable; `BuildError` if it cannot be one."""
    if b"\0" in value:
        raise BuildError(
            f"secret {mount.id} contains a NUL byte, and cannot be the value of {mount.env}",
            hint="use it as a file: remove env=",
        )
    return value.decode("utf-8", "surrogateescape")


def agent_server(mount: SshMount, secrets: Secrets) -> AgentServer | None:
    """Return what serves the agent of *mount*, and does not listen yet; None without an agent.

    Raises:
        BuildError: it is required, and was not given.
    """
    agent = secrets.agents.get(mount.id)
    if agent is not None:
        return AgentServer(agent)
    if mount.required:
        name = mount.id or DEFAULT
        raise BuildError(
            f'no SSH key "{name}" forwarded from the client',
            hint=f"pass an agent or a key to the build: --ssh {name}",
        )
    return None


def agent_socket(mount: SshMount, server: AgentServer) -> Mount:
    """Return the socket on which *server* will listen in the sandbox."""
    options = (*_ATTRIBUTES, *_owner(mount))
    return Mount(type="socket", target=mount.target, socket=server.socket.fileno(), options=options)


def _owner(mount: SecretMount | SshMount) -> tuple[str, ...]:
    return f"mode={mount.mode:04o}", f"uid={mount.uid}", f"gid={mount.gid}"
