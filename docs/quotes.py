"""Puts the files that ``docs/drivers.md`` quotes into it.

A quotation is a fenced block after ``<!-- PATH -->`` or, for one class of a module,
``<!-- PATH#CLASS -->``.
"""

from __future__ import annotations

import ast
import re
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


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
