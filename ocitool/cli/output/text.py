r"""Escape untrusted text before it is printed to a terminal.

A terminal interprets control characters, also those of C1 (U+009B is CSI).  Format characters
reorder or hide the text around them (U+202E, U+200B: CVE-2021-42574).  They are printed as JSON
escapes, ``\u009b``, so that a JSON document keeps its meaning.

Source: Unicode's general categories Cc, Cf, Cs, Zl and Zp, except tab and newline.  They are listed
here because ``unicodedata`` takes a third of a megabyte to load.
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
    """Return *text* with all control and format characters escaped."""
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return *text* `escaped`, newlines as ``\n``, so that it cannot forge further lines."""
    return escaped(text).replace("\n", r"\n")


def shortened(text: str) -> str:
    """Return *text*, or of a long one its beginning, its length and its end."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_HEAD]}… ({len(text)} characters) …{text[-_TAIL:]}"


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))


_PENDING = 32 * 1024  # characters of an unfinished line that are buffered
_CONTROLS = re.compile(
    r"""(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]    # CSI: colours, cursor
      | \x1b[\]PX^_].*?(?:\x07|\x1b\\|$)    # OSC, DCS, PM, APC, SOS up to their terminator
      | \x1b[ -/]*[0-~]?                    # other escapes
      | [\x00-\x08\x0b-\x1f\x7f-\x9f]       # controls except tab and newline
    """,
    re.VERBOSE | re.MULTILINE,
)


def plain_text(text: str) -> str:
    """Return *text* without control sequences, as programs print them for colours.

    The result must still be `escaped` before it is printed.
    """
    return _CONTROLS.sub("", text)


def visible_line(raw: str) -> str:
    r"""Return one line approximately as a terminal shows it.

    Of a line that is overwritten after ``\r``, as progress bars do, the last state is returned.
    """
    for state in reversed(raw.split("\r")):
        if text := plain_text(state).rstrip():
            return text
    return ""


class LineBuffer:
    """Splits chunks of bytes into lines."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""

    def feed(self, data: bytes, *, last: int = 0) -> list[str]:
        """Add *data* and return the lines that it completes, or only the *last* ones of them."""
        raw = (self._partial + self._decoder.decode(data)).split("\n")
        self._partial = raw.pop()
        if len(self._partial) > _PENDING:
            raw.append(self._partial)
            self._partial = ""
        elif "\r" in self._partial[:-1]:
            self._partial = _last_state(self._partial)
        return [visible_line(line) for line in raw[-last:]]

    def flush(self) -> list[str]:
        """Return the unfinished last line, if there is one."""
        rest = self._partial + self._decoder.decode(b"", final=True)
        self._partial = ""
        return [visible_line(rest)] if rest else []


def _last_state(partial: str) -> str:
    """Return *partial* without what a progress bar has already overwritten."""
    end = "\r" if partial.endswith("\r") else ""
    return partial.rstrip("\r").rpartition("\r")[2] + end
