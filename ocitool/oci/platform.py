"""Platforms: parse, normalise, match.

Source: OCI image-spec v1.1, image-index.md, and the conventions of containerd/platforms.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from ocitool.errors import FormatError
from ocitool.oci._json import optional, required, string_list

WINDOWS: Final = "windows"
_OSES: Final = {"macos": "darwin"}
#: spelling -> (architecture, variant it implies)
_ARCHITECTURES: Final = {
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
#: variants that have a shorter spelling, or none
_VARIANTS: Final = {
    ("amd64", "v1"): "",
    ("arm64", "v8"): "",
    ("arm64", "v8.0"): "",
    ("arm64", "v9.0"): "v9",
    ("arm", ""): "v7",
}
#: what a word alone may be, in the spelling of Go (containerd/platforms, database.go)
_KNOWN_OSES: Final = frozenset({
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux",
    "nacl", "netbsd", "openbsd", "plan9", "solaris", "wasip1", "windows", "zos",
})  # fmt: skip
_KNOWN_ARCHITECTURES: Final = frozenset({
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle",
    "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv",
    "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm",
})  # fmt: skip
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]+")
#: A system, perhaps with its version and features: windows(10.0.17763+win32k)
_SYSTEM: Final = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
_ENCODED: Final = re.compile("%([0-9A-Fa-f]{2})|%")
_RESERVED: Final = str.maketrans({each: f"%{ord(each):02X}" for each in "%+()/"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An operating system and a processor, normalised.  ``str()`` gives ``os/arch[/variant]``."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()  # that an image needs, as "win32k"

    @classmethod
    def of(
        cls,
        os: str,
        architecture: str,
        variant: str = "",
        os_version: str = "",
        os_features: tuple[str, ...] = (),
    ) -> Self:
        """Return the normalised platform of these parts."""
        os = _OSES.get(os.lower(), os.lower())
        architecture = architecture.lower()
        variant = variant.lower()
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = variant or implied
        if variant and variant[0].isdigit():
            variant = f"v{variant}"
        return cls(
            os=os,
            architecture=architecture,
            variant=_VARIANTS.get((architecture, variant), variant),
            os_version=os_version,
            os_features=os_features,
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``os/arch[/variant]``, or one of os and arch alone; `FormatError` otherwise.

        The version and features of os may follow it: ``windows(10.0.17763+win32k)/amd64``.
        """
        system, *others = text.split("/")
        found = _SYSTEM.fullmatch(system)
        if found is None or len(others) > 2 or not all(map(_WORD.fullmatch, others)):
            raise FormatError(
                f"invalid platform {text!r}", hint="use OS/ARCH[/VARIANT], for example linux/amd64"
            )
        name, version, features = found.groups(default="")
        more = (_decoded(version, text), tuple(_decoded(f, text) for f in features.split("+")[1:]))
        if others:
            return cls.of(name, others[0], "".join(others[1:]), *more)
        here = this_platform()
        alone = cls.of(name, here.architecture, here.variant, *more)
        if alone.os in _KNOWN_OSES:
            return alone
        processor = cls.of(here.os, system)
        if processor.architecture in _KNOWN_ARCHITECTURES:
            return processor
        raise FormatError(
            f"invalid platform {text!r}: unknown operating system or architecture",
            hint="use OS/ARCH[/VARIANT], for example linux/amd64",
        )

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], where: str = "") -> Self:
        """Read the ``platform`` object of an index entry."""
        return cls.of(
            required(fields, "os", str, where),
            required(fields, "architecture", str, where),
            optional(fields, "variant", str, "", where),
            optional(fields, "os.version", str, "", where),
            string_list(fields, "os.features", where),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the ``platform`` object."""
        fields: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            fields["variant"] = self.variant
        if self.os_version:
            fields["os.version"] = self.os_version
        if self.os_features:
            fields["os.features"] = list(self.os_features)
        return fields

    def runs(self) -> tuple[Self, ...]:
        """Return the platforms whose images can run on this one, the best first."""
        return tuple(
            type(self).of(self.os, architecture, variant, self.os_version, self.os_features)
            for architecture, variant in _compatible(self.architecture, self.variant)
        )

    def accepts(self, actual: Self) -> bool:
        """Say whether an image whose config says *actual* is one for this platform.

        Many images do not say their variant: they are accepted for any.

        Source: docker's daemon, OnlyPlatformWithFallback.
        """
        unsaid = type(self).of(self.os, self.architecture)
        return best(self, [actual]) is not None or actual == unsaid

    def over(self, base: Self) -> Self:
        """Return this platform, completed from *base* if that has the same system and architecture.

        Source: BuildKit, dockerfile2llb/convert.go: the platform of an image that was asked for.
        """
        if (self.os, self.architecture) != (base.os, base.architecture):
            return self
        return type(self).of(
            self.os,
            self.architecture,
            self.variant or base.variant,
            self.os_version or base.os_version,
            self.os_features or base.os_features,
        )

    @property
    def in_full(self) -> str:
        """What `parse` reads, with the version and the features of the system."""
        features = (f"+{each.translate(_RESERVED)}" for each in sorted(self.os_features))
        more = "".join((self.os_version.translate(_RESERVED), *features))
        return str(replace(self, os=f"{self.os}({more})")) if more else str(self)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _decoded(text: str, platform: str) -> str:
    def character(found: re.Match[str]) -> str:
        if found[1] is None:
            raise FormatError(f"invalid platform {platform!r}: invalid escape in {text!r}")
        return chr(int(found[1], 16))

    return _ENCODED.sub(character, text)


def this_platform() -> Platform:
    """Return the platform this program runs on."""
    name = os.uname()
    return Platform.of(name.sysname, name.machine)


def best(wanted: Platform, offered: Iterable[Platform | None]) -> int | None:
    """Return the index of the offer that suits *wanted* best; the first wins a tie."""
    rank = {(p.os, p.architecture, p.variant): at for at, p in enumerate(wanted.runs())}
    found: tuple[int, int] | None = None
    for at, offer in enumerate(offered):
        if offer is None or not _system_suits(wanted, offer):
            continue
        position = rank.get((offer.os, offer.architecture, offer.variant))
        if position is not None and (found is None or position < found[0]):
            found = (position, at)
    return None if found is None else found[1]


def _system_suits(wanted: Platform, offer: Platform) -> bool:
    # Windows containers share the kernel's interface only within one build: 10.0.BUILD.x
    builds = [tuple(p.os_version.split(".")[:3]) for p in (wanted, offer) if p.os_version]
    if wanted.os == WINDOWS and len(set(builds)) > 1:
        return False
    # Features are compared only if *wanted* says which ones the system has.
    return not wanted.os_features or set(offer.os_features) <= set(wanted.os_features)


def _compatible(architecture: str, variant: str) -> list[tuple[str, str]]:
    major, minor = _level(variant)
    if architecture == "amd64":
        return [*(("amd64", f"v{at}") for at in range(major or 1, 0, -1)), ("386", "")]
    if architecture == "arm64":
        own = [("arm64", variant)] if variant and major not in (8, 9) else []
        if major == 9:
            own = [("arm64", f"v9.{at}") for at in range(minor, -1, -1)]
            minor += 5  # 9.0 includes 8.5
        older = [("arm64", f"v8.{at}") for at in range(minor, 0, -1)]
        return [*own, *older, ("arm64", ""), *(("arm", f"v{at}") for at in range(8, 4, -1))]
    if architecture == "arm":
        return [("arm", variant), *(("arm", f"v{at}") for at in range(major - 1, 4, -1))]
    return [(architecture, variant)]


def _level(variant: str) -> tuple[int, int]:
    """Return the numbers of ``v9.2``, 0 where there is none."""
    match = re.fullmatch(r"v([0-9])(?:\.([0-9]))?", variant)
    return (int(match[1]), int(match[2] or 0)) if match else (0, 0)
