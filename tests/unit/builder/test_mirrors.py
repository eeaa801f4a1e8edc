"""Mirrors of registries, and which registries are accessed without TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocitool import Store, push
from ocitool.builder.solver.mirrors import Mirrors
from ocitool.errors import FormatError, OcitoolError
from ocitool.oci.reference import Reference
from ocitool.progress import Notice
from tests.unit.builder.conftest import BuildFixture
from tests.unit.builder.test_images import counting_registry


def origins(name: str, *mirrors: str, maps: tuple[str, ...] = (), fallback: bool = True):
    found = Mirrors.parse(mirrors, maps, fallback=fallback).origins(Reference.parse(name))
    return [str(each) for each in found]


def test_the_hubs_mirrors_are_asked_first():
    assert origins("a:1", "m.example.com", "n.example.com/deep/er") == [
        "m.example.com/library/a:1", "n.example.com/deep/er/library/a:1", "docker.io/library/a:1",
    ]  # fmt: skip
    assert origins("quay.io/a/b:1", "m.example.com") == ["quay.io/a/b:1"]
    assert origins("a:1", "m.example.com", fallback=False) == ["m.example.com/library/a:1"]
    assert origins("quay.io/a:1", "m.example.com", fallback=False) == ["quay.io/a:1"]


def test_a_map_names_the_registry():
    maps = ("quay.io=m.example.com;quay.io=localhost:1/q", "index.docker.io=h.example.com")
    digest = "sha256:" + "1" * 64
    assert origins(f"quay.io/a/b@{digest}", maps=maps) == [
        f"m.example.com/a/b@{digest}", f"localhost:1/q/a/b@{digest}", f"quay.io/a/b@{digest}",
    ]  # fmt: skip
    assert origins("a", maps=maps)[0] == "h.example.com/library/a:latest"


@pytest.mark.parametrize(
    ("mirrors", "maps", "message"),
    [
        (("mirror",), (), "invalid registry mirror 'mirror': 'mirror' is not a registry"),
        ((), ("quay.io",), "invalid registry map 'quay.io'"),
        ((), ("=m.example.com",), "invalid registry map '=m.example.com'"),
        ((), ("quay.io=UP CASE",), "UP CASE"),
    ],
)
def test_what_is_no_mirror(mirrors, maps, message):
    with pytest.raises(FormatError) as caught:
        Mirrors.parse(mirrors, maps)
    assert message in str(caught.value)


@pytest.fixture
def mirror(project, tmp_path) -> Iterator[tuple[str, BuildFixture]]:
    """A mirror that has library/base:1, and another store to build in."""
    project.put({"f": "1"})
    project.build("FROM scratch\nCOPY f /", "base:1")
    with counting_registry() as (address, _), Store.open(str(tmp_path / "other")) as store:
        push("base:1", source=project.store, to=f"{address}/library/base:1")
        yield address, BuildFixture(project.top, store)


def test_a_base_image_comes_from_the_mirror_under_its_own_name(mirror):
    address, other = mirror
    built = other.build("FROM base:1\nCOPY f /g", registry_mirrors=(address,))
    assert set(built.tree) == {"f", "g"}
    assert "docker.io/library/base:1" in {name for name, _ in other.store.refs.names()}
    assert built.warnings == ()


@pytest.mark.slow
def test_the_next_is_asked_if_a_mirror_fails(mirror):
    address, other = mirror
    mirrors = ("127.0.0.1:1", address)
    built = other.build("FROM base:1", registry_mirrors=mirrors, registry_fallback=False)
    (warning,) = (each.text for each in built.events.events if isinstance(each, Notice))
    assert warning.startswith("the mirror 127.0.0.1:1/library/base could not be used for base:1: ")
    with pytest.raises(OcitoolError, match=f"not found in the registry: {address}/library/none"):
        other.build("FROM none:1", registry_mirrors=(address,), registry_fallback=False)
