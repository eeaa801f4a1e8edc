"""Registry mirrors: where base images of a registry are looked for before, or instead of, it.

Source: kaniko's README, "--registry-mirror" and "--registry-map".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from ocitool.errors import FormatError
from ocitool.oci.reference import Reference

_HUB = "docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """The mirrors of each registry, in the order in which they are asked."""

    by_registry: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    fallback: bool = True  # whether the registry itself is asked at last

    @classmethod
    def parse(cls, mirrors: Sequence[str], maps: Sequence[str], *, fallback: bool = True) -> Self:
        """Read ``host[/path]`` of the Hub's mirrors, and ``registry=host[/path][;...]``."""
        found: dict[str, list[str]] = {}
        for mirror in mirrors:
            found.setdefault(_HUB, []).append(mirror)
        for pair in (part for text in maps for part in text.split(";")):
            registry, equals, mirror = pair.partition("=")
            if not registry or not equals:
                raise FormatError(
                    f"invalid registry map {pair!r}", hint="write REGISTRY=HOST[/PATH]"
                )
            name = _HUB if registry in ("index.docker.io", "docker.io") else registry
            found.setdefault(name, []).append(mirror)
        for mirror in (each for several in found.values() for each in several):
            _at(mirror, "x/y:1")
        ordered = {name: tuple(several) for name, several in found.items()}
        return cls(by_registry=ordered, fallback=fallback)

    def origins(self, reference: Reference) -> Iterator[Reference]:
        """Yield where an image is looked for, itself last."""
        mirrors = self.by_registry.get(reference.domain, ())
        rest = str(reference).removeprefix(f"{reference.domain}/")
        for mirror in mirrors:
            yield _at(mirror, rest)
        if self.fallback or not mirrors:
            yield reference


def _at(mirror: str, rest: str) -> Reference:
    host = mirror.partition("/")[0]
    found = Reference.parse(f"{mirror.rstrip('/')}/{rest}")
    if found.domain != host:
        raise FormatError(
            f"invalid registry mirror {mirror!r}: {host!r} is not a registry",
            hint="write HOST[/PATH]; HOST has a dot or a port, for example mirror.example.com",
        )
    return found
