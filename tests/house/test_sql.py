"""SQL stands in few modules: all else calls their methods."""

from __future__ import annotations

import ast
import re

STATEMENT = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|DROP TABLE|PRAGMA)\b"
)
DATABASE = "ocitool.store.database"
WITH_SQL = {
    f"{DATABASE}.{name}" for name in ("build_cache", "database", "image_summaries", "records")
}


def test_sql_stands_in_four_modules(sources):
    found = {
        source.module
        for source in sources.beneath("ocitool")
        for node in source.nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and STATEMENT.match(node.value)
    }
    assert found == WITH_SQL


def test_only_the_database_knows_sqlite(sources):
    importing = {
        source.module
        for source in sources.beneath("ocitool")
        if any(each.module == "sqlite3" for each in source.imports)
    }
    assert importing == {f"{DATABASE}.database"}
