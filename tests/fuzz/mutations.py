"""Random changes of bytes and of documents that were valid."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any, Final

_BYTES: Final = (
    b"\0", b"\n", b"\r\n", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b" ", b'"', b"'", b"\\", b"$",
    b"{", b"[", b"..", b"/", b"-1", b"9" * 20, b"1e400", b"A" * 300, b"\x1b[2J", b"[" * 5000,
    b"\xc3\xbc", b"%", b"*",
)  # fmt: skip
#: What a value of a document becomes.
_VALUES: Final = (
    None, True, 0, -1, 2**63, 10**400, 0.5, "", "x", "/", "..", "a\0b", "\ud800", "\n", "ü" * 300,
    [], {}, [[]], [None], {"": ""}, {"a": None}, "sha256:", "sha256:" + "0" * 64, float("inf"),
)  # fmt: skip


def changed(dice: random.Random, data: bytes, words: Sequence[bytes] = ()) -> bytes:
    """Return *data* with one to four changes; *words* are pieces of its language."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + dice.choice((0, 1, 1, 4, 20, 200)))
        form = dice.choice(("insert", "insert", "remove", "flip", "cut", "again", "over", "swap"))
        if form == "insert":
            data = data[:at] + dice.choice((*_BYTES, *words)) + data[at:]
        elif form == "remove":
            data = data[:at] + data[end:]
        elif form == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
        elif form == "cut":
            data = data[:at] if dice.random() < 0.3 else data
        elif form == "again":
            data = data[:end] + data[at:]
        elif form == "over":
            data = data[:at] + dice.randbytes(end - at) + data[end:]
        elif form == "swap" and words:
            old, new = dice.choice(words), dice.choice(words)
            data = data.replace(old, new, 1)
    return data


def changed_document(dice: random.Random, document: Any) -> Any:
    """Return *document* with one to three values that are others, missing or doubled."""
    document = copy.deepcopy(document)
    for _ in range(dice.choice((1, 1, 2, 3))):
        found_in = list(_values_in(document))
        if not found_in:
            return dice.choice(_VALUES)
        where, key = dice.choice(found_in)
        form = dice.choice(("value", "value", "value", "remove", "other", "again"))
        if form == "remove":
            del where[key]
        elif form == "value":
            where[key] = copy.deepcopy(dice.choice(_VALUES))
        elif form == "other":
            other, name = dice.choice(found_in)
            where[key] = copy.deepcopy(other[name])
        elif isinstance(where, list):
            where.append(copy.deepcopy(where[key]))
        else:
            where[f"{key}x"] = where[key]
    return document if dice.random() < 0.97 else dice.choice(_VALUES)


def dumped(dice: random.Random, document: Any) -> bytes:
    """Return *document* as JSON, sometimes with a change of its bytes."""
    data = json.dumps(document, ensure_ascii=dice.random() < 0.5).encode(errors="surrogatepass")
    return changed(dice, data) if dice.random() < 0.3 else data


def _values_in(value: Any) -> list[tuple[Any, Any]]:
    """Return each value in *value* as what holds it, and its key."""
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    found = []
    for key in keys:
        found.append((value, key))
        found += _values_in(value[key])
    return found
