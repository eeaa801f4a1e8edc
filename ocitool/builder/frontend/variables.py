"""Which variables an instruction sees, and which a RUN gets.

Of an ARG and an ENV of one name the later counts; only ENV goes into the image.

Source: Dockerfile reference, "Using ARG variables", "Predefined ARGs", "Automatic platform ARGs".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ocitool.builder.dockerfile.expansion.expand import expand
from ocitool.builder.dockerfile.expansion.limit import Allowance
from ocitool.builder.dockerfile.expansion.variables import Lookup
from ocitool.oci.platform import Platform

#: May be given without an ARG, in any case, reach every RUN, and leave no trace in the history or
#: the cache.
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def platform_args(target: Platform, build: Platform, stage: str) -> dict[str, str]:
    """Return the arguments that are there without being given, once an ARG names them."""
    values = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("TARGET", target), ("BUILD", build)):
        values[f"{prefix}PLATFORM"] = platform.in_full
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
        values[f"{prefix}OSVERSION"] = platform.os_version
    return values


@dataclass(slots=True)
class Scope:
    """The variables of one stage, at one line.

    ``given`` are the ``--build-arg``s, ``globals`` what ARGs before the first FROM came to, the
    automatic ones included.  ``consumed`` collects the given names that an ARG has declared.
    """

    given: Mapping[str, str]
    globals: Mapping[str, str]
    consumed: set[str]
    env: dict[str, str] = field(default_factory=dict)
    declared: dict[str, None] = field(default_factory=dict)  # names of ARGs, first ones first
    allowance: Allowance = field(default_factory=Allowance)  # of the whole build
    #: Of each ARG before the first FROM, the variables that its default has.
    uses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _values: dict[str, str] = field(default_factory=dict)

    def inherit(self, env: Mapping[str, str]) -> None:
        """Take over the environment of a base image."""
        self.env = dict(env)
        self._values = dict(env)

    def copy(self) -> Scope:
        """Return the scope of a stage that is based on this one's."""
        return replace(
            self, env=dict(self.env), declared=dict(self.declared), _values=dict(self._values)
        )

    @property
    def values(self) -> Mapping[str, str]:
        """Every variable that is set here."""
        return self._values

    def expand(self, text: str, escape: str, lookup: Lookup | None = None) -> str:
        """Return *text* with its variables replaced; see `expansion.expand`."""
        lookup = self._values if lookup is None else lookup
        return expand(text, lookup, escape=escape, allowance=self.allowance)

    def set_env(self, name: str, value: str) -> None:
        """ENV: set, from here on and in the image."""
        self.env[name] = value
        self._values[name] = value

    def settle(self, name: str, value: str) -> None:
        """Replace the value of *name* where it is given or declared; ``""`` removes it."""
        kept = {name: value} if value else {}
        if name in self.given:
            self.given = {**{n: v for n, v in self.given.items() if n != name}, **kept}
        if name in self._values:
            self._values = {**{n: v for n, v in self._values.items() if n != name}, **kept}

    def declare(self, name: str, default: str | None) -> str | None:
        """ARG: given value > default > global value; without any of them it is unchanged.

        Returns the value, None without one.
        """
        self.declared[name] = None
        if name in self.given:
            self.consumed.add(name)
            value: str | None = self.given[name]
        elif default is not None:
            value = default
        else:
            value = self.globals.get(name)
        if value is not None:
            self._values[name] = value
        return value

    def arguments(self) -> dict[str, str]:
        """Return the declared arguments as a RUN has them: an ENV may have changed the value."""
        return {name: self._values.get(name, "") for name in self.declared}

    def run_env(self) -> dict[str, str]:
        """Return what a RUN gets and its cache key holds: ENV, and ARGs that have a value."""
        return dict(self._values)

    def proxies(self) -> dict[str, str]:
        """Return the proxies that were given, each under both of its names."""
        found = {}
        for given in sorted(self.given):  # of two spellings of one name the last counts
            if given.upper() in PROXIES:
                found[given.upper()] = self.given[given]
        return {
            spelling: value
            for name, value in found.items()
            if value
            for spelling in (name, name.lower())
        }
