"""Random Dockerfiles over a context: stages, copies, commands, mounts, configuration."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Final

from tests.fuzz.contexts import RandomContext
from tests.fuzz.mounts import IMAGE, MOUNTED_ON, RandomMounts

DESTINATIONS: Final = (
    "/", "/x", "/x/", "x", "./", ".", "/d/e/", "/d/e/f", "d/", "../up/", "/etc/", "/x/../y",
    "/tmp/", "$A/x/", "/v${B:-c}", "/x$none/y/",
)  # fmt: skip
#: What a stage often begins with, so that there is something to take from it.
FIRST: Final = (
    "mkdir -p /d/e /src && echo 1 > /src/f && ln -sf f /src/l && chown -R 5:6 /src && " + MOUNTED_ON
)
TAKEN: Final = ("/d", "/d/e", "/src", "/src/f", "/src/l", "/src/*", "src/.", "/etc/passwd", "/tmp")
PATHS: Final = ("/x", "/x/a", "/d", "/d/e", "/d/e/f", "/w", "/a", "/lib", "/src", "/tmp/n", "/y")
VALUES: Final = (
    "1", "'a b'", '"a b"', "a\\ b", "$A", "${A}", "${B:-c}", "${A:+d}", "\\$A", "'$A'", '"$A$B"',
    "ü", '""', "x=y", "a#b", '"a\\"b"', "${A}${B}x", "${none}", "'a'\"b\"c", "\"\\$A\"", "$",
    "${B:+}",
)  # fmt: skip


#: Between two commands of a RUN.
COMMENTED: Final = " && \\\n  # a comment\n  "
_SPECIAL: Final = set(" []*'\"$\\\n")
_HEREDOC: Final = re.compile(r"\A(RUN.* )<<'?(\w+)'?\n(.*)\n\2\Z", re.DOTALL)


class RandomDockerfile:
    """Lines of instructions, so that one can be left out; `text` is the whole file."""

    def __init__(self, dice: random.Random, context: RandomContext) -> None:
        self._dice = dice
        self._context = context
        self._new = dice.random() < 0.15  # with what old builders do not know
        self._stages = 0
        self.lines: list[str] = []
        for number in range(dice.choice((1, 1, 1, 2, 2, 3))):
            self._stage(number)
        self.target = f"s{dice.randrange(self._stages + 1)}" if dice.random() < 0.15 else ""
        given = ("A=given", "B=", "C=a b", "U=9", "T=/points/t", "D=$A", "http_proxy=http://p:1")
        self.arguments = tuple(dice.sample(given, dice.choice((0, 0, 0, 1, 2))))

    def _stage(self, number: int) -> None:
        dice = self._dice
        base = "BASE" if number == 0 or dice.random() < 0.5 else f"s{dice.randrange(number)}"
        base = "scratch" if dice.random() < 0.05 else base
        self.lines.append(f"FROM {base} AS s{number}")
        if dice.random() < 0.6 and base != "scratch":
            self.lines.append(f"RUN {FIRST}")
        self._stages = number
        kinds: list[tuple[int, Callable[[], str]]] = [
            (8, self._copy), (2, self._add), (9, self._run), (2, self._workdir), (1, self._user),
            (3, self._variable), (2, self._config), (1, self._copy_all), (1, self._onbuild),
        ]  # fmt: skip
        weights = [weight for weight, _ in kinds]
        for _ in range(dice.randint(1, 8)):
            _, make = dice.choices(kinds, weights)[0]
            self.lines.append(make())

    # -- files ------------------------------------------------------------------------------

    def _copy(self) -> str:
        dice = self._dice
        if self._stages and dice.random() < 0.35:
            sources = [dice.choice((*TAKEN, *PATHS)) for _ in range(dice.choice((1, 1, 2)))]
            return self._files(f"COPY --from=s{dice.randrange(self._stages)}", sources)
        if dice.random() < 0.05:
            return self._files(f"COPY --from={IMAGE}", ["/etc/passwd", "/var/spool"])
        if self._new and dice.random() < 0.2:
            return f"COPY <<a <<'b' {dice.choice(('/x/', '/d/e/', 'w/'))}\nx $A\na\n$A\nb"
        return self._files("COPY", self._sources("file", "directory", "link", "hardlink"))

    def _add(self) -> str:
        return self._files("ADD", self._sources("archive", "file", "directory"))

    def _sources(self, *kinds: str) -> list[str]:
        dice = self._dice
        paths = self._context.paths(*kinds) or ["."]
        return [self._source(dice.choice(paths)) for _ in range(dice.choice((1, 1, 1, 2, 3)))]

    def _source(self, path: str) -> str:
        form = self._dice.choice(("", "", "", "", "/", "./", "slash", "star", "all", "up"))
        if form == "slash":
            return f"{path}/."
        if form == "star":
            parent, slash, name = path.rpartition("/")
            return f"{parent}{slash}{name[0]}*"
        if form == "all":
            return self._dice.choice((".", "*", "./*", "*/*"))
        if form == "up":
            return f"../{path}"
        return f"{form}{path}"

    def _files(self, words: str, sources: list[str]) -> str:
        dice = self._dice
        dest = dice.choice(DESTINATIONS)
        if len(sources) > 1 and not dest.endswith("/"):
            dest += "/"
        flags = ""
        if dice.random() < 0.25:
            owner = dice.choice(
                ("7", "7:8", "daemon", "daemon:daemon", "root:7", "0:0", "$U", ":8")
            )
            flags = f" --chown={owner}"
        if dice.random() < 0.1:
            flags += f" --chmod={dice.choice(('644', '0755', '700', '1777'))}"
        if self._new:
            flags += self._new_flags(words)
        parts = [*sources, dest]
        if any(set(part) & _SPECIAL for part in sources) or dice.random() < 0.2:
            return f"{words}{flags} {json.dumps([*map(_escaped, sources), dest])}"
        return f"{words}{flags} {' '.join(parts)}"

    def _new_flags(self, words: str) -> str:
        dice, flags = self._dice, ""
        if dice.random() < 0.4:
            flags += " --link"
        if dice.random() < 0.3:
            patterns = ("*.txt", "**/a", "lib", "*", "!a", "x/**", "e/f", "**/[a-b]*")
            flags += "".join(f" --exclude={dice.choice(patterns)}" for _ in range(2))
        if words.startswith("COPY") and dice.random() < 0.3:
            flags += " --parents"
        return flags

    def _copy_all(self) -> str:
        return f"COPY --chown={self._dice.choice(('0', '5:6'))} . /ctx{self._dice.randrange(2)}/"

    def _onbuild(self) -> str:
        """A trigger, which a stage on this one executes."""
        make = self._dice.choice((self._copy, self._add, self._run, self._workdir, self._variable))
        line = make()
        return line if "\n" in line or "--from=s" in line else f"ONBUILD {line}"

    # -- commands ---------------------------------------------------------------------------

    def _run(self) -> str:
        dice = self._dice
        commands = [self._command() for _ in range(dice.randint(1, 4))]
        flags = ""
        if dice.random() < 0.5:
            mounts = RandomMounts(dice, self._context, self._stages, self._new)
            flags, commands = f" {mounts.flags}", [*mounts.commands, *commands]
        if self._new:
            flags += dice.choice(("", "", " --network=none", " --network=default"))
        text = " && ".join(commands)
        if dice.random() < 0.15:
            return f"RUN{flags} {json.dumps(['/bin/sh', '-c', text])}"
        if dice.random() < 0.1:
            end, lines = dice.choice(("EOF", "'E'")), "\n".join(commands)
            return f"RUN{flags} <<{end}\n{lines}\n{end.strip(chr(39))}"
        if dice.random() < 0.1:
            return f"RUN{flags} " + COMMENTED.join(commands)
        return f"RUN{flags} {text}"

    def _command(self) -> str:
        dice = self._dice
        one, other = dice.choice(PATHS), dice.choice(PATHS)
        parent = one.rpartition("/")[0]
        return dice.choice((
            f"mkdir -p {one}", f"mkdir -m {dice.choice(('700', '1777', '2755'))} -p {one}",
            f"rm -rf {one}",
            f"(mkdir -p {parent}/ && [ ! -p {one} ] && echo {other} > {one}) || true",
            f"(ln -s {other} {one} || true)", f"(ln {one} {other} || true)",
            f"(mv {one} {other} || true)", f"(cp -a {one} {other} || true)",
            f"(chmod {dice.choice(('600', '4755', 'g+s', '000'))} {one} || true)",
            f"(chown {dice.choice(('3:4', 'daemon'))} {one} || true)",
            f"(chown -h 9:9 {one} || true)", f"(mkfifo {one} || true)",
            f"(rm -rf {one} && mkdir -p {one} && echo n > {one}/n) || true",
            f"touch /t{dice.randrange(3)}", "env | sort | grep '^[AB]=' > /env || true",
            "pwd > /pwd", "id -u > /tmp/id || true",
        ))  # fmt: skip

    # -- configuration ----------------------------------------------------------------------

    def _workdir(self) -> str:
        return f"WORKDIR {self._dice.choice(('/w', 'w', '/w/v', '../r', '/x', '$A/z', '.', '/'))}"

    def _user(self) -> str:
        return "USER " + self._dice.choice((
            "root", "0", "0:0", "root:root", "daemon", "3", "5:6", "daemon:9", "$U", "${U:-root}",
        ))  # fmt: skip

    def _variable(self) -> str:
        dice = self._dice
        pairs = " ".join(
            f"{dice.choice('ABCD')}={dice.choice(VALUES)}" for _ in range(dice.randint(1, 3))
        )
        word = dice.choice(("ENV", "ENV", "LABEL", "ARG"))
        return (
            f"ARG {pairs.split('=')[0]}={dice.choice(VALUES)}"
            if word == "ARG"
            else f"{word} {pairs}"
        )

    def _config(self) -> str:
        return self._dice.choice((
            "EXPOSE 80", "EXPOSE 53/udp 8000-8002", "VOLUME /v", 'VOLUME ["/v", "/x y"]',
            "CMD echo a", 'CMD ["a", "b"]', 'ENTRYPOINT ["e"]', "ENTRYPOINT e f", "STOPSIGNAL 9",
            "STOPSIGNAL SIGTERM", 'SHELL ["/bin/sh", "-ec"]', "HEALTHCHECK NONE",
            "HEALTHCHECK --interval=5s CMD true", "ONBUILD RUN true", "EXPOSE $A", "# a comment",
            "LABEL a=b \\\n  c=d", "ENV E f g", 'SHELL ["/bin/sh", "-euc"]', "CMD []",
            "VOLUME /v$A", "STOPSIGNAL ${S:-SIGINT}", "LABEL $A=$B 'x y'=\"$C\"", "env d=e",
            "HEALTHCHECK --retries=2 CMD [\"a\", \"$A\"]", "MAINTAINER a $A", "ARG U=7 T=/points",
            "ARG A", "ENTRYPOINT []",
        ))  # fmt: skip


def _escaped(source: str) -> str:
    """Return *source* as it is written in JSON so that its name is meant, and no pattern.

    A backslash escapes for the lexer; where there is a wildcard, another one for the pattern.
    """
    if source in ("*", "./*", "*/*") or source.endswith("*"):
        return source
    wild = set(source) & set("[*?")
    escapes = {"[": "[[]", "*": "[*]", "?": "[?]", "\\": "\\" * (4 if wild else 2)}
    return "".join(escapes.get(each, f"\\{each}" if each in "$'\"" else each) for each in source)


def text_of(lines: Sequence[str]) -> str:
    """Return the Dockerfile of these instructions."""
    return "ARG BASE=busybox\n" + "".join(f"{_based(line)}\n" for line in lines)


def without_heredocs(lines: Sequence[str]) -> list[str]:
    """Return the same for builders that have no heredocs, as far as there is such."""
    return [_HEREDOC.sub(lambda m: f"{m[1]}{m[3]}".replace("\n", " ; "), line) for line in lines]


def _based(line: str) -> str:
    return line.replace("FROM BASE", "FROM $BASE", 1)
