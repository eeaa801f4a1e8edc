"""What tests of a driver say: a driver in a home of its own, layers, looks from inside."""

from __future__ import annotations

import contextlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from ocitool.drivers import trash
from ocitool.drivers.driver import Driver
from ocitool.drivers.inspection import LIST, run_inside
from ocitool.drivers.samples import Member, closed, entries_of, full, stream, tar
from ocitool.errors import LayerError, OcitoolError
from ocitool.layer.beneath import remove_tree
from ocitool.layer.unpack.extract import Applied


class DriverBench(ABC):
    """A test class of a driver.  Every test has a driver and a home of its own."""

    #: False where the driver has no ids but the user's own.
    foreign_ids: ClassVar[bool] = True
    #: True where nothing can be mounted: trees that are plain directories are looked at in place.
    in_place: ClassVar[bool] = False

    @abstractmethod
    def make(self, home: str) -> Driver:
        """Return the driver in the directory *home*, which is there; may be called again."""

    @contextlib.contextmanager
    def driver(self) -> Iterator[Driver]:
        """Make a driver in an empty home; at the end all it has can be dropped and removed."""
        home = tempfile.mkdtemp(prefix="driver-")
        made = self.make(home)
        try:
            yield made
            for key in list(made.trees()):
                made.discard(key)
            for layer in sorted(made.layers(), reverse=True):
                made.remove(layer)
            assert [*made.trees(), *made.layers()] == []
        finally:
            close(made)
            trash.empty(f"{home}/{trash.NAME}")
            remove_tree(home)

    @property
    def owner(self) -> tuple[int, int]:
        """Whose files the layers hold."""
        return (1234, 60_000) if self.foreign_ids else (os.geteuid(), os.getegid())

    @property
    def everything(self) -> list[Member]:
        """A layer with everything in it that may be made here."""
        return full(self.owner) + (closed(self.owner) if self.foreign_ids else [])

    def layer(
        self, driver: Driver, name: str, parents: Sequence[str], members: Sequence[Member]
    ) -> Applied:
        """Unpack and commit a layer."""
        driver.begin(f"for-{name[:8]}", parents)
        done = driver.apply(f"for-{name[:8]}", parents, tar(members))
        driver.commit(f"for-{name[:8]}", name)
        return done

    def inside(self, driver: Driver, key: str, parents: Sequence[str], code: str) -> Any:
        """Run Python in the tree *key*."""
        return run_inside(driver.mounts(key, parents), code, in_place=self.in_place)

    def look(self, driver: Driver, parents: Sequence[str]) -> dict[str, Any]:
        """Return what a view of *parents* shows."""
        found: dict[str, Any] = run_inside(driver.view(parents), LIST, in_place=self.in_place)
        del found["."]
        return found

    def top(self, driver: Driver, parents: Sequence[str]) -> dict[str, Any]:
        """Return what a view of *parents* shows of its root directory."""
        found = run_inside(driver.view(parents), LIST, in_place=self.in_place)
        facts: dict[str, Any] = found["."]
        return facts

    def refuses(self, driver: Driver, data: bytes, parents: Sequence[str] = ()) -> None:
        """Have the layer *data* refused; nothing is left of it."""
        driver.begin("refused", parents)
        raises(LayerError, lambda: driver.apply("refused", parents, stream(data)))
        driver.discard("refused")
        assert "refused" not in driver.trees()

    def diff(self, driver: Driver, key: str, parents: Sequence[str], **options: Any) -> bytes:
        """Return the layer that `diff` writes."""
        parts: list[bytes] = []
        count = driver.diff(key, parents, parts.append, **options)
        data = b"".join(parts)
        assert count == len(entries_of(data))
        return data


class Broken:
    """A stream that breaks when it is read."""

    def read(self, size: int = -1, /) -> bytes:
        raise OcitoolError("the source broke")

    def close(self) -> None:
        return None


def raises(kind: type[OcitoolError], call: Callable[[], object]) -> OcitoolError:
    """Return the error of *kind* that *call* raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out the times of directories: a layer tells only of those that it changes."""
    return {
        path: {key: value for key, value in facts.items() if key != "time" or "content" in facts}
        for path, facts in found.items()
    }


def close(driver: Driver) -> None:
    """Give back what a driver holds."""
    end = getattr(driver, "close", None)
    if end is not None:
        end()
