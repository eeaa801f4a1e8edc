"""Random build contexts: files, directories and links with odd names and modes, ignore files."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fixtures.images import archive

NAMES: Final = (
    "a", "b", "ab", "a.txt", "b.txt", "lib", "src", "x y", "ü", "-n", ".h", "é", "A",
    "x[1]", "q*", "$v", "a'b", "t~",
)  # fmt: skip
MODES: Final = (0o644, 0o644, 0o755, 0o600, 0o4755, 0o2755, 0o444, 0o400)
DIRECTORY_MODES: Final = (0o755, 0o755, 0o700, 0o1777, 0o2775, 0o555)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a context."""

    path: str
    kind: str  # file, directory, link, hardlink, archive
    mode: int = 0
    data: str = ""  # content, target, or the other name of a hard link
    owner: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomContext:
    """What a context holds, and the text of its ignore file."""

    entries: tuple[Entry, ...]
    ignore: str = ""

    def paths(self, *kinds: str) -> list[str]:
        """Return the paths of the entries of these kinds."""
        return [entry.path for entry in self.entries if entry.kind in kinds]

    def lay_out(self, top: Path) -> None:
        """Make the files below *top*, which is empty."""
        modes = []
        for entry in self.entries:
            path = top / entry.path
            if entry.kind == "directory":
                path.mkdir()
                modes.append((path, entry.mode))
                continue
            if entry.kind == "link":
                path.symlink_to(entry.data)
            elif entry.kind == "hardlink":
                path.hardlink_to(top / entry.data)
                continue
            elif entry.kind == "archive":
                path.write_bytes(archive(MEMBERS))
            else:
                path.write_text(entry.data)
            os.chown(path, entry.owner, entry.owner, follow_symlinks=False)
            if entry.kind != "link":
                path.chmod(entry.mode)
        if self.ignore:
            (top / ".dockerignore").write_text(self.ignore)
        for path, mode in reversed(modes):
            path.chmod(mode)


#: What an archive of a context holds.
MEMBERS: Final = {
    "m/": {"mode": 0o750, "uid": 3, "gid": 4},
    "m/one": {"text": "one\n", "mode": 0o640, "uid": 3, "gid": 4},
    "m/two": {"link": "one"},
    "m/three": {"hardlink": "m/one"},
    "top": "top\n",
}


def random_context(dice: random.Random) -> RandomContext:
    """Return a context of up to twenty entries."""
    directories, files = [""], []
    entries: dict[str, Entry] = {}
    for number in range(dice.randint(2, 20)):
        above = dice.choice(directories)
        path = os.path.join(above, dice.choice(NAMES))
        if path in entries:
            continue
        kind = dice.choices(("file", "directory", "link", "hardlink", "archive"), (9, 6, 3, 2, 1))[
            0
        ]
        owner = dice.choice((0, 0, 1000))
        if kind == "directory" and path.count("/") < 4:
            directories.append(path)
            entries[path] = Entry(path=path, kind=kind, mode=dice.choice(DIRECTORY_MODES))
        elif kind == "link":
            target = dice.choice((*NAMES, "..", "/etc", "/a", "nowhere", "../a", "./lib", *files))
            entries[path] = Entry(path=path, kind=kind, data=target, owner=owner)
        elif kind == "hardlink" and files:
            entries[path] = Entry(path=path, kind=kind, data=dice.choice(files))
        elif kind == "archive":
            entries[path] = Entry(path=path, kind=kind, mode=0o644)
        else:
            files.append(path)
            mode, data = dice.choice(MODES), f"{number}\n" * dice.randint(0, 3)
            entries[path] = Entry(path=path, kind="file", mode=mode, data=data, owner=owner)
    return RandomContext(entries=tuple(entries.values()), ignore=_ignore(dice, list(entries)))


def _ignore(dice: random.Random, paths: list[str]) -> str:
    if dice.random() < 0.5:
        return ""
    return "".join(f"{_pattern(dice, paths)}\n" for _ in range(dice.randint(1, 5)))


_FORMS: Final = ("path", "path", "star", "question", "below", "deep", "slash", "all", "text")


def _pattern(dice: random.Random, paths: list[str]) -> str:
    path = dice.choice(paths)
    parts = path.split("/")
    which = dice.randrange(len(parts))
    form = dice.choice(
        ("path", "path", "star", "question", "below", "deep", "slash", "all", "text")
    )
    if form == "star":
        parts[which] = "*"
    elif form == "question":
        parts[which] = "?" * len(parts[which])
    elif form == "below":
        parts = [*parts[: which + 1], "**"]
    elif form == "deep":
        parts = ["**", parts[-1]]
    elif form == "all":
        parts = ["*"]
    elif form == "text":
        parts = ["**", "*.txt"]
    text = "/".join(parts)
    if form == "slash":
        text = f"/{text}/"
    mark = "!" if dice.random() < 0.35 else ""
    return mark + dice.choice(("", "", "", " ")) + text
