"""Random Dockerfiles over a context: stages, copies, commands, mounts, configuration."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Final

from tests.fuzz.configuration import RandomConfiguration
from tests.fuzz.contexts import RandomContext
from tests.fuzz.heredocs import random_copy, random_run
from tests.fuzz.mounts import IMAGE, MOUNTED_ON, RandomMounts
from tests.fuzz.named import RandomNamed
from tests.fuzz.remotes import FILES, GIT

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
#: Links of a stage, to be copied from and through.
LINKS: Final = (
    "mkdir -p /src/in /o && ln -s /src /o/abs && ln -s ../src/f /o/rel && ln -s nowhere /o/none && "
    "ln -s loop /o/loop && ln -s ../../.. /o/up && ln -s abs/in /o/two && ln /o/rel /o/hard && "
    "echo 2 > /src/in/g && echo 3 > '/o/x y'"
)
OF_LINKS: Final = (
    "/o", "/o/abs", "/o/abs/", "/o/abs/f", "/o/abs/*", "/o/rel", "/o/none", "/o/loop", "/o/up/src",
    "/o/up/../src/f", "/o/two", "/o/two/g", "/o/*", "/o/[ar]*", "/o/???", "/*/abs", "/o/hard",
)  # fmt: skip
_PLATFORMS: Final = (
    "linux/amd64", "$TARGETPLATFORM", "$BUILDPLATFORM", "${BUILDPLATFORM}", "linux/arm64",
)  # fmt: skip
#: Of servers; old builders have no repositories and no checksums.
_URLS: Final = (f"{FILES}/f.txt", f"{FILES}/empty", f"{FILES}/a.tar.gz", f"{FILES}/a.tar?x=1#y")
_REPOSITORIES: Final = tuple(
    f"{GIT}/r.git{rest}"
    for rest in ("", "#v1", "#main:sub", "#team/side", "?branch=main&subdir=sub", "?tag=v1")
)


#: Between two commands of a RUN.
COMMENTED: Final = tuple(f" && {escape}\n  # a comment\n  " for escape in "\\`")
_SPECIAL: Final = set(" []*'\"$\\\n")
_BASED: Final = re.compile(r"^(FROM (?:--\S+ )?)(BASE|MADE)\b", re.IGNORECASE)
_MADE: Final = re.compile(r"FROM (--\S+ )?MADE\b", re.IGNORECASE)
#: Flags that are refused unless they are allowed.
_REFUSED: Final = ("", " --security=insecure", " --security=sandbox", " --device=fuzz.com/x=one")
_HEREDOC: Final = re.compile(r"\A(RUN.* )<<'?(\w+)'?\n(.*)\n\2\Z", re.DOTALL)


class RandomDockerfile:
    """Lines of instructions, so that one can be left out, and what they need beside them."""

    def __init__(self, dice: random.Random, context: RandomContext) -> None:
        self._dice = dice
        self._context = context
        self._new = dice.random() < 0.2  # with what old builders do not know
        self.escape = "`" if dice.random() < 0.1 else "\\"
        self._config = RandomConfiguration(dice, self._new, self.escape)
        self.named = RandomNamed(dice, context, some=dice.random() < 0.12)
        self._stages = 0
        self.base = self._base_image() if dice.random() < 0.1 else ()
        self.lines = self._config.globals()
        for number in range(dice.choice((1, 1, 1, 2, 2, 3))):
            self._stage(number)
        self.target = f"s{dice.randrange(self._stages + 1)}" if dice.random() < 0.15 else ""
        self.arguments = self._config.arguments()

    def _base_image(self) -> tuple[str, ...]:
        """A Dockerfile of a base image with triggers, which `FROM MADE` names."""
        dice = self._dice
        makers = (
            self._copy, self._add, self._run, self._config.workdir, self._config.user,
            self._config.variable, self._config.other,
        )  # fmt: skip
        lines = [self._config.variable() for _ in range(dice.choice((0, 1)))]
        triggers = (dice.choice(makers)() for _ in range(dice.randint(1, 3)))
        lines += [_triggered(line) for line in triggers]
        return ("FROM BASE", f"RUN {FIRST}", *lines)

    def _from(self, number: int) -> str:
        dice = self._dice
        base = "BASE" if number == 0 or dice.random() < 0.5 else f"s{dice.randrange(number)}"
        if base == "BASE" and self.base and dice.random() < 0.7:
            base = "MADE"
        if base == "BASE" and self.named.images and dice.random() < 0.4:
            base = dice.choice(self.named.images)
        platform = f"--platform={dice.choice(_PLATFORMS)} " if dice.random() < 0.06 else ""
        base = "scratch" if dice.random() < 0.05 else base
        return f"FROM {platform}{base} AS s{number}"

    def _stage(self, number: int) -> None:
        dice = self._dice
        self.lines.append(self._from(number))
        if dice.random() < 0.6 and "scratch" not in self.lines[-1]:
            self.lines.append(f"RUN {FIRST}")
            if dice.random() < 0.3:
                self.lines.append(f"RUN {LINKS}")
        self._stages = number
        config = self._config
        kinds: list[tuple[int, Callable[[], str]]] = [
            (8, self._copy), (2, self._add), (9, self._run), (2, config.workdir), (1, config.user),
            (3, config.variable), (3, config.other), (1, self._copy_all), (1, self._onbuild),
        ]  # fmt: skip
        weights = [weight for weight, _ in kinds]
        for _ in range(dice.randint(1, 8)):
            _, make = dice.choices(kinds, weights)[0]
            self.lines.append(make())

    # -- files ------------------------------------------------------------------------------

    def _copy(self) -> str:
        dice = self._dice
        if self._stages and dice.random() < 0.35:
            taken = OF_LINKS if dice.random() < 0.3 else (*TAKEN, *PATHS)
            sources = [dice.choice(taken) for _ in range(dice.choice((1, 1, 2)))]
            return self._files(f"COPY --from=s{dice.randrange(self._stages)}", sources)
        if dice.random() < 0.05:
            return self._files(f"COPY --from={IMAGE}", ["/etc/passwd", "/var/spool"])
        if self.named.values and dice.random() < 0.4:
            name, sources = self.named.copied()
            return self._files(f"COPY --from={name}", sources)
        if self._new and dice.random() < 0.2:
            return random_copy(dice)
        return self._files("COPY", self._sources("file", "directory", "link", "hardlink"))

    def _add(self) -> str:
        if self._dice.random() < 0.1:
            urls = (*_URLS, *_REPOSITORIES) if self._new else _URLS
            return self._files("ADD", [self._dice.choice(urls)])
        return self._files("ADD", self._sources("archive", "file", "directory"))

    def _sources(self, *kinds: str) -> list[str]:
        dice = self._dice
        paths = self._context.paths(*kinds) or ["."]
        return [self._source(dice.choice(paths)) for _ in range(dice.choice((1, 1, 1, 2, 3)))]

    def _source(self, path: str) -> str:
        forms = ("", "", "", "", "/", "./", "slash", "star", "all", "up", "wild")
        form = self._dice.choice(forms)
        if form == "slash":
            return f"{path}/."
        if form == "star":
            parent, slash, name = path.rpartition("/")
            return f"{parent}{slash}{name[0]}*"
        if form == "all":
            return self._dice.choice((".", "*", "./*", "*/*"))
        if form == "up":
            return f"../{path}"
        if form == "wild":
            return wild(self._dice, path)
        return f"{form}{path}"

    def _files(self, words: str, sources: list[str]) -> str:
        dice = self._dice
        dest = dice.choice(DESTINATIONS)
        if dice.random() < 0.05:
            dest = f"/x/{self._config.name()}"
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
            written = [escaped(source, self.escape) for source in sources]
            return f"{words}{flags} {json.dumps([*written, dest])}"
        return f"{words}{flags} {' '.join(parts)}"

    def _new_flags(self, words: str) -> str:
        dice, flags = self._dice, ""
        if dice.random() < 0.4:
            flags += " --link"
        if dice.random() < 0.3:
            patterns = (
                "*.txt", "**/a", "lib", "*", "!a", "x/**", "e/f", "**/[a-b]*", "/a", "a/../b",
                "**", "!**/b", "?", "a/", "**/.h",
            )  # fmt: skip
            flags += "".join(f" --exclude={dice.choice(patterns)}" for _ in range(2))
        if words.startswith("COPY") and dice.random() < 0.3:
            flags += " --parents"
        return flags

    def _copy_all(self) -> str:
        return f"COPY --chown={self._dice.choice(('0', '5:6'))} . /ctx{self._dice.randrange(2)}/"

    def _onbuild(self) -> str:
        """A trigger, which a stage on this one executes."""
        config = self._config
        make = self._dice.choice(
            (self._copy, self._add, self._run, config.workdir, config.variable, config.other)
        )
        line = make()
        return line if "\n" in line or "--from=s" in line else _triggered(line)

    # -- commands ---------------------------------------------------------------------------

    def _run(self) -> str:
        dice = self._dice
        commands = [self._command() for _ in range(dice.randint(1, 4))]
        flags = ""
        if dice.random() < 0.5:
            mounts = RandomMounts(
                dice, self._context, self._stages, new=self._new, named=list(self.named.values)
            )
            flags, commands = f" {mounts.flags}", [*mounts.commands, *commands]
        if self._new:
            flags += dice.choice(("", "", " --network=none", " --network=default"))
            flags += dice.choices(_REFUSED, (50, 1, 1, 1))[0]
            if dice.random() < 0.15:
                return f"RUN{flags} {random_run(dice)}"
        text = " && ".join(commands)
        if dice.random() < 0.15:
            return f"RUN{flags} {json.dumps(['/bin/sh', '-c', text])}"
        if dice.random() < 0.1:
            end, lines = dice.choice(("EOF", "'E'")), "\n".join(commands)
            return f"RUN{flags} <<{end}\n{lines}\n{end.strip(chr(39))}"
        if dice.random() < 0.1:
            return f"RUN{flags} " + COMMENTED[self.escape == "`"].join(commands)
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


def wild(dice: random.Random, path: str) -> str:
    """Return a pattern that *path* matches, and perhaps others."""
    parts = path.split("/")
    at = dice.randrange(len(parts))
    name = parts[at]
    if not name.isalnum():
        return "/".join(["*"] * len(parts))
    forms = (
        f"[{name[0]}]{name[1:]}",
        "?" * len(name),
        f"[!-{name[0]}]*",
        f"[^{name[0]}]*",
        f"*{name[-1]}",
    )
    parts[at] = dice.choice(forms)
    return "/".join(parts)


def _triggered(line: str) -> str:
    """Return *line* as a trigger, if it can be one."""
    no = line.startswith(("#", "ONBUILD", "MAINTAINER", "env"))
    return line if no or "\n" in line else f"ONBUILD {line}"


def escaped(source: str, escape: str) -> str:
    """Return *source* as it is written in JSON so that its name is meant, and no pattern.

    The escape character escapes for the lexer; where there is a wildcard, a backslash for the
    pattern.
    """
    if source in ("*", "./*", "*/*") or source.endswith("*"):
        return source
    wild = set(source) & set("[*?")
    backslash = "\\" * (2 if wild else 1) * (2 if escape == "\\" else 1)
    escapes = {"[": "[[]", "*": "[*]", "?": "[?]", "\\": backslash}
    return "".join(
        escapes.get(each, f"{escape}{each}" if each in "$'\"" else each) for each in source
    )


def text_of(lines: Sequence[str], escape: str = "\\") -> str:
    """Return the Dockerfile of these instructions."""
    based = [_based(line) for line in lines]
    return "".join(f"{line}\n" for line in (*head_of(lines, escape), *based))


def head_of(lines: Sequence[str], escape: str) -> list[str]:
    """Return what stands before *lines* in the Dockerfile."""
    made = any(_MADE.match(line) for line in lines)
    directive = [f"# escape={escape}"] if escape != "\\" else []
    return [*directive, "ARG BASE=busybox", *(["ARG MADE"] if made else [])]


def without_heredocs(lines: Sequence[str]) -> list[str]:
    """Return the same for builders that have no heredocs, as far as there is such."""
    return [_HEREDOC.sub(lambda m: f"{m[1]}{m[3]}".replace("\n", " ; "), line) for line in lines]


def _based(line: str) -> str:
    return _BASED.sub(r"\1$\2", line)
