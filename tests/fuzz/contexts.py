"""Random build contexts: files, directories and links with odd names and modes, ignore files."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.fixtures.images import packed
from tests.fuzz.ignores import IGNORE_FILES, random_ignores

NAMES: Final = (
    "a", "b", "ab", "a.txt", "b.txt", "lib", "src", "x y", "ü", "-n", ".h", "é", "A",
    "x[1]", "q*", "$v", "a'b", "t~", 'd"q', "b\\s", "#c", "!n", "n\nl", "l" * 120, "L" * 255,
)  # fmt: skip
#: Names for every odd one of which there are several plain ones.
_PICKED: Final = (*NAMES, *NAMES[:13], *NAMES[:13])
#: A name that is not text: old builders refuse it.
NOT_TEXT: Final = b"\xff\xfe".decode(errors="surrogateescape")
MODES: Final = (0o644, 0o644, 0o755, 0o600, 0o4755, 0o2755, 0o444, 0o400)
DIRECTORY_MODES: Final = (0o755, 0o755, 0o700, 0o1777, 0o2775, 0o555)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a context."""

    path: str
    kind: str  # file, directory, link, hardlink, archive, pipe
    mode: int = 0
    data: str = ""  # content, target, the other name of a hard link, compression of an archive
    owner: int = 0
    xattr: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomContext:
    """What a context holds, and the texts of ignore files by their names."""

    entries: tuple[Entry, ...]
    ignores: Mapping[str, str] = field(default_factory=dict)

    @property
    def ignore_name(self) -> str:
        """Return the ignore file that counts; empty if there is none."""
        return next((name for name in IGNORE_FILES if name in self.ignores), "")

    @property
    def ignore(self) -> str:
        """Return the text of the ignore file that counts."""
        return self.ignores.get(self.ignore_name, "")

    def paths(self, *kinds: str) -> list[str]:
        """Return the paths of the entries of these kinds, but those that are no text."""
        found = (entry.path for entry in self.entries if entry.kind in kinds)
        return [path for path in found if NOT_TEXT not in path]

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
                path.write_bytes(packed(entry.members, entry.data))
            elif entry.kind == "pipe":
                os.mkfifo(path)
            elif entry.kind == "sparse":
                path.touch()
                os.truncate(path, 1 << 20)
            else:
                path.write_text(entry.data)
            if entry.xattr:
                os.setxattr(path, "user.note", entry.xattr.encode())
            os.chown(path, entry.owner, entry.owner, follow_symlinks=False)
            if entry.kind != "link":
                path.chmod(entry.mode)
        for name, text in self.ignores.items():
            if name.startswith("."):
                (top / name).write_text(text)
        for path, mode in reversed(modes):
            path.chmod(mode)

    def lay_out_beside(self, dockerfile: Path) -> None:
        """Make the ignore files of the Dockerfile itself, and remove those of another case."""
        for name in (name for name in IGNORE_FILES if not name.startswith(".")):
            path = dockerfile.with_name(dockerfile.name + name.removeprefix("Dockerfile"))
            path.unlink(missing_ok=True)
            if name in self.ignores:
                path.write_text(self.ignores[name])


def random_context(dice: random.Random) -> RandomContext:
    """Return a context of up to twenty entries, and sometimes a deep one."""
    directories, files = [""], []
    entries: dict[str, Entry] = {}
    for number in range(dice.randint(2, 20)):
        above = dice.choice(directories)
        path = os.path.join(above, dice.choice(_PICKED) if dice.random() < 0.999 else NOT_TEXT)
        if path in entries:
            continue
        kind = dice.choices(
            ("file", "directory", "link", "hardlink", "archive", "pipe", "sparse"),
            (54, 36, 18, 12, 6, 1, 1),
        )[0]
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
            how, members = dice.choice(("", "", "gz", "bz2", "xz")), _members(dice)
            entries[path] = Entry(path=path, kind=kind, mode=0o644, data=how, members=members)
        elif kind in ("pipe", "sparse"):
            entries[path] = Entry(path=path, kind=kind, mode=dice.choice(MODES))
        else:
            files.append(path)
            mode, data = dice.choice(MODES), f"{number}\n" * dice.randint(0, 3)
            xattr = "kept" if dice.random() < 0.02 else ""
            entries[path] = Entry(
                path=path, kind="file", mode=mode, data=data, owner=owner, xattr=xattr
            )
    if dice.random() < 0.1:
        entries.update(_deep(dice.choice(directories), dice.choice((12, 30))))
    ignores = random_ignores(dice, list(entries))
    return RandomContext(entries=tuple(entries.values()), ignores=ignores)


def _deep(above: str, levels: int) -> dict[str, Entry]:
    """A directory in a directory, and so on, with a file at the end."""
    paths = [os.path.join(above, *(["deep"] * level)) for level in range(1, levels + 1)]
    found = {path: Entry(path=path, kind="directory", mode=0o755) for path in paths}
    end = f"{paths[-1]}/end"
    return {**found, end: Entry(path=end, kind="file", mode=0o644, data="end\n")}


#: What an archive may hold, in this order; a hard link needs the file.
_MEMBERS: Final[dict[str, Any]] = {
    "./": {"mode": 0o711, "uid": 9, "gid": 9},
    "m/": {"mode": 0o750, "uid": 3, "gid": 4},
    "m/one": {"text": "one\n", "mode": 0o640, "uid": 3, "gid": 4},
    "m/two": {"link": "one"},
    "m/three": {"hardlink": "m/one", "mode": 0o640, "uid": 3, "gid": 4},
    "m/pipe": {"fifo": True, "mode": 0o600},
    "m/setuid": {"text": "s\n", "mode": 0o4755},
    "m/implied/deep/f": {"text": "f\n", "uid": 5},
    "m/dir/": {"mode": 0o1777},
    "m/dir/" + "n" * 120: "long\n",
    "m/link": {"link": "dir"},
    "m/link/through": "through a link\n",
    "./m/dot": "dot\n",
    "/m/absolute": "absolute\n",
    "top": "top\n",
    "m/one ": "a blank\n",
    "m/ü": "text\n",
}


def _members(dice: random.Random) -> dict[str, Any]:
    left_out = dice.choice((0.0, 0.3, 0.7))
    found = {name: how for name, how in _MEMBERS.items() if dice.random() >= left_out}
    if "m/one" not in found:
        found.pop("m/three", None)
    return found or {"top": "top\n"}
