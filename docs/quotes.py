"""Puts the files that ``docs/drivers.md`` quotes into it; ``--check`` only compares.

A quotation is a fenced block after ``<!-- PATH -->`` or, for one class of a module,
``<!-- PATH#CLASS -->``.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("drivers.md")
CHECKOUT = PAGE.parents[1]
_QUOTATION = re.compile(
    r"(<!-- (\S+?)(?:#(\w+))? -->\n```\w*\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE
)


def renewed(page: str) -> str:
    """Return *page* with every quotation as the files have it now."""
    return _QUOTATION.sub(lambda match: match[1] + quoted(match[2], match[3]) + match[5], page)


def quoted(path: str, name: str | None) -> str:
    """Return the text of a file, or of one class in it."""
    text = (CHECKOUT / path).read_text(encoding="utf-8")
    if name is None:
        return text
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"
    raise LookupError(f"{path} has no class {name}")


def main(words: list[str]) -> int:
    """Write the page anew, or say whether it is as it must be."""
    page = PAGE.read_text(encoding="utf-8")
    new = renewed(page)
    if "--check" in words:
        if new != page:
            print(f"{PAGE.name} quotes what is no more: run make docs", file=sys.stderr)
        return int(new != page)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
