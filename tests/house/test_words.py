"""The words of docs/glossary.md: what it bans occurs in no name, docstring, comment or message."""

from __future__ import annotations

import re
from pathlib import Path

#: Where a banned word is right: the word, and the only text around it in which it may stand.
ALLOWED = (
    '"damaged"',  # a directory of the store
    "/damaged",
    "damaged/",
    "tests/house",  # a folder
    '"house"',
    "from process 1 in",  # printed by the program of an image
)


def banned(glossary: Path) -> list[str]:
    """Return the words in the last columns of the glossary's tables."""
    rows = [line.split("|") for line in glossary.read_text(encoding="utf-8").splitlines()]
    return [word for row in rows if len(row) == 6 for word in re.findall(r"`([^`]+)`", row[4])]


def pattern(words: list[str]) -> re.Pattern[str]:
    """Return an expression for any of *words*, also as a part of a name (snake or camel case)."""
    spaced = [re.escape(word).replace(r"\ ", r"[\s_]+(?:#:?\s+)?") for word in words]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(spaced)})(?![^\W_]|[a-z])", re.IGNORECASE)


def occurrences(path: Path, found: re.Pattern[str]) -> list[str]:
    """Return ``line: word`` of each banned word in a file."""
    text = path.read_text(encoding="utf-8")
    for allowed in ALLOWED:
        text = text.replace(allowed, re.sub(r"\S", "-", allowed))
    # ThisCase is read as this_Case, so that parts of names of classes are words.
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
    return [f"{text.count(chr(10), 0, m.start()) + 1}: {m[0]}" for m in found.finditer(text)]


def test_the_glossary_bans_something(checkout):
    words = banned(checkout / "docs" / "glossary.md")
    assert len(words) > 40 and "stub" in words


def test_a_banned_word_is_found_wherever_it_stands(tmp_path):
    found = pattern(["stub", "process 1", "kept aside"])
    path = tmp_path / "module.py"
    path.write_text(
        "class StubProcess: ...\n_stub = 1  # the Stub\nstubborn = 2\n"
        "# process\n# 1 is kept\n#: aside\nx_stub_y\nprocess 12\n"
    )
    lines = [each.partition(":")[0] for each in occurrences(path, found)]
    assert lines == ["1", "2", "2", "4", "5", "7"]


def test_no_banned_word_occurs(all_python, checkout):
    found = pattern(banned(checkout / "docs" / "glossary.md"))
    pages = [page for page in (checkout / "docs").glob("*.md") if page.name != "glossary.md"]
    files = [*pages, checkout / "README.md", checkout / "CONTRIBUTING.md"]
    files += [path for path in all_python if path.parent.name != "house"]
    wrong = [
        f"{path.relative_to(checkout)}:{each}"
        for path in files
        for each in occurrences(path, found)
    ]
    assert wrong == []
