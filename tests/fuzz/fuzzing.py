"""The campaign: each case is built by all, compared, and made small if there is a fault."""

from __future__ import annotations

import os
import pwd
import random
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.fuzz.builders import Buildah, Built, Docker, Inputs, Ocitool, differences
from tests.fuzz.cases import Case, random_case, smallest_case
from tests.fuzz.dockerfiles import FIRST, head_of, text_of, without_heredocs
from tests.fuzz.features import features
from tests.fuzz.known import known, not_asked
from tests.fuzz.mounts import IMAGE, SALT
from tests.fuzz.remotes import Remotes
from tests.fuzz.ways import Ways

#: How many of the cases get no error, as far as possible; the others compare errors.
_REPAIRED = 0.75
_PEERS = {"docker": Docker, "buildah": Buildah}
_AGAIN = ("--no-cache", "--source-date-epoch=1000000000")


class Fuzzing:
    """One campaign: its builders, and what was counted."""

    def __init__(
        self,
        work: Path,
        base: str,
        peers: list[str],
        *,
        isolation: str = "namespaces",
        user: str = "",
        ways: bool = False,
    ) -> None:
        self._work = work
        self.remotes = Remotes(work)
        self.context = work / "files" / "0"
        self.dockerfile = work / "files" / "Dockerfile"
        self.base = base
        self.salt = 0
        driver = "vfs" if isolation == "chroot" else "overlay"
        self.ours = Ocitool(work / "store", base, f"--isolation={isolation}", driver=driver)
        self.peers = [_PEERS[name](work, base) for name in peers]
        self.anew = Ocitool(work / "anew", base, *_AGAIN)
        self.others = {
            "chroot": Ocitool(work / "chroot", base, *_AGAIN, "--isolation=chroot", driver="vfs")
        }
        self.user = pwd.getpwnam(user) if user else None
        if self.user is not None:
            self.others["user"] = _of_user(work, base, self.user)
        self.ways = Ways(work, base, self.anew, self.remotes, self._text) if ways else None
        self.counts: Counter[str] = Counter()

    def close(self) -> None:
        """Remove what the builders keep."""
        self.remotes.close()
        if self.ways is not None:
            self.ways.close()
        for builder in (self.ours, *self.peers, self.anew, *self.others.values()):
            builder.close()

    def case(self, seed: int) -> bool:
        """Try one case; print it and return false if something is wrong with it."""
        dice = random.Random(seed)
        case = random_case(dice)
        self.counts["cases"] += 1
        if dice.random() < _REPAIRED:
            case = self._without_errors(case)
        for name in features(case):
            self.counts[f"feature: {name}"] += 1
        faults = list(self._faults(case))
        if not faults:
            return True
        self.counts["faults"] += 1
        counted = Counter(self.counts)
        print(f"--- seed {seed}\n{_text(faults[:10])}", flush=True)
        who, kind = faults[0][0], _difference(faults[0])

        def fails(fewer: Case) -> bool:
            return any(_difference(fault) == kind for fault in self._faults(fewer, who))

        small = smallest_case(case, fails)
        left = list(self._faults(small, who))
        self.counts = counted
        print(f"smallest:\n{small}\n{_text(left)}", flush=True)
        return False

    def _without_errors(self, case: Case) -> Case:
        """Leave out each instruction that ocitool refuses."""
        while at := _failed(self._ours(case).error, case):
            case = replace(case, lines=(*case.lines[:at], *case.lines[at + 1 :]))
        return case

    def _ours(self, case: Case) -> Built:
        """Lay out the case, and build it."""
        shutil.rmtree(self.context.parent, ignore_errors=True)
        self.salt += 1
        # Another directory each time: docker sometimes finds files of the last context of a path.
        self.context = self.context.with_name(str(self.salt))
        self.context.mkdir(parents=True)
        case.context.lay_out(self.context)
        case.context.lay_out_beside(self.dockerfile)
        if case.files is not None:
            self.named.mkdir()
            case.files.lay_out(self.named)
        return self.ours.build(self._inputs(case, case.lines))

    @property
    def named(self) -> Path:
        """The directory that is a named context."""
        return self.context.with_name("named")

    def _inputs(self, case: Case, lines: Sequence[str]) -> Inputs:
        """Write the Dockerfile of *lines*, and return what a builder is given."""
        self.dockerfile.write_text(self._text(text_of(lines, case.escape)))
        words = tuple(map(self._text, case.words))
        if "type=ssh" in str((case.lines, case.base)):
            words = (f"--ssh=default={self._key()}", *words)
        base = archive = None
        if case.base and any("MADE" in line for line in case.lines):
            base = self.dockerfile.with_name("base")
            base.write_text(self._text(text_of(case.base)))
        if case.tar:
            archive = self.dockerfile.with_name("context.tar")
            _pack(self.context, self.dockerfile, archive)
        return Inputs(
            dockerfile=self.dockerfile, context=self.context, words=words, base=base,
            archive=archive,
        )  # fmt: skip

    def _text(self, text: str) -> str:
        """Return *text* with what only this campaign knows."""
        text = text.replace(SALT, f"{os.getpid()}x{self.salt}").replace(IMAGE, self.base)
        text = text.replace("@NAMED@", str(self.named))
        if "@LAYOUT@" in text:
            text = text.replace("@LAYOUT@", str(self._layout()))
        return self.remotes.addressed(text)

    def _key(self) -> Path:
        """Return a private key for SSH agents."""
        key = self._work / "key"
        if not key.exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(command, check=True)
        return key

    def _layout(self) -> Path:
        """Return a layout with an image that named contexts are."""
        layout = self._work / "layout"
        if not layout.exists():
            file = self._work / "layout.dockerfile"
            file.write_text(text_of(["FROM BASE", f"RUN {FIRST}"]))
            inputs = Inputs(dockerfile=file, context=self.context)
            error = self.ours.output(inputs, f"type=oci,tar=false,dest={layout}")
            assert not error, error
        return layout

    def _faults(self, case: Case, who: str = "") -> Iterator[tuple[str, str]]:
        """Yield who differs, and how; of all, or of *who* alone."""
        ours = self._ours(case)
        if "Traceback" in ours.error or "took longer" in ours.error:
            yield "ours", ours.error
        for path in ours.tree:
            if re.search(r"(^|/)points(/|$)", path):
                yield "ours", f"a mount point is in the image: {path}"
        inputs = self._inputs(case, without_heredocs(case.lines))
        for peer in self.peers:
            if who in ("", peer.name):
                for line in self._unlike(peer, case, inputs, ours):
                    yield peer.name, line
        if not ours.error and not who.startswith(("docker", "buildah")):
            for name, line in self._again(case, self._inputs(case, case.lines), ours):
                if who in ("", name):
                    yield name, line

    def _unlike(
        self, peer: Docker | Buildah, case: Case, inputs: Inputs, ours: Built
    ) -> Iterator[str]:
        """Yield each difference from a peer that is not known."""
        if reason := not_asked(peer.name, case):
            self.counts[f"{peer.name}: not asked: {reason}"] += 1
            return
        theirs = peer.build(inputs)
        self.counts[f"{peer.name}: {_kind(ours, theirs)}"] += 1
        for line in differences(ours, theirs):
            if reason := known(peer.name, line, case):
                self.counts[f"{peer.name}: {reason}"] += 1
            else:
                yield line

    def _again(self, case: Case, inputs: Inputs, ours: Built) -> Iterator[tuple[str, str]]:
        for path in (self.context, *self.context.rglob("*")):
            os.utime(path, (10**9, 10**9), follow_symlinks=False)
        if case.tar:  # where times are of the archive's own
            inputs = self._inputs(case, case.lines)
        if self.ours.build(inputs).layers != ours.layers:
            yield "again", "with other times of files there are other layers"
        if self.user is not None:
            _give(self.context.parent, self.user.pw_uid)
            if (key := self._work / "key").exists():
                os.chown(key, self.user.pw_uid, self.user.pw_gid)
        anew = self.anew.build(inputs)
        for name, builder in self.others.items():
            other = builder.build(inputs)
            refused = "isolation" in other.error  # by name, with what to use
            self.counts[f"{name}: {'refused by name' if refused else _kind(anew, other)}"] += 1
            if other != anew and not refused:
                yield name, "; ".join(differences(anew, other)) or "other layers"
        if self.ways is not None and not anew.error:
            for name, line in self.ways.compared(case, inputs, anew):
                yield name, line
            self.counts += self.ways.counts
            self.ways.counts.clear()


