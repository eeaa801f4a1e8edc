"""The secrets of a build, by ID: values that no key, history, layer or message has.

What uses them has a `Secrets`: ``secrets.read("token")`` is a value, and
``ssh.server.listening(secrets.agents.get("default"), home)`` an agent on a socket of this user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

from ocitool.builder.secrets.ssh.agents import Agents
from ocitool.errors import BuildError

LARGEST: Final = 500 << 10  # bytes of a value, as in BuildKit


class Secrets:
    """Values by ID, and beside them the SSH agents; they are shown nowhere.

    Raises:
        BuildError: an ID is empty, or a value too large.
    """

    def __init__(self, values: Mapping[str, bytes], agents: Agents | None = None) -> None:
        for name, value in values.items():
            if not name:
                raise BuildError(
                    "a secret has an empty id", hint="give each secret an id: --secret id=NAME"
                )
            require_size(name, value)
        self._values = dict(values)
        self.agents = agents or Agents(())

    def read(self, name: str) -> bytes | None:
        """Return the value of the secret *name*; None without such a secret."""
        return self._values.get(name)

    def variables(self, environ: Mapping[bytes, bytes]) -> tuple[str, ...]:
        """Return the names of the variables in *environ* that have one of the values."""
        values = {value for value in self._values.values() if value}
        return tuple(os.fsdecode(name) for name, value in environ.items() if value in values)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the IDs."""
        return iter(self._values)


def require_size(name: str, value: bytes) -> None:
    """Refuse a *value* that is too large; `BuildError`."""
    if len(value) > LARGEST:
        raise BuildError(
            f"secret {name} is too large: more than {LARGEST} bytes",
            hint="a secret is a token, a key or a small file of settings",
        )
