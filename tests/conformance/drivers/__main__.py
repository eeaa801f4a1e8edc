"""Prints which driver passes which case of the suite here: ``make conformance``.

Words go to pytest: ``make conformance ARGS='-k Btrfs'``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance.drivers.table import Results, table


def main(words: list[str]) -> int:
    """Run the tests of this folder and print the table; 0 if nothing failed."""
    results = Results()
    folder = Path(__file__).parent
    quiet = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    arguments = [*quiet, str(folder), *words]
    code = pytest.main(arguments, plugins=[results])
    print(table(results), end="")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
