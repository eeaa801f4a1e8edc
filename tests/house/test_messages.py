"""Error messages are sentences by themselves: none begins with a verb whose subject is `where`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from ocitool import errors
from tests.house.conftest import Source

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

#: Capitals of names, and of messages in the very words of BuildKit.
CAPITALS = (
    "Docker ",
    "Chaining ONBUILD",
    "Interval ",
    "Missing command",
    "Syntax error",
    "Unknown type",
)


def messages(source: Source) -> Iterator[tuple[int, str]]:
    """Yield line and text of each message, as far as it is a literal from its beginning."""
    for node in source.nodes:
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
    assert [lacks_subject(text) for _, text in messages(Source(path, "module"))] == [True]


def test_every_message_has_a_subject(sources):
    found = [(source, each) for source in sources.values() for each in messages(source)]
    assert len(found) > 200
    wrong = [f"{source.at(line)}: {text}" for source, (line, text) in found if lacks_subject(text)]
    assert wrong == []


def test_a_message_is_lower_case_without_a_full_stop(sources):
    wrong = [
        f"{source.at(line)}: {text}"
        for source in sources.values()
        for line, text in messages(source)
        if begins_upper_case(text) or (text.rstrip().endswith(".") and not text.endswith("..."))
    ]
    assert wrong == []


def begins_upper_case(message: str) -> bool:
    """Whether the first letter is the only capital of its word; COPY and TLS are names."""
    return bool(re.match(r"[A-Z](?![A-Z])", message)) and not message.startswith(CAPITALS)
