"""The rules of Dockerfiles' text a second time: slow, plain, and written from their description.

Nothing here imports the product.  What these functions and the product's make of any text has to
be the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping


class Wrong(Exception):
    """The text breaks a rule."""


Unit = tuple[str, bool]  # a character, and whether it may separate words

_SPECIAL = "@*#?-$!0"


# -- words: quotes, escapes and variables -----------------------------------------------------


def expanded(text: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """Replace variables and take quotes away."""
    units, _ = _units(text, 0, "", env, escape, keep=False)
    return "".join(character for character, _ in units)


def words(text: str, env: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The same, cut at blanks that no quote and no escape character protects."""
    units, _ = _units(text, 0, "", env, escape, keep=False)
    found = [""]
    for character, separates in units:
        if separates and character.isspace():
            found.append("")
        else:
            found[-1] += character
    return [word for word in found if word]


def _units(
    text: str, at: int, stop: str, env: Mapping[str, str], escape: str, *, keep: bool
) -> tuple[list[Unit], int]:
    """Read up to *stop*; *keep* leaves escape characters where they are outside quotes."""
    found: list[Unit] = []
    while at < len(text) and text[at] != stop:
        character = text[at]
        if character == "'":
            end = text.find("'", at + 1)
            if end < 0:
                raise Wrong("single quote")
            found += [(each, False) for each in text[at + 1 : end]]
            at = end + 1
        elif character == '"':
            inner, at = _in_quotes(text, at + 1, env, escape, keep)
            found += [(each, False) for each in inner]
        elif character == "$":
            value, at = _variable(text, at + 1, env, escape)
            found += [(each, True) for each in value]
        elif character == escape:
            kept = character if keep else ""
            found += [(each, False) for each in kept + text[at + 1 : at + 2]]
            at += 2
        else:
            found.append((character, True))
            at += 1
    if stop and at >= len(text):
        raise Wrong(f"no {stop}")
    return found, at + 1


def _in_quotes(
    text: str, at: int, env: Mapping[str, str], escape: str, keep: bool
) -> tuple[str, int]:
    found = ""
    while at < len(text) and text[at] != '"':
        following = text[at + 1 : at + 2]
        if text[at] == "$":
            value, at = _variable(text, at + 1, env, escape)
            found += value
        elif text[at] == escape and following and following in f'"${escape}':
            found += escape * keep + following
            at += 2
        else:
            found += text[at] + escape * (keep and text[at] == escape)
            at += 1
    if at >= len(text):
        raise Wrong("double quote")
    return found, at + 1


def _name(text: str, at: int) -> str:
    first = text[at : at + 1]
    if first and first in _SPECIAL and not first.isdecimal():
        return first
    found = re.compile(r"\d+" if first.isdecimal() else r"\w*").match(text, at)
    assert found is not None
    return found[0]


def _variable(text: str, at: int, env: Mapping[str, str], escape: str) -> tuple[str, int]:
    if text[at : at + 1] != "{":
        name = _name(text, at)
        return (env.get(name, "") if name else "$"), at + len(name)
    at += 1
    if at >= len(text) or text[at] in "{}:":
        raise Wrong("substitution")
    name = _name(text, at)
    at += len(name)
    value, operator = env.get(name), text[at : at + 1]
    if operator == "}":
        return value or "", at + 1
    at += 1
    if operator == ":":
        operator, at = operator + text[at : at + 1], at + 1
    if operator == "/":
        return _replaced(text, at, value or "", env, escape)
    if operator not in (":-", ":+", ":?", "-", "+", "?", "#", "%"):
        raise Wrong("operator")
    inner, at = _units(text, at, "}", env, escape, keep=operator in "#%")
    word = "".join(character for character, _ in inner)
    there = bool(value) if operator[0] == ":" else value is not None
    if operator in "#%":
        return _trimmed(operator, value or "", word), at
    if operator[-1] == "+":
        return (word if there else ""), at
    if operator[-1] == "?" and not there:
        raise Wrong("required")
    return ((value or "") if there else word), at


