"""SQL stands in few modules: all else calls their methods."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import ocitool

PACKAGE = Path(ocitool.__file__).parent
STATEMENT = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|DROP TABLE|PRAGMA)\b"
)
WITH_SQL = {
    "store/database/build_cache.py",
    "store/database/database.py",
    "store/database/image_summaries.py",
    "store/database/records.py",
}


def has_sql(path: Path) -> bool:
    constants = (
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return any(STATEMENT.match(text) for text in constants)


def test_sql_stands_in_four_modules():
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if has_sql(path)}
    assert found == WITH_SQL


def test_only_the_database_knows_sqlite():
    importing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(import|from) sqlite3\b", path.read_text("utf-8"), re.M)
    }
    assert importing == {"store/database/database.py"}
