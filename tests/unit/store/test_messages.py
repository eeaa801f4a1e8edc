"""Error messages are sentences by themselves: none begins with a verb whose subject is `where`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ocitool
import ocitool_registry
import ocitool_runtime
from ocitool import errors

PACKAGES = [Path(each.__file__).parent for each in (ocitool, ocitool_registry, ocitool_runtime)]
ERRORS = frozenset(
    name
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, errors.OcitoolError)
)
#: Words with which a message has no subject of its own.
VERBS = re.compile(
    "(is|are|was|were|has|have|had|must|may|might|can|could|should|will|would|does|do|lacks|needs"
    "|names|holds|stands|ends|begins|starts|leads|goes|takes|gives|says|tells|makes|contains"
    "|exceeds|belongs|appears|exists|refers|points|uses|wants|came|comes|cannot be)( |$)"
)


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each message, as far as it is a literal from its beginning."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        message = node.args[0]
        if isinstance(message, ast.JoinedStr) and message.values:
            message = message.values[0]
        if name in ERRORS and isinstance(message, ast.Constant) and isinstance(message.value, str):
            yield node.lineno, message.value


def lacks_subject(message: str) -> bool:
    return VERBS.match(message) is not None


@pytest.mark.parametrize("message", ["is not a list", "cannot be read: ", "lacks a field"])
def test_a_message_without_a_subject_is_found(tmp_path, message):
    path = tmp_path / "module.py"
    path.write_text(f'raise FormatError(f"{message}{{why}}", where=path)')
    assert [lacks_subject(text) for _, text in messages(path)] == [True]


def test_every_message_has_a_subject():
    found = [
        (path, each) for top in PACKAGES for path in top.rglob("*.py") for each in messages(path)
    ]
    assert len(found) > 200
    wrong = [f"{path}:{line}: {text}" for path, (line, text) in found if lacks_subject(text)]
    assert wrong == []


def test_a_message_is_lower_case_without_a_full_stop():
    wrong = [
        f"{path}:{line}: {text}"
        for top in PACKAGES
        for path in top.rglob("*.py")
        for line, text in messages(path)
        if text.rstrip().endswith(".") and not text.endswith("...")
    ]
    assert wrong == []
