"""Many processes at work in one store at once, for minutes: nothing is lost, nothing stays."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.descendants import await_orphans, children
from tests.crash.invariants import Proof, contents, digests
from tests.crash.stage import FINISHED, Stage
from tests.crash.table import Fault, Table
from tests.fixtures.programs import Finished

#: What a name that everybody sets and removes may answer, whoever was faster.
_GONE: Final = "no such image: "


@dataclass(slots=True)
class Soak:
    """One store, and users who do not know of each other."""

    stage: Stage
    driver: str
    table: Table
    seed: int
    root: Path = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, minutes: float, users: int) -> None:
        """Let so many users work so long, and verify that the store is what it was."""
        own = children()
        self.root = self.stage.home(self.driver) / f"soak-{self.driver}"
        self.stage.fill(self.root, self.driver)
        names = [self._settle(user) for user in range(users)]
        images = {name: digests(self.root)[name] for name in (*FINISHED, *names)}
        proof = Proof(self.driver)
        self._verify(proof.recovered(self.root, images))  # and makes the indexes that it reads
        self._tidy(own)
        before = contents(self.root)
        threads = [threading.Thread(target=self._work, args=(user,)) for user in range(users)]
        for thread in threads:
            thread.start()
        time.sleep(minutes * 60)
        self._stop.set()
        for thread in threads:
            thread.join()
        self._verify(await_orphans(own))
        self._verify(proof.recovered(self.root, images))
        self._tidy(own)
        after = contents(self.root)
        self._verify([f"has grown by {path}" for path in sorted(after - before)])
        self._verify([f"has lost {path}" for path in sorted(before - after)])
        self._verify(proof.recovered(self.root, images))

    # -- users ------------------------------------------------------------------------------

    def _settle(self, user: int) -> str:
        """Give a user an image that nobody else touches; returns its name."""
        place = self.stage.work / f"own-{user}"
        place.mkdir(exist_ok=True)
        (place / "mark").write_text(f"mark of {user}\n")
        (place / "f2").write_text(f"own {user} f2\n")
        text = "FROM base:1\nCOPY mark f2 /own/\nRUN cat /own/mark > /by-run\n"
        (place / "Dockerfile").write_text(text)
        name = f"own-{user}:1"
        self._call("build", "-q", "-t", name, str(place)).ok()
        self._call("run", "--rm", "--network", "none", name, "true").ok()
        return name

    def _work(self, user: int) -> None:
        dice = random.Random(f"{self.seed} {self.driver} {user}")
        while not self._stop.is_set():
            action = dice.choice(_ACTIONS)
            try:
                wrong = action(self, user)
            except Exception as error:  # whatever it is, it is to be reported, and the others go on
                wrong = [repr(error)]
            with self._lock:
                self.table.done[(self.driver, action.__name__.strip("_"))] += 1
            self._verify(wrong, action.__name__.strip("_"))

    def _call(self, *words: str) -> Finished:
        return self.stage.run(self.root, self.driver, *words)

    def _run_own(self, user: int) -> list[str]:
        own = ("run", "--rm", "--network", "none", f"own-{user}:1", "cat", "/own/mark", "/by-run")
        done = self._call(*own)
        if done.code != 0 or done.stdout != f"mark of {user}\n" * 2:
            return [str(done)]
        return []

    def _run_shared(self, user: int) -> list[str]:
        shared = ("run", "--rm", "--network", "none", self.stage.pulled, "cat", "/pulled/f2")
        done = self._call(*shared)
        if _GONE in done.stderr and done.code in (1, 125):
            return []  # another has removed it meanwhile
        return [] if done.code == 0 and done.stdout == "pulled f2\n" else [str(done)]

    def _pull(self, user: int) -> list[str]:
        return _well(self._call("pull", "-q", self.stage.pulled))

    def _build_own(self, user: int) -> list[str]:
        words = ("build", "-q", "-t", f"own-{user}:1", f"{self.stage.work}/own-{user}")
        return _well(self._call(*words))

    def _build_shared(self, user: int) -> list[str]:
        return _well(self._call("build", "-q", "-t", "built:1", f"{self.stage.work}/app"))

    def _load(self, user: int) -> list[str]:
        return _well(self._call("load", "-q", "-i", f"{self.stage.work}/loaded.tar"))

    def _tag(self, user: int) -> list[str]:
        name = f"tagged-{user}:1"
        return [
            *_well(self._call("tag", f"own-{user}:1", name)),
            *_well(self._call("rmi", name)),
        ]

    def _save(self, user: int) -> list[str]:
        return _well(self._call("save", "-o", f"{self.stage.work}/saved-{user}.tar", "kept:1"))

    def _remove(self, user: int) -> list[str]:
        wrong: list[str] = []
        for name in (self.stage.pulled, "built:1", "loaded:1"):
            done = self._call("rmi", name)
            if not (done.code == 1 and _GONE in done.stderr):
                wrong += _well(done)
        return wrong

    def _prune(self, user: int) -> list[str]:
        return _well(self._call("system", "prune", "-f"))

    def _check(self, user: int) -> list[str]:
        """What moves is not corrupted: nothing may ever be wrong."""
        return _well(self._call("system", "check", "--progress", "quiet"))

    # -- proof ------------------------------------------------------------------------------

    def _tidy(self, own: set[int]) -> None:
        """Remove what is shared, and all that nobody uses; wait until it is gone."""
        self._remove(0)
        self._verify(self._prune(0))
        self._verify(await_orphans(own))

    def _verify(self, wrong: list[str], work: str = "the store") -> None:
        if wrong:
            how = f"seed {self.seed}"
            with self._lock:
                self.table.add(Fault(driver=self.driver, work=work, how=how, wrong=wrong))


_ACTIONS: Final = (
    Soak._run_own,
    Soak._run_own,
    Soak._run_shared,
    Soak._pull,
    Soak._build_own,
    Soak._build_shared,
    Soak._load,
    Soak._tag,
    Soak._save,
    Soak._remove,
    Soak._prune,
    Soak._check,
    Soak._check,
    Soak._check,
)


def _well(done: Finished) -> list[str]:
    return [] if done.code == 0 else [str(done)]
