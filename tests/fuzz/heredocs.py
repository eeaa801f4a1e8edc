"""Random heredocs of COPY and RUN: expanded or not, indented by tabs, several in an instruction."""

from __future__ import annotations

import random
from typing import Final

_BODIES: Final = (
    "x $A", "\tone tab", "\t\ttwo ${B:-tabs}", "  blanks", "'$A' \"$B\"", "\\$A", "a\\\\b", "a\\b",
    "# no comment", "", "EO", "E F", "${none:+x}y", "$", "ü", "line \\", "FROM x",
)  # fmt: skip
_COMMANDS: Final = (
    'echo "$A" > /h0',
    "\techo 1 > /h1",
    "# a comment",
    "pwd > /h2",
    "",
    "id -u > /tmp/h3",
)
_DESTINATIONS: Final = ("/x/", "/d/e/", "w/", "/h", "/d/e/f", "$A/")


def random_copy(dice: random.Random) -> str:
    """Return a COPY of one or two heredocs."""
    names = dice.sample(("a", "EOF", "f.txt"), dice.choice((1, 1, 2)))
    marks, bodies = zip(*(_heredoc(dice, name, _BODIES) for name in names), strict=True)
    to = dice.choice(_DESTINATIONS if len(names) == 1 else _DESTINATIONS[:3])
    flags = dice.choice(("", "", "", "--chmod=600 ", "--chown=3:4 ", "--link "))
    return "\n".join([f"COPY {flags}{' '.join(marks)} {to}", *bodies])


def random_run(dice: random.Random) -> str:
    """Return what stands behind RUN: a script, a program's script, or files for a command."""
    mark, body = _heredoc(dice, "EOF", _COMMANDS)
    form = dice.choice(("script", "blank", "program", "input", "two"))
    if form == "script":
        return f"{mark}\n{body}"
    if form == "blank":
        return f"<< {mark.removeprefix('<<')}\n{body}" if "-" not in mark else f"{mark}\n{body}"
    if form == "program":
        return f"{mark}\n#!/bin/sh -e\n{body}"
    other, text = _heredoc(dice, "E2", _BODIES[:3])
    if form == "two":
        return f"cat {mark} > /h4 && cat {other} > /h5\n{body}\n{text}"
    return f"{mark} sh\n{body}"


def _heredoc(dice: random.Random, name: str, lines: tuple[str, ...]) -> tuple[str, str]:
    """Return what names a heredoc, and its lines with the last one."""
    tabs = dice.choice(("", "", "-"))
    quote = dice.choice(("", "", "'", '"'))
    body = [dice.choice(lines) for _ in range(dice.randint(0, 4))]
    return f"<<{tabs}{quote}{name}{quote}", "\n".join(
        [*body, f"{dice.choice(('', tabs and chr(9)))}{name}"]
    )
