"""Quoting and variable expansion.

Forms: ``$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p}
${v/p/r} ${v//p/r}``.  A colon counts an empty value as unset; *w*, *p* and *r* are expanded
themselves.  A variable that is not set is empty.  Single quotes keep everything, double quotes
all but ``$`` and the escape character, which in them escapes only ``"``, ``$`` and itself.

Source: Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ocitool.builder.dockerfile.growth import Allowance, WordError
from ocitool.builder.dockerfile.scanner import Scanner

__all__ = ["Allowance", "WordError", "expand", "expand_raw", "shell_words", "split_words"]


def expand(
    text: str,
    lookup: Mapping[str, str],
    *,
    escape: str = "\\",
    unset: set[str] | None = None,
    allowance: Allowance | None = None,
) -> str:
    """Replace variables and remove quotes; spaces stay.

    Names that *lookup* does not have are added to *unset*, unless a default is written for it.
    *allowance* is what all texts of a Dockerfile share.
    """
    if "$" not in text and '"' not in text and "'" not in text and escape not in text:
        return text
    return Scanner(text, lookup, escape=escape, unset=unset, allowance=allowance).whole().text


def expand_raw(
    text: str,
    lookup: Mapping[str, str],
    *,
    unset: set[str] | None = None,
    allowance: Allowance | None = None,
) -> str:
    """Replace variables in the content of a heredoc.

    Quotes mean nothing and stay.  A backslash is taken away and what follows it is literal; this
    holds whatever the escape directive says.
    """
    return Scanner(text, lookup, quotes=False, unset=unset, allowance=allowance).whole().text


def split_words(
    text: str,
    lookup: Mapping[str, str],
    *,
    escape: str = "\\",
    unset: set[str] | None = None,
    allowance: Allowance | None = None,
) -> list[str]:
    """Replace variables, remove quotes, and split at spaces outside quotes.

    Spaces that come out of an unquoted variable split too.
    """
    return Scanner(text, lookup, escape=escape, unset=unset, allowance=allowance).whole().words


def shell_words(text: str, *, raw: bool) -> list[str]:
    """Split *text* as a shell would, leaving variables alone.

    *raw* keeps quotes and escapes in the words.
    """
    endless = Allowance(limit=sys.maxsize)  # without variables text does not grow
    scanner = Scanner(text, {}, raw_quotes=raw, raw_escapes=raw, keep_unset=True, allowance=endless)
    return scanner.whole().words
