"""``--ssh``: the agents of a build, by ID."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ocitool.errors import BuildError, FormatError

if TYPE_CHECKING:
    from ocitool.builder.secrets.ssh.agent import Agent

DEFAULT: Final = "default"


class Agents:
    """Agents by ID; keys are read when this is made.

    Each of *words* is ``ID``, ``ID=SOCKET`` or ``ID=KEY[,KEY...]``; an ID alone is the agent of the
    environment.

    Raises:
        FormatError: an ID is given twice.
        BuildError: a file is missing, is neither a socket nor a key, or has a passphrase.
    """

    def __init__(self, words: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
        self._agents: dict[str, Agent] = {}
        for word in words:
            name, _, paths = word.partition("=")
            name = name or DEFAULT
            if name in self._agents:
                raise FormatError(f"invalid --ssh {word!r}: the id is used twice: {name}")
            self._agents[name] = _agent(name, list(filter(None, paths.split(","))), environ)

    def get(self, name: str) -> Agent | None:
        """Return the agent *name*, which is `DEFAULT` if empty; None without such an agent."""
        return self._agents.get(name or DEFAULT)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the IDs."""
        return iter(self._agents)


def agent_of_environment(environ: Mapping[str, str] = os.environ) -> Agent | None:
    """Return the caller's agent, for what the caller itself names; None without one."""
    path = environ.get("SSH_AUTH_SOCK", "")
    if not path or not os.path.exists(path) or not _is_socket(path):
        return None
    return _agent(DEFAULT, [], environ)


def _agent(name: str, paths: list[str], environ: Mapping[str, str]) -> Agent:
    from ocitool.builder.secrets.ssh.agent import ForwardedAgent, KeyAgent

    if not paths:
        path = environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise BuildError(
                f"no SSH agent for --ssh {name}: SSH_AUTH_SOCK is not set",
                hint="start one with ssh-agent, or name key files: --ssh default=KEY",
            )
        if not _is_socket(path):
            raise BuildError(
                f"no SSH agent for --ssh {name}: {path} in SSH_AUTH_SOCK is not a socket",
                hint="start one with ssh-agent, or name key files: --ssh default=KEY",
            )
        return ForwardedAgent(os.path.abspath(path))
    if any(map(_is_socket, paths)):
        if len(paths) > 1:
            raise BuildError(
                f"invalid --ssh {name}: a socket cannot be combined with others or with keys",
                hint="give each an id of its own",
            )
        return ForwardedAgent(os.path.abspath(paths[0]))
    from ocitool.builder.secrets.ssh.keys import load

    return KeyAgent([load(path) for path in paths])


def _is_socket(path: str) -> bool:
    """Say whether *path* is a socket; `BuildError` if it is not there."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise BuildError(
            f"failed to find SSH agent or key: {path}: {error.strerror}",
            hint="--ssh takes the socket of an agent, or files of private keys",
        ) from error
