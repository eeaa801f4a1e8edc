"""Random mounts of RUN, each with a command that writes down what it sees of the mount.

Targets lie below ``points``, which nothing else makes, and in directories that are there: old
builders leave mount points in the layer, ours must not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from tests.fuzz.contexts import RandomContext

#: What a stage often begins with, to be mounted on; ``under`` has to come back.
MOUNTED_ON: Final = "mkdir -p /kept/one && echo 1 > /kept/one/under && ln -s one /kept/link"
#: Cases in one campaign must not share caches: `SALT` is another text in each.
SALT: Final = "@SALT@"
IMAGE: Final = "@IMAGE@"  # the base's own name
SECRET: Final = "a value nobody should see\n"
_TARGETS: Final = (
    "/points/one", "/points/one/deep", "/kept/one", "/kept/link", "/usr", "/root", "/var/points",
    "points", "./points/x", "${T:-/points}/v", "/points/../points/up",
)  # fmt: skip
_OF_STAGES: Final = ("", "/", "/src", "/src/f", "/src/l", "/d", "d/e", "/etc", "/etc/passwd")
_MODES: Final = ("0700", "750", "711", "0")  # docker cuts other bits
_PLAIN: Final = re.compile(r"[\w./~\[\]-]+", re.ASCII)  # needs no quotes; docker cuts ü


class RandomMounts:
    """The mounts of one RUN: flags, and commands that look at what is mounted."""

    def __init__(
        self,
        dice: random.Random,
        context: RandomContext,
        stage: int,
        *,
        new: bool,
        named: Sequence[str] = (),
    ) -> None:
        self._dice = dice
        self._context = context
        self._stage = stage  # mounts are from earlier ones
        self._new = new  # with what old builders do not know
        self._named = named  # contexts
        targets = dice.sample(_TARGETS, dice.choice((1, 1, 1, 2, 3)))
        mounts = [self._mount(number, target) for number, target in enumerate(targets)]
        self.flags = " ".join(f"--mount={flag}" for flag, _ in mounts)
        self.commands = [command for _, command in mounts]

    def _mount(self, number: int, target: str) -> tuple[str, str]:
        make = self._dice.choices(
            (self._of_context, self._of_stage, self._cache, self._tmpfs, self._secret, self._ssh),
            (5, 4, 5, 2, 2, 1),
        )[0]
        return make(target, f"/seen{number}")

    def _of_context(self, target: str, seen: str) -> tuple[str, str]:
        dice = self._dice
        paths = [p for p in self._context.paths("file", "directory", "link") if _plain(p)]
        path = dice.choice(("", *paths))
        source = f",source={dice.choice(('', '', '/', './', '../'))}{path}" if path else ""
        key = dice.choice(("target", "target", "dst", "destination"))
        kind = dice.choice(("", "type=bind,"))
        return f"{kind}{key}={target}{source}{self._written()}", _copied(target, seen, "-r")

    def _of_stage(self, target: str, seen: str) -> tuple[str, str]:
        dice = self._dice
        if self._named and dice.random() < 0.6:
            flag = f"from={dice.choice(self._named)},source=/,target={target}{self._written()}"
            return flag, _copied(target, seen, "-a")
        from_ = f"s{dice.randrange(self._stage)}" if self._stage else IMAGE
        sources = _OF_STAGES if self._stage else ("/etc", "/etc/passwd", "/var/spool")
        source = dice.choice(sources)
        given = f",src={source}" if source else ",source=/src"
        return f"type=bind,from={from_}{given},target={target}{self._written()}", _copied(
            target, seen, "-a"
        )

    def _written(self) -> str:
        return self._dice.choice(("", "", "", ",ro", ",rw", ",readonly"))

    def _cache(self, target: str, seen: str) -> tuple[str, str]:
        """One of two caches of a stage: stages are executed at the same time.

        Of two mounts of one cache a chroot makes the second one a link.
        """
        dice = self._dice
        fields = [f"type=cache,id={dice.choice('ab')}{SALT}s{self._stage},target={target}"]
        if self._stage and dice.random() < 0.3:
            fields.append(f"from=s{dice.randrange(self._stage)},source=/src")
        else:
            fields += dice.sample(
                (f"mode={dice.choice(_MODES)}", "uid=3", "gid=4"), dice.choice((0, 0, 1, 2, 3))
            )
        sharing = dice.choice(("", "", "shared", "locked", "private"))
        fields += [f"sharing={sharing}"] if sharing else []
        look = f"stat -L -c '%a %u:%g' {target} > {seen} && cp -r {target}/. {seen}.d"
        write = f"echo {dice.randrange(9)} >> {target}/log && mkdir -p {target}/sub/{seen[-1]}"
        return ",".join(fields), f"{look} && {write}"

    def _tmpfs(self, target: str, seen: str) -> tuple[str, str]:
        del target  # buildah removes what a tmpfs covers: its own directories
        where = self._dice.choice(("/var/tmp", "/points/t"))
        size = self._dice.choice((",size=1m", "")) if self._new else ""
        return f"type=tmpfs,target={where}{size}", (
            f"ls -A {where} > {seen} && echo > {where}/f && mkfifo {where}/p"
        )

    def _secret(self, target: str, seen: str) -> tuple[str, str]:
        dice = self._dice
        if dice.random() < 0.2:
            return "type=secret,id=none", "test ! -e /run/secrets/none"
        path = dice.choice(("/run/secrets/s", f"{target}.s", "/kept/one/s"))
        fields = ["type=secret,id=s", *([f"target={path}"] if "run" not in path else ["required"])]
        fields += dice.sample(
            (f"mode={dice.choice(('0400', '444'))}", "uid=3", "gid=4"), dice.choice((0, 1, 3))
        )
        if self._new and dice.random() < 0.3:
            return "type=secret,id=s,env=S", f"echo ${{#S}} > {seen}"
        return ",".join(fields), f"stat -c '%a %u:%g %s' {path} > {seen}"

    def _ssh(self, target: str, seen: str) -> tuple[str, str]:
        dice = self._dice
        path = dice.choice(("$SSH_AUTH_SOCK", f"{target}.ssh"))
        fields = ["type=ssh", *([f"target={path}"] if path[0] != "$" else ["required"])]
        fields += dice.sample(
            (f"mode={dice.choice(('0600', '666'))}", "uid=3", "gid=4"), dice.choice((0, 1, 3))
        )
        return ",".join(fields), f"stat -c '%F %a %u:%g' {path} > {seen}"


def _plain(path: str) -> bool:
    return _PLAIN.fullmatch(path) is not None


def _copied(target: str, seen: str, how: str) -> str:
    """A command that copies what is mounted, a directory or a file."""
    return (
        f"rm -rf {seen} && if [ -d {target} ]; then cp {how} {target}/. {seen}; "
        f"else cp {how} {target} {seen}; fi"
    )
