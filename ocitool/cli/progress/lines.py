"""What programs print, made into lines that are safe to show."""

from __future__ import annotations

import codecs
import re

_LONGEST = 32 * 1024  # characters of a line without end that are kept waiting
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
        if len(self._partial) > _LONGEST:
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
