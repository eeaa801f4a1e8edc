"""Random instructions that say how a container starts, and what variables there are."""

from __future__ import annotations

import random
from typing import Final

from tests.fuzz.values import VARIABLES, RandomValues

#: Arguments of all stages, before the first FROM.
_GLOBAL: Final = ("ARG G=global", "ARG H=${G}x", "ARG A=first", "ARG G", "ARG H=${A:-$G} D=d")
_OF_STAGES: Final = ("ARG G", "ARG H", "ARG G=own", "ARG A", "ARG H=$G", "ARG U=7 T=/points")
_PLATFORMS: Final = (
    "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "BUILDPLATFORM", "BUILDOS", "BUILDARCH",
)  # fmt: skip
_FIXED: Final = (
    "EXPOSE 80", "EXPOSE 53/udp 8000-8002", "VOLUME /v", 'VOLUME ["/v", "/x y"]', "CMD echo a",
    'CMD ["a", "b"]', 'ENTRYPOINT ["e"]', "ENTRYPOINT e f", "STOPSIGNAL 9", "STOPSIGNAL SIGTERM",
    'SHELL ["/bin/sh", "-ec"]', "HEALTHCHECK NONE", "HEALTHCHECK --interval=5s CMD true",
    "ONBUILD RUN true", "EXPOSE $A", "# a comment", "ENV E f g", 'SHELL ["/bin/sh", "-euc"]',
    "CMD []", "VOLUME /v$A", "STOPSIGNAL ${S:-SIGINT}", "LABEL $A=$B 'x y'=\"$C\"", "env d=e",
    "HEALTHCHECK --retries=2 CMD [\"a\", \"$A\"]", "MAINTAINER a $A", "ENTRYPOINT []",
    "EXPOSE ${P:-81}/tcp 82", "STOPSIGNAL $S", "CMD echo $A '$B' \"c\"", "ENTRYPOINT [\"$A\"]",
    "HEALTHCHECK --timeout=1m30s --start-period=3s \\\n  CMD echo $A", "CMD [ 'a' ]",
    "LABEL a=b \\\n  c=d", "LABEL one='a \\\n b' \\\n\n# between\n  two=c", "ENV X=1 \\\n# c\n Y=2",
    "USER $U:$U", "EXPOSE 80/TCP 80/udp",
)  # fmt: skip
_USERS: Final = (
    "root", "0", "0:0", "root:root", "daemon", "3", "5:6", "daemon:9", "$U", "${U:-root}",
)  # fmt: skip


class RandomConfiguration:
    """Instructions for one Dockerfile that make no files."""

    def __init__(self, dice: random.Random, new: bool, escape: str) -> None:
        self._dice = dice
        self._escape = escape
        self._values = RandomValues(dice, new, escape)

    def globals(self) -> list[str]:
        """Return what stands before the first FROM."""
        return self._dice.sample(_GLOBAL, self._dice.choice((0, 0, 1, 2, 3)))

    def arguments(self) -> tuple[str, ...]:
        """Return what is given by --build-arg."""
        given = (
            "A=given", "B=", "C=a b", "U=9", "T=/points/t", "D=$A", "http_proxy=http://p:1",
            "G=given", "H=$G", "TARGETOS=plan9",
        )  # fmt: skip
        return tuple(self._dice.sample(given, self._dice.choice((0, 0, 0, 1, 2, 3))))

    def name(self) -> str:
        """Return the name of a file, with variables."""
        return self._values.name()

    def workdir(self) -> str:
        """Return a WORKDIR, sometimes with variables in its name."""
        dice = self._dice
        names = ("/w", "w", "/w/v", "../r", "/x", "$A/z", ".", "/", f"/w/{self._values.name()}")
        return f"WORKDIR {dice.choice(names)}"

    def user(self) -> str:
        """Return a USER."""
        return f"USER {self._dice.choice(_USERS)}"

    def variable(self) -> str:
        """Return an ENV, LABEL or ARG."""
        dice = self._dice
        if dice.random() < 0.2:
            return dice.choice((*_OF_STAGES, f"ARG {dice.choice(_PLATFORMS)}"))
        if dice.random() < 0.1:
            name = dice.choice(_PLATFORMS)
            return f"LABEL {name.lower()}=${name}"
        names = VARIABLES[:-1]
        word = dice.choice(("ENV", "ENV", "LABEL", "ARG"))
        number = 1 if word == "ARG" else dice.randint(1, 3)
        pairs = (f"{dice.choice(names)}={self._values.word()}" for _ in range(number))
        return f"{word} {' '.join(pairs)}"

    def other(self) -> str:
        """Return one of the other instructions."""
        return self._dice.choice(_FIXED).replace("\\\n", f"{self._escape}\n")
