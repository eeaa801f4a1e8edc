"""Searching text and streams for the values of secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ocitool.builder.secrets.forms import Form, forms_of
from ocitool.builder.secrets.secrets import Secrets

_CHUNK: Final = 1 << 18  # bytes that are searched at once: as many as a CPU's cache has
_HIDDEN: Final = b"***"


class Search:
    """Looks for the values of *secrets*; what is found is named by ID alone.

    ``skipped`` are the IDs of values that are too short to be looked for.
    """

    def __init__(self, secrets: Secrets) -> None:
        values = {name: secrets.read(name) or b"" for name in secrets}
        self._forms = {name: forms_of(value) for name, value in values.items()}
        self.skipped = tuple(
            name for name, forms in self._forms.items() if not forms and values[name]
        )
        extents = [form.extent for forms in self._forms.values() for form in forms]
        self._overlap = max(extents, default=1) - 1

    def __bool__(self) -> bool:
        """Say whether there is anything to look for."""
        return any(self._forms.values())

    def find_in(self, text: bytes) -> list[str]:
        """Return the secrets whose values are in *text*."""
        return [name for name, forms in self._forms.items() if _first(forms, text) >= 0]

    def finder(self) -> Finder:
        """Return what searches one stream that comes in pieces."""
        return Finder(self._forms, self._overlap)

    def masked(self, text: str) -> str:
        """Return *text* without any value."""
        data = text.encode("utf-8", "surrogateescape")
        for forms in self._forms.values():
            for form in forms:
                data = data.replace(form.whole or form.text, _HIDDEN)
        return data.decode("utf-8", "surrogateescape")


class Finder:
    """Searches a stream.

    Short pieces are searched together: each search looks once more at the end of the last one,
    which is as long as the longest value.
    """

    def __init__(self, forms: Mapping[str, tuple[Form, ...]], overlap: int) -> None:
        self._forms = forms
        self._overlap = overlap
        self._data, self._begin = b"", 0  # what of the stream is in memory, and where that begins
        self.size = max(_CHUNK, 4 * overlap)  # bytes that are searched at once
        self._pieces: list[bytes] = []  # that are not searched yet
        self._waiting = 0  # bytes of them
        self._found: dict[str, int] = {}

    def feed(self, data: bytes) -> None:
        """Take what comes next."""
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting >= self.size:
            self._search_pieces()

    def found(self) -> dict[str, int]:
        """Return where each value first begins that is in what was fed."""
        self._search_pieces()
        return self._found

    def _search_pieces(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        for at in range(0, len(data), self.size):
            self._search(self._data + data[at : at + self.size])

    def _search(self, data: bytes) -> None:
        for name, forms in self._forms.items():
            if name not in self._found and (at := _first(forms, data)) >= 0:
                self._found[name] = self._begin + at
        kept = min(self._overlap, len(data))
        self._begin += len(data) - kept
        self._data = data[len(data) - kept :]


def _first(forms: tuple[Form, ...], data: bytes) -> int:
    """Return where the first of *forms* is in *data*; -1 if none is."""
    for form in forms:
        at = data.find(form.text)
        while at >= 0 and not form.is_at(data, at):
            at = data.find(form.text, at + 1)
        if at >= 0:
            return at
    return -1
