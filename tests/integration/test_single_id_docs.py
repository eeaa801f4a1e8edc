"""What docs/security.md says of single-ID mode: where it differs from a build by root."""

from __future__ import annotations

import os
import re

import pytest

from tests.fixtures.programs import CHECKOUT

BETWEEN = re.compile("(?<=<!-- differences -->\n).*?(?=<!-- /differences -->)", re.DOTALL)
HEAD = "| user | command | of root | in single-ID mode |\n| --- | --- | --- | --- |\n"
ROW = re.compile(r"\| (\w+) \| `(.+?)` \| (.*?) ?\| (.*?) ?\|\n")
IMAGE = """
RUN useradd -u 1000 -m ann && echo secret > /secret && chmod 600 /secret
"""


def output(done):
    """What a program printed, in one line, with no name of the program that says it."""
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="module")
def run_as(session_tree, rangeless_user, debian_base, run_cli, containers):
    """Return a function that runs a command of a user as root and in single-ID mode."""
    context = session_tree / "differences"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {debian_base}{IMAGE}")
    stores = ((session_tree / "differences-root", None),
              (rangeless_user.home / "differences", rangeless_user))  # fmt: skip
    for root, who in stores:
        run_cli("build", "-q", "-t", "made:1", context, root=root, user=who).ok()

    def run_as(user, command):
        words = ("run", "--rm", "-u", user, "made:1", "sh", "-c", command)
        return [output(run_cli(*words, root=root, user=who)) for root, who in stores]

    yield run_as
    for root, who in stores:
        run_cli("system", "prune", "-a", "-f", root=root, user=who)


@pytest.mark.campaign
def test_the_differences_are_those_of_the_table(run_as):
    page = CHECKOUT / "docs/security.md"
    text = page.read_text(encoding="utf-8")
    table = BETWEEN.search(text)[0]
    found = HEAD
    for user, command, *_ in ROW.findall(table.removeprefix(HEAD)):
        ours, theirs = run_as(user, command.replace(r"\|", "|"))
        assert ours != theirs, command
        found += f"| {user} | `{command}` | {ours} | {theirs} |\n".replace("|  |", "| |")
    if os.environ.get("OCITOOL_REWRITE", "") not in ("", "0"):
        page.write_text(text.replace(table, found), encoding="utf-8")
        return
    assert found == table
