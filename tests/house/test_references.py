"""What docstrings and pages say of modules and packages: each is there, by its name."""

from __future__ import annotations

import re
import sys

from ocitool.plugins import BUILT_IN

#: ``store.blobs`` and ``drivers.driver.Driver``, but not ``plugins.py`` or ``index.json``.
REFERENCE = re.compile(r"(?<!`)`((?:[a-z_]+\.)+(?!py`|json`)\w+)(?:\(\))?`(?!`)")


def by_ending(sources):
    """Return the modules by each way to name them: the whole name, or its last parts."""
    found = {}
    for source in sources.values():
        parts = source.module.split(".")
        for at in range(len(parts)):
            found.setdefault(".".join(parts[at:]), []).append(source)
    return found


def is_there(reference, modules):
    """Say whether *reference* is a module, or a name in one."""
    module, _, name = reference.rpartition(".")
    return reference in modules or any(
        re.search(rf"\b{name}\b", source.text) for source in modules.get(module, ())
    )


def test_what_a_module_refers_to_is_there(sources, checkout):
    modules = by_ending(sources)
    packages = {name for name in modules if "." not in name} - sys.stdlib_module_names

    def wrong(text):
        found = REFERENCE.findall(text)
        ours = (each for each in found if each.partition(".")[0] in packages)
        return [each for each in ours if each not in BUILT_IN and not is_there(each, modules)]

    page = checkout / "docs" / "architecture.md"
    texts = {str(source.path): source.text for source in sources.values()}
    texts[str(page)] = page.read_text(encoding="utf-8")
    found = {path: wrong(text) for path, text in texts.items()}
    assert {path: names for path, names in found.items() if names} == {}
    assert wrong("`store.nothing`, `store.blobs`, `drivers.driver.Driver`") == ["store.nothing"]


def test_the_page_of_the_architecture_has_the_tree_of_packages(sources, checkout):
    page = (checkout / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.partition("## Packages\n")[2].split("```")[1]
    shown, above = set(), []
    for indent, name in re.findall(r"^( *)(?:\w+/(?=ocitool))?(\w+)/", tree, re.MULTILINE):
        above[len(indent) // 2 :] = [name]
        shown.add(".".join(above))
    packages = {source.module for source in sources.values() if source.path.name == "__init__.py"}
    assert shown == packages