def _trimmed(operator: str, value: str, word: str) -> str:
    longest = word.startswith(operator)
    fits = _pattern(word[1:] if longest else word)
    sizes = range(len(value) + 1)
    for size in reversed(sizes) if longest else sizes:
        if operator == "#" and fits(value[:size]):
            return value[size:]
        if operator == "%" and fits(value[len(value) - size :]):
            return value[: len(value) - size]
    return value


def _replaced(
    text: str, at: int, value: str, env: Mapping[str, str], escape: str
) -> tuple[str, int]:
    everywhere = text[at : at + 1] == "/"
    pattern, at = _units(text, at + everywhere, "/", env, escape, keep=True)
    other, at = _units(text, at, "}", env, escape, keep=True)
    fits = _pattern("".join(character for character, _ in pattern))
    new = "".join(character for character, _ in other)
    found, begin, matched = "", 0, -1
    while begin <= len(value):
        ends = [end for end in range(len(value), begin - 1, -1) if fits(value[begin:end])]
        if ends and not (ends[0] == begin == matched):
            found += _filled(new, value[begin : ends[0]]) if everywhere else new
            if not everywhere:
                return found + value[ends[0] :], at
            matched = ends[0]
            if matched > begin:
                begin = matched
                continue
        found += value[begin : begin + 1]
        begin += 1
    return found, at


