"""Other ways to build the same: each has to make the same image, whatever that is.

So what no peer knows is compared, too: with other drivers, from the cache, from an archive or a
repository, with a stage given as an image, with other outputs, written differently.
"""

from __future__ import annotations

import io
import random
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.fixtures import images
from tests.fixtures.git_server import git
from tests.fuzz.builders import Built, Inputs, Ocitool, differences, stored
from tests.fuzz.cases import Case
from tests.fuzz.dockerfiles import text_of
from tests.fuzz.remotes import GIT, Remotes

_EPOCH: Final = "--source-date-epoch=1000000000"
_TRIED: Final = 4  # ways of each case
_OTHER_CACHES: Final = "--build-arg=BUILDKIT_CACHE_MOUNT_NS=again"

_WORD: Final = re.compile(r"\A[A-Z]+(?= )")

Compared = Iterator[tuple[Built, Built]]


class Ways:
    """Builders for other ways, and files that they need."""

    def __init__(
        self, work: Path, base: str, anew: Ocitool, remotes: Remotes, text: Callable[[str], str]
    ) -> None:
        self._work = work / "ways"
        self._work.mkdir()
        self._anew = anew
        self._cached = Ocitool(work / "anew", base, _EPOCH)
        self._drivers = {
            driver: Ocitool(work / driver, base, "--no-cache", _EPOCH, driver=driver)
            for driver in ("vfs", "erofs")
        }
        self._remotes = remotes
        self._text = text  # fills in what only the campaign knows
        self._number = 0
        self.counts: Counter[str] = Counter()

    def compared(self, case: Case, inputs: Inputs, first: Built) -> Iterator[tuple[str, str]]:
        """Yield the name of each way that makes another image than *first*, and the difference."""
        ways: dict[str, Callable[[Case, Inputs, Built], Compared]] = {
            "vfs": lambda *given: self._with_driver("vfs", *given),
            "erofs": lambda *given: self._with_driver("erofs", *given),
            "cached": self._from_cache,
            "anew": self._once_more,
            "archive": self._of_archive,
            "repository": self._of_repository,
            "stage": self._with_stage,
            "outputs": self._exported,
            "written": self._written,
            "stdin": self._on_stdin,
            "target": self._target_first,
        }
        for name in random.Random(str(case)).sample(list(ways), _TRIED):
            for one, other in ways[name](case, inputs, first):
                self.counts[f"{name}: compared"] += 1
                if bool(one.error) != bool(other.error) or (not one.error and one != other):
                    yield f"way {name}", "; ".join(differences(one, other)) or "other layers"

    def close(self) -> None:
        """Remove the stores and the files."""
        for builder in self._drivers.values():
            builder.close()
        shutil.rmtree(self._work, ignore_errors=True)

    def _with_driver(self, driver: str, case: Case, inputs: Inputs, first: Built) -> Compared:
        yield first, self._drivers[driver].build(inputs)

    def _from_cache(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        yield first, self._cached.build(inputs)

    def _once_more(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        yield first, self._anew.build(inputs, _OTHER_CACHES)

    def _of_archive(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        """An archive, and the directory that it was made of."""
        if case.tar or case.context.ignores:
            return
        top = self._copied(inputs)
        archive = self._work / "context.tar"
        with tarfile.open(archive, "w") as tar:
            for path in sorted(top.iterdir()):
                tar.add(path, path.name)
        inside = replace(inputs, context=top)
        given = replace(inputs, archive=archive)
        yield (
            self._anew.build(inside, f"{_OTHER_CACHES}1"),
            self._anew.build(given, f"{_OTHER_CACHES}2"),
        )

    def _of_repository(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        """A repository, and a directory with what git checks out."""
        if case.tar or case.context.ignores:
            return
        top = self._copied(inputs)
        (top / "Dockerfile").chmod(0o644)
        self._number += 1
        name = f"c{self._number}.git"
        git("init", "-q", at=top)
        git("add", "-A", at=top)
        git("commit", "-q", "-m", "all", at=top)
        bare, clone = self._remotes.repositories / name, self._work / "clone"
        shutil.rmtree(clone, ignore_errors=True)
        git("clone", "-q", "--bare", str(top), str(bare), at=self._work)
        git("clone", "-q", str(bare), str(clone), at=self._work)
        shutil.rmtree(clone / ".git")
        inside = replace(inputs, context=clone)
        url = self._remotes.addressed(f"{GIT}/{name}")
        given = replace(inputs, url=url)
        yield (
            self._anew.build(inside, f"{_OTHER_CACHES}3"),
            self._anew.build(given, f"{_OTHER_CACHES}4"),
        )

    def _copied(self, inputs: Inputs) -> Path:
        """Return a copy of the context with the Dockerfile in it."""
        top = self._work / "context"
        subprocess.run(["rm", "-rf", top], check=True)
        subprocess.run(["cp", "-a", inputs.context, top], check=True)
        shutil.copy(inputs.dockerfile, top / "Dockerfile")
        return top

    def _with_stage(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        """The first stage built before, and given as a layout."""
        if case.named or case.target == "s0" or not any(" AS s1" in line for line in case.lines):
            return
        end = next(at for at, line in enumerate(case.lines) if " AS s1" in line)
        own = "\n".join((*case.base, *case.lines[:end]))
        based = any(re.match("FROM s0", line) for line in case.lines)
        if "arm64" in own or (based and re.search("^(ONBUILD )?ARG|ONBUILD", own, re.MULTILINE)):
            return
        layout = self._work / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        words = tuple(word for word in inputs.words if word != "--target")
        words = tuple(word for word in words if word != case.target) if case.target else words
        stage = replace(inputs, words=(*words, "--target", "s0"))
        if self._cached.output(stage, f"type=oci,tar=false,dest={layout}"):
            return
        given = replace(inputs, words=(*inputs.words, f"--build-context=s0=oci-layout://{layout}"))
        found = self._anew.build(given, f"{_OTHER_CACHES}5")
        yield replace(first, digest=""), replace(found, digest="")

    def _exported(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        """Three outputs of one build, and what they have."""
        top = self._work / "outputs"
        subprocess.run(["rm", "-rf", top], check=True)
        top.mkdir()
        kinds = (f"type=tar,dest={top}/tar", f"type=local,dest={top}/local")
        oci = f"type=oci,tar=false,dest={top}/oci"
        words = (*inputs.words, *(f"--output={kind}" for kind in kinds))
        error = self._cached.output(replace(inputs, words=words), oci)
        if error:
            yield first, Built(error=error)
            return
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path in sorted((top / "local").iterdir()):
                tar.add(path, path.name)
        expected = {path: said.split(" security.")[0] for path, said in first.tree.items()}
        yield Built(tree=expected), Built(tree=images.tree([(top / "tar").read_bytes()]))
        local = images.tree([packed.getvalue()])
        yield Built(tree=_unowned(expected)), Built(tree=_unowned(local))
        yield first, stored(top / "oci")

    def _written(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        """The same instructions in small letters, with comments and blank lines between them."""
        lines = [_WORD.sub(lambda found: found[0].lower(), line) for line in case.lines]
        spaced = [each for line in lines for each in ("# a comment", "", line)]
        before = inputs.dockerfile.read_text()
        inputs.dockerfile.write_text(self._text(text_of(spaced, case.escape)))
        found = self._cached.build(inputs)
        inputs.dockerfile.write_text(before)
        yield first, found

    def _on_stdin(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        if case.tar or case.context.ignore_name.startswith("Dockerfile"):
            return
        yield first, self._cached.build(replace(inputs, stdin=True))

    def _target_first(self, case: Case, inputs: Inputs, first: Built) -> Compared:
        """Each stage built before as a target, anew, and then all, from the cache."""
        words = inputs.words if not case.target else inputs.words[2:]
        stage = replace(inputs, words=(*words, "--target", "s0"))
        self._anew.build(stage, f"{_OTHER_CACHES}6")
        yield first, self._cached.build(inputs)


def _unowned(tree: dict[str, str]) -> dict[str, str]:
    """Return *tree* without owners: files of a directory are the caller's."""
    return {path: re.sub(r" \d+:\d+", "", said, count=1) for path, said in tree.items()}
