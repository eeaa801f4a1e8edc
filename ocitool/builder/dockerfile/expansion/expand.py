"""Quoting and variable expansion.

Forms: ``$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p}
${v/p/r} ${v//p/r}``.  A colon counts an empty value as unset; *w*, *p* and *r* are expanded
themselves.  A variable that is not set is empty.  Single quotes keep everything, double quotes
all but ``$`` and the escape character, which in them escapes only ``"``, ``$`` and itself.

Source: Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from ocitool.builder.dockerfile.expansion.limit import Allowance, Result, WordError
from ocitool.builder.dockerfile.expansion.patterns import (
    Pattern,
    compile_glob,
    replace_all,
    replace_first,
    trim_prefix,
    trim_suffix,
)
from ocitool.builder.dockerfile.expansion.variables import Lookup
from ocitool.errors import FormatError
from ocitool.go_values import quoted


def expand(
    text: str,
    lookup: Lookup,
    *,
    escape: str = "\\",
    allowance: Allowance | None = None,
) -> str:
    """Replace variables and remove quotes; spaces stay.

    Pass `Variables` for *lookup* to know which were used.  *allowance* limits what all texts
    of a Dockerfile expand to.
    """
    if "$" not in text and '"' not in text and "'" not in text and escape not in text:
        return text
    return Scanner(text, lookup, escape=escape, allowance=allowance).whole().text


def expand_raw(
    text: str,
    lookup: Lookup,
    *,
    allowance: Allowance | None = None,
) -> str:
    """Replace variables in the content of a heredoc.

    Quotes mean nothing and stay.  A backslash is taken away and what follows it is literal; this
    holds whatever the escape directive says.
    """
    return Scanner(text, lookup, quotes=False, allowance=allowance).whole().text


def split_words(
    text: str,
    lookup: Lookup,
    *,
    escape: str = "\\",
    allowance: Allowance | None = None,
) -> list[str]:
    """Replace variables, remove quotes, and split at spaces outside quotes.

    Spaces that come out of an unquoted variable split too.
    """
    return Scanner(text, lookup, escape=escape, allowance=allowance).whole().words


def shell_words(text: str, *, raw: bool) -> list[str]:
    """Split *text* as a shell would, leaving variables alone.

    *raw* keeps quotes and escapes in the words.
    """
    endless = Allowance(limit=sys.maxsize)  # without variables text does not grow
    scanner = Scanner(text, {}, raw_quotes=raw, raw_escapes=raw, keep_unset=True, allowance=endless)
    return scanner.whole().words


# Deeper than anything a person writes, and far above Python's own limit of nested calls.
_MAX_DEPTH = 64
_MOST_SHOWN = 200  # characters of a text, in an error
# POSIX XCU 2.5.2, the special parameters; no build sets them, so they are empty.
_SPECIAL = frozenset("@*#?-$!0")
# What never means anything to a scanner, taken at once.
_PLAIN = re.compile(r"""[^$'"\\`}/]+""")


class Scanner:
    """Reads one text from left to right."""

    def __init__(
        self,
        text: str,
        lookup: Lookup,
        *,
        escape: str = "\\",
        quotes: bool = True,
        raw_quotes: bool = False,
        raw_escapes: bool = False,
        keep_unset: bool = False,
        allowance: Allowance | None,
    ) -> None:
        self.source = text
        self.at = 0
        self.depth = 0
        self.lookup = lookup
        self.escape = escape
        self.quotes = quotes
        self.raw_quotes = raw_quotes
        self.raw_escapes = raw_escapes
        self.keep_unset = keep_unset
        self.allowance = allowance or Allowance()

    def peek(self) -> str:
        """The next character, ``""`` at the end."""
        return self.source[self.at : self.at + 1]

    def next(self) -> str:
        character = self.peek()
        self.at += len(character)
        return character

    def plain(self) -> str:
        """Read what means nothing in any place, ``""`` where there is no such text."""
        found = _PLAIN.match(self.source, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def whole(self) -> Result:
        try:
            return self.until("", raw_escapes=self.raw_escapes)
        except WordError as error:
            shown = self.source[:_MOST_SHOWN] + "..." * (len(self.source) > _MOST_SHOWN)
            message = f"failed to process {quoted(shown)}: {error.message}"
            raise WordError(message, hint=error.hint) from error

    def until(self, stop: str, *, raw_escapes: bool) -> Result:
        """Read up to and over *stop*; with ``""``, to the end."""
        outer, self.raw_escapes = self.raw_escapes, raw_escapes
        result = Result()
        while character := self.peek():
            if character == stop:
                break
            if plain := self.plain():
                result.add(plain, splits=True)
            elif character == "$":
                result.add(self.dollar(), splits=True)
            elif self.quotes and character == "'":
                result.add(self.single_quoted(), splits=False)
            elif self.quotes and character == '"':
                result.add(self.double_quoted(), splits=False)
            elif self.next() == self.escape:
                kept = character if raw_escapes else ""
                result.add(kept + self.next(), splits=False)
            else:
                result.add(character, splits=True)
        if stop and self.next() != stop:
            raise WordError(f"unexpected end of statement while looking for matching {stop}")
        result.end_word()
        self.raw_escapes = outer
        return result

    def single_quoted(self) -> str:
        start = self.at
        end = self.source.find("'", start + 1)
        if end < 0:
            raise WordError("unexpected end of statement while looking for matching single-quote")
        self.at = end + 1
        return self.source[start : end + 1] if self.raw_quotes else self.source[start + 1 : end]

    def double_quoted(self) -> str:
        quote = self.next()
        pieces = [quote] if self.raw_quotes else []
        while character := self.peek():
            if character == "$":
                pieces.append(self.dollar())
                continue
            if plain := self.plain():
                pieces.append(plain)
                continue
            self.next()
            if character == '"':
                if self.raw_quotes:
                    pieces.append(quote)
                return "".join(pieces)
            pieces.append(self.escaped() if character == self.escape else character)
        raise WordError("unexpected end of statement while looking for matching double-quote")

    def escaped(self) -> str:
        """What an escape character that was just read inside double quotes stands for."""
        kept = self.escape if self.raw_escapes else ""
        if self.peek() in ('"', "$", self.escape):
            return kept + self.next()
        return kept + self.escape

    def dollar(self) -> str:
        """What a ``$`` and the name behind it stand for."""
        return self.allowance.spend(self.substituted())

    def substituted(self) -> str:
        self.next()
        if self.peek() == "{":
            return self.nested()
        name = self.name()
        if not name:
            return "$"
        value = self.lookup.get(name)
        if value is None:
            return f"${name}" if self.keep_unset else ""
        return value

    def nested(self) -> str:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise WordError(f"substitutions are nested more than {_MAX_DEPTH} deep")
        replaced = self.braces()
        self.depth -= 1
        return replaced

    def name(self) -> str:
        first = self.peek()
        if first.isdecimal():
            return self.run_of(str.isdecimal)
        if first and first in _SPECIAL:
            return self.next()
        return self.run_of(_in_name)

    def run_of(self, belongs: Callable[[str], bool]) -> str:
        start = self.at
        while (character := self.peek()) and belongs(character):
            self.at += 1
        return self.source[start : self.at]

    def braces(self) -> str:
        """``${...}``, from the opening brace on."""
        self.next()
        if not self.peek():
            raise WordError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise WordError("syntax error: bad substitution")
        name = self.name()
        operator = self.next()
        if not operator:
            raise WordError("syntax error: missing '}'")
        if operator == "}":
            value = self.lookup.get(name)
            return f"${{{name}}}" if value is None and self.keep_unset else value or ""
        if operator == "/":
            return self.replaced(name)
        if operator == ":":
            operator += self.next()
        if operator in (":-", "-", ":+", "+", ":?", "?"):
            return self.defaulted(name, operator)
        if operator in ("#", "%"):
            return self.trimmed(name, operator)
        raise WordError(
            f"unsupported modifier ({operator}) in substitution",
            hint="supported are :- - :+ + :? ? # ## % %% / and //, for example ${NAME:-DEFAULT}",
        )

    def argument(self, stop: str, *, raw_escapes: bool, missing: str) -> str:
        """One part of a substitution, up to *stop*."""
        try:
            return self.until(stop, raw_escapes=raw_escapes).text
        except WordError as error:
            if self.peek():
                raise
            raise WordError(missing) from error

    def defaulted(self, name: str, operator: str) -> str:
        word = self.argument("}", raw_escapes=False, missing="syntax error: missing '}'")
        value = self.lookup.get(name)
        if value is None and self.keep_unset:
            return f"${{{name}{operator}{word}}}"
        present = bool(value) if operator[0] == ":" else value is not None
        if operator[-1] == "+":
            return word if present else ""
        if present:
            return value or ""
        if operator[-1] == "-":
            return word
        state = "unset" if value is None else "empty"
        raise WordError(f"{name}: {word or f'is not allowed to be {state}'}")

    def trimmed(self, name: str, operator: str) -> str:
        word = self.argument("}", raw_escapes=True, missing="syntax error: missing '}'")
        value = self.lookup.get(name)
        if value is None and self.keep_unset:
            return f"${{{name}{operator}{word}}}"
        longest = word.startswith(operator)
        pattern = _glob(word[1:] if longest else word)
        trim = trim_prefix if operator == "#" else trim_suffix
        return trim(value or "", pattern, longest=longest)

    def replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.next()
        word = self.argument("/", raw_escapes=True, missing="syntax error: missing '/' in ${}")
        replacement = self.argument("}", raw_escapes=True, missing="syntax error: missing '}'")
        value = self.lookup.get(name)
        if value is None and self.keep_unset:
            return f"${{{name}/{word}/{replacement}}}"
        if not everywhere:
            return replace_first(value or "", _glob(word), replacement)
        pieces = replace_all(value or "", _glob(word), replacement)
        bounded = Allowance(limit=self.allowance.limit)  # one match may come to all of the value
        return "".join(map(bounded.spend, pieces))


def _glob(text: str) -> Pattern:
    try:
        return compile_glob(text)
    except FormatError as error:
        raise WordError(error.message) from error


def _in_name(character: str) -> bool:
    return character == "_" or character.isalpha() or character.isdecimal()