def _filled(template: str, match: str) -> str:
    """A template of Go's: ``$0`` is the match, ``$$`` a dollar sign, other names are nothing."""

    def fill(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return "$" if found[0] == "$$" else match if name == "0" else ""

    return re.sub(r"\$\$|\$(\w+)|\$\{(\w+)\}", fill, template)


def _pattern(text: str) -> Callable[[str], bool]:
    """Stars and question marks; escaped may be these, the escape character, ``}`` and ``/``."""
    tokens = re.findall(r"\\.?|.", text, re.DOTALL)
    if any(token[0] == "\\" and token[1:] not in tuple("*?\\}/") for token in tokens):
        raise Wrong("escape in a pattern")

    def fits(tokens: list[str], value: str) -> bool:
        if not tokens:
            return not value
        head, rest = tokens[0], tokens[1:]
        if head == "*":
            more = value[:1] not in ("", "\n")
            return fits(rest, value) or (more and fits(tokens, value[1:]))
        if not value or (head == "?" and value[0] == "\n"):
            return False
        return (head == "?" or head[-1] == value[0]) and fits(rest, value[1:])

    return lambda value: fits(tokens, value)


# -- instructions: lines, comments, continuations, heredocs ------------------------------------


_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(\S.*?)\s*", re.IGNORECASE)
_OPENING = re.compile(r"(?:^|(?<=\s))\d*<<(-?)[ \t]*(['\"]?)([A-Za-z]\w*)\2(?=\s|$)")


def instructions(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Cut a Dockerfile into instructions, each with the names and contents of its heredocs."""
    lines = text.removeprefix("\ufeff").split("\n")
    if not lines[-1]:
        lines.pop()
    escape = _escape_of(lines)
    found = []
    while lines:
        line = lines.pop(0).rstrip("\r").lstrip()
        if not line or line[0] == "#":
            continue
        parts = []
        while (part := _continued(line, escape)) is not None:
            parts.append(part)
            while lines and _counts_for_nothing(lines[0]):
                lines.pop(0)
            if not lines:
                line = ""
                break
            line = lines.pop(0).rstrip("\r")
        joined = "".join([*parts, line]).strip()
        if not joined:
            raise Wrong("a continuation of nothing")
        found.append((joined, _heredocs(joined, lines)))
    return found


def _escape_of(lines: list[str]) -> str:
    seen: dict[str, str] = {}
    for line in lines:
        directive = _DIRECTIVE.fullmatch(line.strip())
        if directive is None:
            break
        name = directive[1].lower()
        if name in seen or (name == "escape" and directive[2] not in ("\\", "`")):
            raise Wrong("directive")
        seen[name] = directive[2]
    return seen.get("escape", "\\")


def _continued(line: str, escape: str) -> str | None:
    """Return what stands before a single escape character at the end; None without one."""
    bare = line.rstrip(" \t")
    if not bare.endswith(escape) or bare.endswith(escape * 2):
        return None
    return bare[:-1]


def _counts_for_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _heredocs(joined: str, lines: list[str]) -> list[tuple[str, str]]:
    parts = joined.split()
    parts = parts[1:] if parts[0].upper() == "ONBUILD" else parts
    if not parts or parts[0].upper() not in ("RUN", "COPY", "ADD"):
        return []
    found = []
    for opening in _OPENING.finditer(joined):
        content = ""
        while True:
            if not lines:
                raise Wrong("heredoc without an end")
            line = lines.pop(0)
            bare = line.rstrip("\r")
            if (bare.lstrip("\t") if opening[1] else bare) == opening[3]:
                break
            content += (line.lstrip("\t") if opening[1] else line) + "\n"
        found.append((opening[3], content))
    return found


# -- name=value ---------------------------------------------------------------------------------


def quoted_words(text: str, escape: str) -> list[str]:
    """Cut at blanks outside quotes; quotes and escape characters stay, except a last one."""
    found, word, quote = [], "", ""
    at = 0
    while at < len(text):
        character = text[at]
        if not quote and character.isspace():
            found.append(word)
            word = ""
        elif character == escape and quote != "'":
            if at + 1 < len(text):
                word += text[at : at + 2]
            at += 1
        else:
            word += character
            if character == quote:
                quote = ""
            elif not quote and character in "'\"":
                quote = character
        at += 1
    return [each for each in (*found, word) if each]


# -- ignore files -------------------------------------------------------------------------------


def ignored(text: str, path: str) -> bool:
    """Whether an ignore file leaves *path* out: the last line that fits it or a parent counts."""
    parts = path.split("/")
    parents = ["/".join(parts[:size]) for size in range(1, len(parts) + 1)]
    out = False
    for line in text.removeprefix("\ufeff").splitlines():
        line = "" if line.startswith("#") else line.strip()
        exception = line.startswith("!")
        pattern = _cleaned(line.removeprefix("!").strip()) if line else ""
        if exception and not pattern:
            raise Wrong("an exception of nothing")
        if pattern and any(_ends(pattern, each) or _fits(pattern, each) for each in parents):
            out = not exception
    return out


def _cleaned(pattern: str) -> str:
    """Go's filepath.Clean, without a slash at the beginning."""
    if not pattern:
        return ""
    rooted = pattern.startswith("/")
    found: list[str] = []
    for part in pattern.split("/"):
        if part == ".." and found and found[-1] != "..":
            found.pop()
        elif part == ".." and rooted:
            continue
        elif part not in ("", "."):
            found.append(part)
    return "/".join(found) or ("" if rooted else ".")


def _ends(pattern: str, path: str) -> bool:
    """Whether a pattern of two stars and plain text is of the end of a path, within a name too."""
    text = pattern.removeprefix("**")
    plain = text != pattern and not set(text) & set("*?[\\") and not text.startswith("/")
    return plain and text != "" and path.endswith(text)


def _fits(pattern: str, path: str) -> bool:
    """Match a path: a star stays in a name, two go on over any number of them."""
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern[2:].removeprefix("/")
        if not rest:
            return True
        starts = [0, *(at + 1 for at, each in enumerate(path) if each == "/")]
        return any(_fits(rest, path[start:]) for start in starts)
    if pattern[0] == "*":
        more = path[:1] not in ("", "/")
        return _fits(pattern[1:], path) or (more and _fits(pattern, path[1:]))
    if not path:
        return False
    if pattern[0] == "?":
        return path[0] != "/" and _fits(pattern[1:], path[1:])
    if pattern[0] == "[":
        found = re.match(r"\[(\^?)([^\]]+)\]", pattern)
        if found is None:
            raise Wrong("class")
        inside = re.fullmatch(f"[{found[2]}]", path[0]) is not None
        return (
            inside != bool(found[1]) and path[0] != "/" and _fits(pattern[found.end() :], path[1:])
        )
    if pattern[0] == "\\" and len(pattern) > 1:
        return path[0] == pattern[1] and _fits(pattern[2:], path[1:])
    return path[0] == pattern[0] and _fits(pattern[1:], path[1:])
