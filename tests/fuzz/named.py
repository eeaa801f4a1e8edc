"""Random named contexts, and what instructions take from them."""

from __future__ import annotations

import random
from typing import Final

from tests.fuzz.contexts import RandomContext, random_context
from tests.fuzz.remotes import FILES, GIT

#: Values of --build-context, except the directory; the layout is of an image with `FIRST`.
LAYOUT: Final = "oci-layout://@LAYOUT@"
IMAGE: Final = "docker-image://@IMAGE@"
DIRECTORY: Final = "@NAMED@"
_OF_IMAGES: Final = ("/etc/passwd", "/src", "/src/f", "/src/*", "/d", "/kept/link")


class RandomNamed:
    """At most two named contexts; the names of some are those of stages."""

    def __init__(self, dice: random.Random, context: RandomContext, some: bool) -> None:
        self._dice = dice
        names = dice.sample(("nc", "other", "s0"), dice.choice((1, 1, 2))) if some else []
        values = (DIRECTORY, DIRECTORY, IMAGE, LAYOUT, f"{FILES}/a.tar.gz", f"{GIT}/r.git#v1")
        self.values = {name: dice.choice(values) for name in names}
        self.files: RandomContext | None = None
        if DIRECTORY in self.values.values():
            self.files = random_context(dice) if dice.random() < 0.7 else context

    @property
    def images(self) -> list[str]:
        """Return the names that a FROM may have."""
        return [name for name, value in self.values.items() if value in (IMAGE, LAYOUT)]

    def copied(self) -> tuple[str, list[str]]:
        """Return a name, and sources in it."""
        dice = self._dice
        name = dice.choice(list(self.values))
        return name, [self._source(self.values[name]) for _ in range(dice.choice((1, 1, 2)))]

    def _source(self, value: str) -> str:
        dice = self._dice
        if value == DIRECTORY and self.files is not None:
            paths = self.files.paths("file", "directory", "link") or ["."]
            return dice.choice((dice.choice(paths), ".", "*"))
        if value in (IMAGE, LAYOUT):
            return dice.choice(_OF_IMAGES)
        return dice.choice(("a", "p", "p/*", ".", "a.txt", "sub", "*", "/"))