def _of_user(work: Path, base: str, user: pwd.struct_passwd) -> Ocitool:
    """Return ocitool as an ordinary user, who has a store of its own."""
    work.chmod(0o711)
    store = work / "user"
    store.mkdir()
    os.chown(store, user.pw_uid, user.pw_gid)
    ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    home = ("env", "-C", "/", f"HOME={user.pw_dir}", f"USER={user.pw_name}")
    return Ocitool(store / "store", base, *_AGAIN, before=("setpriv", *ids, *home))


def _give(top: Path, owner: int) -> None:
    """Give all files to a user; chown(2) takes setuid bits, which they get back."""
    for path in (top, *top.rglob("*")):
        mode = path.lstat().st_mode
        os.chown(path, owner, owner, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(mode & 0o7777)


def _text(faults: list[tuple[str, str]]) -> str:
    return "\n".join(f"{who}: {line}" for who, line in faults)


def _difference(fault: tuple[str, str]) -> str:
    """Return what differs, without the values: this stays when a case becomes smaller."""
    who, line = fault
    what, _, ours = line.partition("ours ")
    return f"{who}: {what}{ours[:2] if what.startswith('error') else ''}"


def _pack(context: Path, dockerfile: Path, archive: Path) -> None:
    """Write a tar of the context, with the Dockerfile in it."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(context.iterdir()):
            tar.add(path, path.name)
        tar.add(dockerfile, "Dockerfile")


def _failed(error: str, case: Case) -> int:
    """Return which instruction an error names, counted from 0; 0 for none that can be left out."""
    found = re.search(r"Dockerfile:(\d+): ", error)
    rest = int(found[1]) - 1 - len(head_of(case.lines, case.escape)) if found else 0
    for at, line in enumerate(case.lines):
        if rest <= line.count("\n"):
            return 0 if line.startswith("FROM") else at
        rest -= line.count("\n") + 1
    return 0


def _kind(ours: Built, theirs: Built) -> str:
    if ours.error and theirs.error:
        return "both refuse"
    return "one refuses" if ours.error or theirs.error else "both build"
