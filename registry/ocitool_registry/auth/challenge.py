"""``WWW-Authenticate``: the challenges of a 401 response.

Source: RFC 9110, section 11.6.1: one field may contain several challenges, separated by commas as
their parameters are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:\s+|(?=,)|$)")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_GAP: Final = re.compile(r"[\s,]*")
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; scheme and parameter names are lower-case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """Return a parameter, or ``""``."""
        return self.parameters.get(name, "")


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return all challenges of a header in their order; malformed parts are ignored."""
    found: list[Challenge] = []
    at = _past_gap(header, 0)
    while at < len(header):
        # "name=" belongs to the current challenge, a word alone begins the next one.
        parameter = _PARAMETER.match(header, at)
        if parameter is not None and found:
            _add(found[-1], parameter)
            at = parameter.end()
        elif (scheme := _SCHEME.match(header, at)) is not None:
            found.append(Challenge(scheme[1].lower(), {}))
            at = _skip_token68(header, scheme.end())
        else:
            comma = header.find(",", at)
            at = len(header) if comma < 0 else comma
        at = _past_gap(header, at)
    return tuple(found)


def _past_gap(header: str, at: int) -> int:
    gap = _GAP.match(header, at)
    return at if gap is None else gap.end()


def choose(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Return the challenge to answer: Bearer is preferred to Basic; others are not supported."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    return None


def _add(challenge: Challenge, match: re.Match[str]) -> None:
    value = match[3] if match[2] is None else _QUOTED_PAIR.sub(r"\1", match[2])
    assert isinstance(challenge.parameters, dict)
    challenge.parameters.setdefault(match[1].lower(), value)


def _skip_token68(header: str, at: int) -> int:
    match = _TOKEN68.match(header, at)
    # A word alone might be the next scheme; a token is what follows a scheme without a comma.
    return match.end() if match is not None else at
