"""What a step prints, without the values of secrets."""

from __future__ import annotations

import re
from typing import Final

from ocitool.builder.secrets.forms import forms_of
from ocitool.builder.secrets.secrets import Secrets

HIDDEN: Final = b"***"
_LONGEST: Final = 1 << 16  # bytes of a form that is looked for


class Masking:
    """Hides values in a stream of output, also where a value comes in several pieces.

    What may be the beginning of a value is held back until more comes.
    """

    def __init__(self, secrets: Secrets) -> None:
        values = (secrets.read(name) or b"" for name in secrets)
        whole = {form.whole or form.text for value in values for form in forms_of(value)}
        self._texts = [text for text in whole if len(text) <= _LONGEST]
        longest_first = sorted(self._texts, key=len, reverse=True)
        self._any = re.compile(b"|".join(map(re.escape, longest_first)))
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown once *data* has come."""
        if not self._texts:
            return data
        data, shown, at = self._held + data, list[bytes](), 0
        end = min(_beginning(data, text) for text in self._texts)
        some = any(text in data for text in self._texts)  # which is quicker than a pattern
        for found in self._any.finditer(data) if some else ():
            if found.start() >= end:
                break
            shown += data[at : found.start()], HIDDEN
            at = found.end()
        end = max(at, end)
        self._held = data[end:]
        return b"".join((*shown, data[at:end]))

    def end(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return self._any.sub(HIDDEN, held) if held else b""


def _beginning(data: bytes, text: bytes) -> int:
    """Return where the end of *data* begins that may be the beginning of *text*."""
    at = max(0, len(data) - len(text) + 1)
    while (at := data.find(text[:1], at)) >= 0:
        if text.startswith(data[at:]):
            return at
        at += 1
    return len(data)
