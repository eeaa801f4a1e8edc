"""docs/dockerfile.md has a row for each instruction and flag, and a file of tests that tries it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click

from ocitool.builder.dockerfile.instructions import Add, Copy
from ocitool.builder.dockerfile.parser import INSTRUCTIONS
from ocitool.cli.commands.build import command

TOP = Path(__file__).parents[2]
#: What tests of values try: they are one limit with another that is tried with its effect.
BY_VALUES = {"cpu_period", "cpu_quota", "cpuset_cpus", "cpuset_mems", "memory_swap"}
PAGE = (TOP / "docs/dockerfile.md").read_text(encoding="utf-8")
OF_DOCKERFILE = {"file", "ignorefile"}
OF_SECRETS = {"secrets", "secret_scan", "ssh"}
OTHERS = {"span", "sources", "dest", "heredocs"}


def rows(section: str) -> dict[str, str]:
    """The rows of a section's table: the first column, and the file of tests."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (`-[^|]*)\|.*\| `(\w+\.py)` \|$", text, re.MULTILINE))


def test_each_instruction_has_a_row_and_its_tests() -> None:
    text = PAGE.partition("\n## Instructions\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| (`[A-Z].*?) \|.*\| `(\w+\.py)` \|$", text, re.MULTILINE)
    found = {word: name for first, name in table for word in re.findall(r"`([A-Z]+)", first)}
    assert found.keys() == INSTRUCTIONS.keys()
    for word, name in found.items():
        tests = (TOP / "tests/unit/builder" / name).read_text(encoding="utf-8")
        assert f"{word} " in tests, f"{name} does not try {word}"


def test_each_flag_of_copy_has_a_row_and_its_tests() -> None:
    found = {first[3:].split("`")[0]: name for first, name in rows("Flags of COPY and ADD").items()}
    found = {re.split("[ =[]", flag)[0]: name for flag, name in found.items()}
    flags = {
        field.name.rstrip("_").replace("_", "-") for kind in (Copy, Add) for field in fields(kind)
    } - OTHERS
    assert found.keys() == flags
    for flag, name in found.items():
        tests = (TOP / "tests/unit/builder" / name).read_text(encoding="utf-8")
        assert f"--{flag}" in tests, f"{name} does not try --{flag}"


def test_each_option_for_the_dockerfile_has_a_row_and_its_tests() -> None:
    section = PAGE.partition("### The Dockerfile and its ignore file\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (`-[^|]*)\|.*\| `(\w+\.py)` \|$", section, re.MULTILINE)
    named = {option for first, _ in found for option in re.findall(r"--[\w-]+", first)}
    assert named == {option.opts[-1] for option in command.params if option.name in OF_DOCKERFILE}
    for _, name in found:
        assert (TOP / "tests/unit/builder" / name).is_file()


def test_each_flag_of_run_has_a_row_and_its_tests() -> None:
    found = {re.split("[ =`]", first[3:])[0]: name for first, name in rows("Flags of RUN").items()}
    assert found.keys() == {"mount", "network", "security", "device"}
    for flag, name in found.items():
        tests = (TOP / "tests/unit/builder" / name).read_text(encoding="utf-8")
        assert f"RUN --{flag}=" in tests, f"{name} does not try --{flag}"


def test_each_option_for_run_is_tried_by_the_tests_that_its_row_names() -> None:
    parameters = {name: each.name for each in command.params for name in each.opts}
    table = rows("Options for RUN")
    assert len(table) > 5
    for first, name in table.items():
        tests = (TOP / "tests/unit/builder" / name).read_text(encoding="utf-8")
        for option in re.findall(r"--[\w-]+", first):
            field = parameters[option]
            tried = f"{field}=" in tests or f'"{field}":' in tests
            assert tried or field in BY_VALUES, f"{name} does not try {option}"


def test_each_option_for_secrets_has_a_row_and_its_tests() -> None:
    found = rows("Secrets")
    options = {re.split("[ =]", first)[0].strip("`") for first in found}
    assert options - {"--mount"} == {
        option.opts[0] for option in command.params if option.name in OF_SECRETS
    }
    for first, name in found.items():
        tests = (TOP / "tests/unit/builder" / name).read_text(encoding="utf-8")
        word = re.split("[`= ]", first)[1]
        assert word in tests or word.strip("-").replace("-", "_") in tests, f"{name}: {word}"


def test_each_option_of_build_is_on_a_page_with_its_tests() -> None:
    pages = PAGE + (TOP / "docs/outputs.md").read_text(encoding="utf-8")
    shown = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    named = {"--help", *re.findall(r"--[a-z][\w-]+", pages)}
    missing = [each.opts for each in shown if not named.intersection(each.opts)]
    assert missing == []
    text = PAGE.partition("\n## Other options of the command\n")[2].partition("\n## ")[0]
    files = re.findall(r"\| `(tests/[\w/]+\.py)` \|$", text, re.MULTILINE)
    assert len(files) > 10
    for name in files:
        assert (TOP / name).is_file(), name
