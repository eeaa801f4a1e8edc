r"""Text that may come from outside, made safe to show: one way for everything that is printed.

A terminal acts on control characters, on those of C1 (U+009B is CSI) as on ESC; characters of
format reorder or hide what stands around them (U+202E, U+200B: CVE-2021-42574).  They are shown as
JSON escapes, ``\u009b``, so that a JSON document stays the document that it was.

Source: Unicode's general categories Cc, Cf, Cs, Zl and Zp, but for tab and newline; listed here,
for the table of them is a third of a megabyte to load.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e007f]"
)
_LONGEST: Final = 600  # characters of a line that is shown whole
_HEAD: Final = 400
_TAIL: Final = 100


def escaped(text: str) -> str:
    """Return *text* with every character escaped that a terminal would not just show."""
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return *text* `escaped`, newlines as ``\n``, so that it cannot pass for lines of ours."""
    return escaped(text).replace("\n", r"\n")


def shortened(text: str) -> str:
    """Return *text*, or both ends of a long one and its length."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_HEAD]}… ({len(text)} characters) …{text[-_TAIL:]}"


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))


_PENDING = 32 * 1024  # characters of a line without end that are kept waiting
_CONTROLS = re.compile(
    r"""(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]    # CSI: colours, cursor
      | \x1b[\]PX^_].*?(?:\x07|\x1b\\|$)    # OSC and its kin, up to their end
      | \x1b[ -/]*[0-~]?                    # other escapes
      | [\x00-\x08\x0b-\x1f\x7f-\x9f]       # controls but for tab and newline
    """,
    re.VERBOSE | re.MULTILINE,
)


def plain_text(text: str) -> str:
    """Return *text* without control sequences: what programs print may be coloured.

    Whoever shows it escapes what else a terminal might act on (`ocitool.cli.text`).
    """
    return _CONTROLS.sub("", text)


def visible_line(raw: str) -> str:
    r"""Return what a terminal would show of one line, more or less.

    A line overwritten with ``\r``, as progress bars do, counts as its last state.
    """
    for state in reversed(raw.split("\r")):
        if text := plain_text(state).rstrip():
            return text
    return ""


class LineBuffer:
    """Collects chunks of bytes; gives lines as they are complete."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""

    def feed(self, data: bytes, *, last: int = 0) -> list[str]:
        """Take *data*, return the lines it completes; only the *last* ones if that is given."""
        raw = (self._partial + self._decoder.decode(data)).split("\n")
        self._partial = raw.pop()
        if len(self._partial) > _PENDING:
            raw.append(self._partial)
            self._partial = ""
        elif "\r" in self._partial[:-1]:
            self._partial = _last_state(self._partial)
        return [visible_line(line) for line in raw[-last:]]

    def flush(self) -> list[str]:
        """Return what is left as a line, if anything is."""
        rest = self._partial + self._decoder.decode(b"", final=True)
        self._partial = ""
        return [visible_line(rest)] if rest else []


def _last_state(partial: str) -> str:
    """Forget what a progress bar without newlines has overwritten already."""
    end = "\r" if partial.endswith("\r") else ""
    return partial.rstrip("\r").rpartition("\r")[2] + end
