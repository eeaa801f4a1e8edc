"""Packages and modules: few and short, with a docstring and a name that says what they hold."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections import Counter

import pytest

from tests.fixtures import workers

LONGEST = 400  # lines of a module
MOST = 16  # modules of a package
#: Names that do not say what is in a module.
VAGUE = frozenset(("utils", "util", "common", "misc", "tools", "stuff", "lib"))
#: What stands at the top of a checkout.
TOP = frozenset(
    (
        ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
        "docs", "ocitool", "pyproject.toml", "registry", "runtime", "testdata", "tests",
    )
)  # fmt: skip
#: What a module begins with.
DOCSTRING = re.compile(r'(#.*\n|\n)*r?"""\S')
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def test_modules_are_short(sources, all_python, checkout):
    long = {
        str(path.relative_to(checkout)): count
        for path in all_python
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}


def test_every_module_says_what_it_is(all_python, checkout):
    mute = [
        str(path.relative_to(checkout))
        for path in all_python
        if (text := path.read_text(encoding="utf-8")).strip() and not DOCSTRING.match(text)
    ]
    assert mute == []


def test_what_workers_take_first_is_there(checkout):
    names = [*(f"tests/{name}" for name in workers.ORDER), *workers.PARTS]
    assert [name for name in names if not (checkout / name).exists()] == []


def test_packages_are_small(sources):
    packages = Counter(
        source.module.rpartition(".")[0]
        for source in sources.values()
        if source.path.name != "__init__.py"
    )
    assert {name: count for name, count in packages.items() if count > MOST} == {}


def test_names_say_what_a_module_holds(sources):
    assert [str(source.path) for source in sources.values() if source.path.stem in VAGUE] == []


def test_nothing_is_left_to_do(sources):
    wrong = [
        f"{source.at(number)}: {line.strip()}"
        for source in sources.values()
        for number, line in enumerate(source.text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert wrong == []


def test_nothing_stray_is_committed(checkout):
    if not (checkout / ".git").exists():
        pytest.skip("needs the repository")
    git = ("git", "-c", "safe.directory=*", "-C", str(checkout), "ls-files", "-z")
    names = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split("\0")
    assert {name.partition("/")[0] for name in names if name} == TOP


def test_no_file_names_the_place_it_was_written_at(all_python, checkout):
    place = f"{checkout}/"
    assert [str(path) for path in all_python if place in path.read_text(encoding="utf-8")] == []


def test_the_archive_of_the_web_image_is_what_its_folder_holds(checkout, rewrite):
    """``testdata/web/assets.tar`` lies there so that a fresh clone builds without a preparation."""
    folder = checkout / "testdata" / "web" / "assets"
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            member.mtime = 1_704_067_200  # 2024-01-01
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                member.size = path.stat().st_size
                with path.open("rb") as stream:
                    archive.addfile(member, stream)
    committed = folder.with_suffix(".tar")
    if rewrite:
        committed.write_bytes(made.getvalue())
    assert committed.read_bytes() == made.getvalue()
