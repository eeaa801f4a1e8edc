"""The index of a layer out of order: each entry does to those before it what unpacking does."""

from __future__ import annotations

import json
from typing import Any, Final

from ocitool.layer import entry as kinds
from ocitool.layer.entry import OPAQUE, WHITEOUT, order, split

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_LINK: Final = 7  # the place of a link's target among the fields of a line
_OFFSET: Final = 10
#: The offset of a hard link to a file of the layers below, whatever the layer itself has there.
BELOW: Final = -1


class Sequel:
    """Takes lines of an index as the layer has them, and keeps what is left of them at its end.

    Of a path that comes twice the last entry counts.  The other names of a file that is replaced
    keep it; what was in a directory goes with it; a directory in the place of anything else hides
    what the layers below have there.
    """

    def __init__(self) -> None:
        self._lines: dict[str, bytes] = {}
        self._inside: dict[str, list[str]] = {}  # directory -> paths, some gone meanwhile
        self._links: dict[str, list[str]] = {}  # target -> hard links to it, likewise

    def add(self, line: bytes) -> None:
        """Take the next line, without its end."""
        fields = json.loads(line)
        path = fields[0]
        if path in self._lines:
            self._replace(path, fields[1])
        else:
            if fields[1] != kinds.DIRECTORY:
                self._empty(path)  # a directory that no entry describes
            self._note(path)
        if fields[1] == kinds.HARDLINK:
            known = fields[_LINK] in self._lines
            fields[_OFFSET] = 0 if known else BELOW
            line = _encode(fields).encode("ascii")
            if known:
                self._links.setdefault(fields[_LINK], []).append(path)
        self._lines[path] = line

    def _note(self, path: str) -> None:
        """Let the directories that *path* is in, described or not, know what is in them."""
        while path:
            parent = split(path)[0]
            known = parent in self._inside
            self._inside.setdefault(parent, []).append(path)
            if known or parent in self._lines:
                break
            path = parent

    def dump(self) -> bytes:
        """Return the index in its order."""
        ordered = sorted(self._lines, key=order)
        return b"".join(self._lines[path] + b"\n" for path in ordered)

    def _replace(self, path: str, kind: str) -> None:
        before = self._fields(path)[1]
        if split(path)[1].startswith(WHITEOUT):
            return
        if before != kinds.DIRECTORY:
            self._pass_on(path)
            if kind == kinds.DIRECTORY:
                mark = [f"{path}/{OPAQUE}", kinds.FILE, 0o644, 0, 0, 0, 0, "", (0, 0), {}, 0]
                self.add(_encode(mark).encode("ascii"))
        elif kind != kinds.DIRECTORY:
            self._empty(path)

    def _empty(self, path: str) -> None:
        for inner in self._inside.pop(path, ()):
            self._remove(inner)

    def _remove(self, path: str) -> None:
        self._empty(path)
        if path in self._lines:
            self._pass_on(path)
            del self._lines[path]

    def _pass_on(self, path: str) -> None:
        """Let the hard links to *path* keep the file that it has been so far."""
        names = [name for name in self._links.pop(path, ()) if self._leads(name) == path]
        fields = self._fields(path)
        target = fields[_LINK]
        if fields[1] != kinds.HARDLINK and names:
            target = names.pop(0)
            self._lines[target] = _encode([target, *fields[1:]]).encode("ascii")
        for name in names:
            fields = self._fields(name)
            fields[_LINK] = target
            self._lines[name] = _encode(fields).encode("ascii")
            self._links.setdefault(target, []).append(name)

    def _leads(self, path: str) -> str:
        fields = self._fields(path) if path in self._lines else ["", ""]
        return str(fields[_LINK]) if fields[1] == kinds.HARDLINK else ""

    def _fields(self, path: str) -> list[Any]:
        return list(json.loads(self._lines[path]))
