"""The sources as the house rules see them: names, syntax trees and what imports what."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOTS = (
    (CHECKOUT, "ocitool"),
    (CHECKOUT / "registry", "ocitool_registry"),
    (CHECKOUT / "runtime", "ocitool_runtime"),
)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module.  ``names`` are those taken from it, none for ``import module``.

    ``late``: inside a function; ``typing``: for type checkers alone.
    """

    module: str
    names: tuple[str, ...]
    line: int
    late: bool
    typing: bool


class Source:
    """One module of the product."""

    def __init__(self, path: Path, module: str) -> None:
        self.path = path
        self.module = module
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text, filename=str(path))

    def __repr__(self) -> str:
        return self.module

    def at(self, line: int) -> str:
        """Return ``path:line`` as an editor takes it."""
        return f"{self.path.relative_to(CHECKOUT)}:{line}"

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        here = self.path.name == "__init__.py"
        return self.module if here else self.module.rpartition(".")[0]

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the syntax tree."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import statement, wherever it stands."""
        return tuple(self._imports(self.tree, late=False, typing=False))

    def _imports(self, node: ast.AST, *, late: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, (), child.lineno, late, typing)
            elif isinstance(child, ast.ImportFrom):
                module = child.module or ""
                if child.level:
                    parts = self.package.split(".")
                    base = ".".join(parts[: len(parts) - child.level + 1])
                    module = f"{base}.{module}" if module else base
                names = tuple(alias.name for alias in child.names)
                yield Import(module, names, child.lineno, late, typing)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                body = ast.Module(child.body, [])
                yield from self._imports(body, late=late, typing=True)
                orelse = ast.Module(child.orelse, [])
                yield from self._imports(orelse, late=late, typing=typing)
            else:
                inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._imports(child, late=late or inner, typing=typing)


class Sources(dict[str, Source]):
    """Every module of the product by its name."""

    def targets(self, found: Import) -> tuple[str, ...]:
        """Return the modules that an import names: ``from a import b`` is a.b if that is one."""
        if not found.names:
            return (found.module,)
        modules = {
            f"{found.module}.{name}" if f"{found.module}.{name}" in self else found.module
            for name in found.names
        }
        return tuple(sorted(modules))

    def beneath(self, package: str) -> list[Source]:
        """Return the modules of *package*, itself included."""
        return [
            source
            for name, source in sorted(self.items())
            if name == package or name.startswith(f"{package}.")
        ]


def python_files(*folders: Path) -> list[Path]:
    """Return every Python file beneath *folders*, leaving out what tools keep there."""
    found = []
    for top in folders:
        for folder, names, files in os.walk(top):
            names[:] = [name for name in names if name[0] != "." and name != "__pycache__"]
            found += [Path(folder, name) for name in files if name.endswith(".py")]
    return sorted(found)


@pytest.fixture(scope="session")
def sources() -> Sources:
    """Every module of the three packages, parsed."""
    found = Sources()
    for root, package in ROOTS:
        for path in python_files(root / package):
            parts = path.relative_to(root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[module] = Source(path, module)
    return found


@pytest.fixture(scope="session")
def all_python() -> list[Path]:
    """Every Python file of the project, tests included."""
    folders = (CHECKOUT / name for name in ("ocitool", "registry", "runtime", "tests", "docs"))
    return python_files(*folders)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Where the project lies."""
    return CHECKOUT


@pytest.fixture(scope="session")
def rewrite() -> bool:
    """Whether golden files are to be written instead of compared: ``OCITOOL_REWRITE=1``."""
    return os.environ.get("OCITOOL_REWRITE", "") not in ("", "0")
