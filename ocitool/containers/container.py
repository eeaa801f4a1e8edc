"""One container's state on disk: a directory, locked while the container runs."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from ocitool.errors import ContainerError
from ocitool.layer.beneath import remove_tree
from ocitool.layer.locks import is_locked
from ocitool.store.directory.atomic import write_file
from ocitool.store.directory.layout import Layout


class Container:
    """A running container; closing it removes its state.

    ``id`` has 64 hexadecimal digits.  Other processes see by the lock on its directory
    that it runs; the kernel releases it with the process that holds it.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        name: str,
        image: str,
        layers: Sequence[str],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.id = os.urandom(32).hex()
        self.name = name or self.id[:12]
        self.path = f"{layout.containers}/{self.id}"
        with layout.lock("containers"):
            self._refuse_taken_name(layout)
            os.mkdir(self.path, 0o700)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            state = {
                "id": self.id,
                "name": self.name,
                "image": image,
                "layers": list(layers),
                "labels": dict(labels or {}),
            }
            write_file(f"{self.path}/container.json", json.dumps(state).encode())

    def _refuse_taken_name(self, layout: Layout) -> None:
        for state, alive in states(layout):
            if state.get("name") == self.name and alive:
                raise ContainerError(
                    f'the container name "{self.name}" is already in use by {state["id"][:12]}',
                    hint="choose another --name, or stop that container",
                )

    def write_id(self, path: str) -> None:
        """Write the ID to the new file *path*; `ContainerError` if that is not possible."""
        refuse_existing(path)
        try:
            with open(path, "x", encoding="ascii") as file:
                file.write(self.id)
        except OSError as error:
            raise ContainerError(
                f"cannot write the container ID file {path}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Remove the state."""
        remove_tree(self.path)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_existing(cidfile: str) -> None:
    """Raise `ContainerError` if there is a container ID file: it is that of another container."""
    if os.path.lexists(cidfile):
        raise ContainerError(
            f"the container ID file {cidfile} exists",
            hint="make sure that the other container isn't running, or remove the file",
        )


def states(layout: Layout) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the state of each container, and whether it runs; the others are removed."""
    for name in os.listdir(layout.containers):
        path = f"{layout.containers}/{name}"
        try:
            with open(f"{path}/container.json", "rb") as file:
                state = json.load(file)
        except (FileNotFoundError, ValueError):
            state = {}
        alive = is_locked(path)
        yield state, alive
        if not alive:
            remove_tree(path)
