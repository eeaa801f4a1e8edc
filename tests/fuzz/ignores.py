"""Random ignore files for the paths of a context."""

from __future__ import annotations

import random
from typing import Final

_FORMS: Final = (
    "path", "path", "star", "question", "below", "deep", "slash", "all", "text", "set", "dots",
    "escaped", "levels", "inside", "comment", "blank", "everything",
)  # fmt: skip


#: The first of them that is there counts, alone.
IGNORE_FILES: Final = (
    "Dockerfile.dockerignore", "Dockerfile.containerignore", ".containerignore", ".dockerignore",
)  # fmt: skip


def random_ignores(dice: random.Random, paths: list[str]) -> dict[str, str]:
    """Return texts of ignore files by their names; half of the contexts have none."""
    paths = [path for path in paths if path.isprintable()]
    if dice.random() < 0.5 or not paths:
        return {}
    names = [dice.choice((".dockerignore", ".dockerignore", "Dockerfile.dockerignore"))]
    if dice.random() < 0.2:
        names = dice.sample(IGNORE_FILES, 2)
    return {name: _text(dice, paths) for name in names}


def _text(dice: random.Random, paths: list[str]) -> str:
    return "".join(f"{_line(dice, paths)}\n" for _ in range(dice.randint(1, 5)))


def _line(dice: random.Random, paths: list[str]) -> str:
    path = dice.choice(paths)
    parts = path.split("/")
    which = dice.randrange(len(parts))
    name = parts[which]
    form = dice.choice(_FORMS)
    if form == "comment":
        return f"# {path}"
    if form == "blank":
        return dice.choice(("", "   ", "\t"))
    if form == "star":
        parts[which] = "*"
    elif form == "question":
        parts[which] = "?" * len(name)
    elif form == "below":
        parts = [*parts[: which + 1], "**"]
    elif form == "deep":
        parts = ["**", parts[-1]]
    elif form == "all":
        parts = ["*"]
    elif form == "everything":
        parts = ["**"]
    elif form == "text":
        parts = ["**", "*.txt"]
    elif form == "set":
        parts[which] = f"[{name[0]}a-c]{name[1:]}" if name[0].isalnum() else "[!z]*"
    elif form == "dots":
        parts = [".", *parts[:which], "nothing", "..", *parts[which:]]
    elif form == "escaped":
        parts[which] = "".join(f"\\{each}" if each in "*[]?" else each for each in name)
    elif form == "levels":
        parts = ["*"] * len(parts)
    elif form == "inside":
        parts = [*parts[:which], "**", *parts[which + 1 :], "*"]
    text = "/".join(parts)
    if form == "slash":
        text = f"/{text}/"
    mark = "!" if dice.random() < 0.35 else ""
    return mark + dice.choice(("", "", "", " ")) + text
