"""Imports run down the layers of the architecture, and no modules import in a circle."""

from __future__ import annotations

import sys

#: Package -> layer of the architecture.  A package imports from lower layers, and from itself.
LAYERS = {
    "ocitool": 8,
    "ocitool.__main__": 8,
    "ocitool.cli": 8,
    "ocitool.builder": 7,
    "ocitool.containers": 7,
    "ocitool.image": 6,
    "ocitool.store": 5,
    "ocitool.drivers": 4,
    "ocitool_registry": 3,
    "ocitool.layer": 3,
    "ocitool_runtime": 3,
    "ocitool.oci": 2,
    "ocitool.plugins": 2,
    "ocitool.settings": 2,
    "ocitool.errors": 0,
    "ocitool.inputfile": 1,
    "ocitool.programs": 1,
    "ocitool.option_types": 1,
    "ocitool.progress": 1,
    "ocitool.suggestions": 1,
    "ocitool.go_values": 1,
}
#: The one name that lower layers may import from the top.
FROM_THE_TOP = ("__version__",)


def package_of(module):
    """Return the package of `LAYERS` that *module* belongs to; None if it is not of the product."""
    if module == "ocitool":
        return module
    for name in sorted(LAYERS, key=len, reverse=True):
        if name != "ocitool" and (module == name or module.startswith(f"{name}.")):
            return name
    return None


def test_every_module_has_a_package_of(sources):
    assert [name for name in sources if package_of(name) is None] == []


def test_imports_run_down(sources):
    wrong = []
    for source in sources.values():
        here = package_of(source.module)
        for found in source.imports:
            if found.module == "ocitool" and found.names == FROM_THE_TOP:
                continue
            for target in sources.targets(found):
                there = package_of(target)
                if there not in (None, here) and LAYERS[here] <= LAYERS[there]:
                    if LAYERS[here] == 8:  # the top layer is one package with several entries
                        continue
                    wrong.append(f"{source.at(found.line)}: {here} imports {target}")
    assert wrong == []


def test_the_runtime_takes_only_errors_plugins_and_programs(sources):
    allowed = {"ocitool.errors", "ocitool.plugins", "ocitool.programs"}
    wrong = []
    for source in sources.beneath("ocitool_runtime"):
        for found in source.imports:
            for target in sources.targets(found):
                top = target.partition(".")[0]
                fine = target in allowed or top == "ocitool_runtime"
                if not fine and top not in sys.stdlib_module_names:
                    wrong.append(f"{source.at(found.line)}: {target}")
    assert wrong == []


#: What runs inside a sandbox, in an interpreter without site-packages.
INSIDE = "ocitool_runtime.sandbox"


def test_what_runs_inside_a_sandbox_needs_the_standard_library_alone(sources):
    wrong = [
        f"{source.at(found.line)}: {target}"
        for source in sources.beneath(INSIDE)
        for found in source.imports
        if not found.typing
        for target in sources.targets(found)
        if not f"{target}.".startswith(f"{INSIDE}.")
        and target.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert wrong == []
    package = sources[INSIDE.rpartition(".")[0]]  # it is imported on the way
    now = {found.module for found in package.imports if not (found.typing or found.late)}
    assert now == {"__future__"}


def test_no_circular_imports(sources):
    """Also none that imports inside functions, or for type checkers alone, hide."""
    graph = {
        name: sorted(
            {
                target
                for found in source.imports
                for target in sources.targets(found)
                if target in sources and target != name
            }
        )
        for name, source in sources.items()
    }
    done, circles = set(), []

    def walk(name, path):
        if name in path:
            circles.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for target in graph[name]:
                walk(target, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())
    assert circles == []
