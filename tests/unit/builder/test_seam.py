"""The two phases of a build meet in the definition alone, however a module is imported."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ocitool.builder

HERE = Path(ocitool.builder.__file__).parent
BUILDER = "ocitool.builder"
#: What each part of the builder may import of the product, itself apart.
ALLOWED = {
    "definition.py": (
        f"{BUILDER}.mounts",
        "ocitool.errors",
        "ocitool.oci",
        "ocitool_runtime.defaults",
    ),
    "chown_chmod.py": ("ocitool.errors",),
    "dockerfile": (
        "ocitool.go_values",
        "ocitool.errors",
        "ocitool.oci.platform",  # a value
        "ocitool.suggestions",
        "ocitool_runtime.defaults",
    ),
    "calls": (
        f"{BUILDER}.checks",
        f"{BUILDER}.context.ignore",
        f"{BUILDER}.context_sources.opened",
        f"{BUILDER}.definition",
        f"{BUILDER}.dockerfile",
        f"{BUILDER}.entitlements",
        f"{BUILDER}.frontend",
        f"{BUILDER}.inputs",
        f"{BUILDER}.options",
        f"{BUILDER}.secrets",
        f"{BUILDER}.shown_steps",
        f"{BUILDER}.source_images",
        "ocitool.errors",
        "ocitool.layer.locks",
        "ocitool.oci",
        "ocitool.progress",
        "ocitool.settings",
        "ocitool.store.directory.full_disk",
        "ocitool.store.store",
    ),
    "checks": (
        f"{BUILDER}.context.ignore",
        f"{BUILDER}.dockerfile",
        "ocitool.go_values",
        "ocitool.errors",
        "ocitool.oci",
        "ocitool.progress.CheckWarning",  # a value
        "ocitool.suggestions",
    ),
    "frontend": (
        f"{BUILDER}.build_arguments",
        f"{BUILDER}.checks",
        f"{BUILDER}.chown_chmod",
        f"{BUILDER}.definition",
        f"{BUILDER}.dockerfile",
        f"{BUILDER}.entitlements",
        f"{BUILDER}.git.reference",
        f"{BUILDER}.mounts",
        "ocitool.errors",
        "ocitool.go_values",
        "ocitool.oci",
        "ocitool.suggestions",
        "ocitool_runtime.defaults",  # values: nothing of it touches the machine
    ),
    "git": (
        f"{BUILDER}.context_sources.unpack",
        f"{BUILDER}.definition",
        f"{BUILDER}.dockerfile",
        f"{BUILDER}.entitlements",
        f"{BUILDER}.secrets",
        "ocitool.go_values",
        "ocitool.errors",
        "ocitool.layer",
        "ocitool.oci",
        "ocitool.programs",
        "ocitool.store",
        "ocitool.suggestions",
    ),
    "commit": (
        f"{BUILDER}.definition",
        f"{BUILDER}.solver",
        "ocitool.errors",
        "ocitool.image",
        "ocitool.layer",
        "ocitool.oci",
        "ocitool.progress",
        "ocitool.store",
    ),
    "context": (
        "ocitool.errors",
        "ocitool.inputfile",
        "ocitool.layer",
        "ocitool.store",
        "ocitool.suggestions",
    ),
    "context_sources": (
        f"{BUILDER}.context",
        f"{BUILDER}.copy.archive",
        f"{BUILDER}.copy.descendants",
        f"{BUILDER}.definition",
        f"{BUILDER}.dockerfile",
        f"{BUILDER}.frontend.sources.remotes",
        f"{BUILDER}.frontend.sources.named_contexts",
        f"{BUILDER}.git",
        f"{BUILDER}.secrets",
        f"{BUILDER}.shown_steps",
        f"{BUILDER}.solver.http_file",
        "ocitool.errors",
        "ocitool.image.decompress",
        "ocitool.inputfile",
        "ocitool.layer",
        "ocitool.oci",
        "ocitool.store",
    ),
    "copy": (
        f"{BUILDER}.chown_chmod",
        f"{BUILDER}.context",
        "ocitool.errors",
        "ocitool.image",
        "ocitool.layer",
        "ocitool.oci",
        "ocitool.store",
    ),
    "outputs": (
        f"{BUILDER}.build_arguments",
        f"{BUILDER}.commit",
        f"{BUILDER}.options",
        "ocitool.go_values",
        "ocitool.errors",
        "ocitool.image",
        "ocitool.layer",
        "ocitool.oci",
        "ocitool.progress",
        "ocitool.programs",
        "ocitool.settings",
        "ocitool.store",
        "ocitool.suggestions",
    ),
    "secret_scan": (
        f"{BUILDER}.definition",
        f"{BUILDER}.secrets",
        f"{BUILDER}.solver",
        "ocitool.errors",
        "ocitool.image",
        "ocitool.layer",
        "ocitool.oci",
        "ocitool.store",
    ),
    "secrets": ("ocitool.errors", "ocitool.inputfile"),
    "solver": (
        f"{BUILDER}.chown_chmod",
        f"{BUILDER}.context",
        f"{BUILDER}.copy",
        f"{BUILDER}.definition",
        f"{BUILDER}.git",
        f"{BUILDER}.mounts",
        f"{BUILDER}.secrets",
        f"{BUILDER}.shown_steps",
        f"{BUILDER}.transports",
        "ocitool.errors",
        "ocitool.image",
        "ocitool.layer",
        "ocitool.oci",
        "ocitool.progress",
        "ocitool.store",
        "ocitool.suggestions",
        "ocitool_registry",
        "ocitool_runtime",
    ),
}


def imported(path: Path) -> list[str]:
    """Return the modules of the product that *path* imports, in functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.startswith("ocitool")]


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_of_the_builder_imports_what_it_may(part):
    files = [HERE / part] if part.endswith(".py") else sorted((HERE / part).rglob("*.py"))
    allowed = (*ALLOWED[part], f"{BUILDER}.{part.removesuffix('.py')}")
    seen = [(path.name, name) for path in files for name in imported(path)]
    assert seen  # it is found, and imports something
    wrong = [
        f"{where}: {name}"
        for where, name in seen
        if not any(f"{name}.".startswith(f"{each}.") for each in allowed)
    ]
    assert wrong == []


def test_every_package_of_the_builder_has_its_rule():
    packages = {path.parent.name for path in HERE.glob("*/__init__.py")}
    assert packages == {part for part in ALLOWED if not part.endswith(".py")}
