"""Every Dockerfile of ``testdata`` built by root, by users and in a chroot: one image.

Each is built without the cache, again, with the files of its context touched, and without the
cache again (`tests.fixtures.repeated_builds`): all steps are cached, and the digest stays.  With
one time of the image (SOURCE_DATE_EPOCH) the digest is the same whoever builds, and however, except
what ``testdata/builds/modes.yaml`` lists.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import images
from tests.fixtures.builds import CASES, RECIPES, RULES
from tests.fixtures.programs import python_environment
from tests.fixtures.repeated_builds import BUILD_REPEATEDLY
from tests.fixtures.tables import read_table
from tests.fixtures.tools import DOCKERFILE
from tests.fixtures.users import OrdinaryUser

EPOCH = 1_700_000_000  # seconds
ROWS = {
    f"{part}: {row['rule']}": row for part in RULES for row in RULES[part] if "dockerfile" in row
}
MODES = ("subordinate IDs", "single ID", "chroot")
#: Reasons by mode and case.
DIFFERS: dict[str, dict[str, str]] = read_table(RECIPES / "modes.yaml")

pytestmark = [pytest.mark.campaign, pytest.mark.usefixtures("containers")]


@dataclass(frozen=True)
class Builds:
    """What one user builds, below *top*: each has a context, and images that it needs."""

    top: Path
    base: str  # what the corpus is built on

    def all(self) -> list[dict[str, Any]]:
        """Return them, for `BUILD_REPEATEDLY`; the first makes the image ``base:1``."""
        shared = self.top / "context"
        base = self._build("base", DOCKERFILE, self.top / "tools", tags=["base:1"])
        texts = {name: text.replace("busybox:base", "$BASE") for name, text in CASES.items()}
        corpus = [
            self._build(name, text.replace("$BASE", self.base), shared)
            for name, text in texts.items()
        ]
        return [base, *corpus, *(self._row(name, row) for name, row in ROWS.items())]

    def _row(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        context = self.top / "context"
        if "files" in row:
            context = self.top / f"context-{len(os.listdir(self.top))}"
            context.mkdir()
            images.lay_out(row["files"], context)
        options = dict(row.get("options", {}))
        if "secrets" in options:
            options["secrets"] = {key: text.decode() for key, text in options["secrets"].items()}
        archives = []
        for image, fields in row.get("images", {}).items():
            archives.append(str(self.top / f"image-{len(os.listdir(self.top))}.tar"))
            config = {key: value for key, value in fields.items() if key != "layers"}
            recipes = fields.get("layers", [])
            images.write_docker_archive(Path(archives[-1]), image, recipes, config)
        return self._build(name, row["dockerfile"], context, archives, **options)

    @staticmethod
    def _build(
        name: str, text: str, context: Path, archives: list[str] | None = None, **options: Any
    ) -> dict[str, Any]:
        options["context"] = str(context)
        return {"name": name, "dockerfile": text, "images": archives or [], "options": options}


@pytest.fixture(scope="module")
def built(session_tree, busybox_base, tools_context, root_only, ordinary_user, rangeless_user):
    """Return a function that says what became of all in a mode; the modes build side by side."""
    users = {"subordinate IDs": ordinary_user, "single ID": rangeless_user}

    def build(mode: str) -> dict[str, str]:
        user = users.get(mode)
        top = (session_tree if user is None else user.home) / f"repeated-{mode.replace(' ', '-')}"
        (top / "context").mkdir(parents=True)
        images.lay_out(read_table(RECIPES / "context.yaml"), top / "context")
        shutil.copytree(tools_context, top / "tools", symlinks=True)
        (top / "tools/tree/tmp").chmod(0o1777)
        return _build_all(mode, Builds(top, busybox_base).all(), top, user)

    with ThreadPoolExecutor() as pool:
        made = {mode: pool.submit(build, mode) for mode in ("root", *MODES)}
        yield lambda mode: made[mode].result()


def _build_all(
    mode: str, builds: list[dict[str, Any]], top: Path, user: OrdinaryUser | None
) -> dict[str, str]:
    if user is not None:
        _give(top, user)
    chroot = {"OCITOOL_ISOLATION": "chroot"} if mode == "chroot" else {}
    run = partial(subprocess.run, env={**python_environment(), **chroot})
    python = sys.executable
    if user is not None:
        python = user.python
        run = partial(subprocess.run, env=user.env, user=user.uid, group=user.gid, extra_groups=[])
    words = [str(top / "store"), "vfs" if chroot else "", str(EPOCH)]
    done = run(
        [python, "-c", BUILD_REPEATEDLY, *words],
        input=json.dumps(builds), capture_output=True, text=True, cwd=top, umask=0o077,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return {name: said.replace(str(top), "") for name, said in found.items()}


def _give(top: Path, user: OrdinaryUser) -> None:
    """Make *user* the owner of all below *top*; that takes setuid off, so it is set again."""
    for path in (top, *top.rglob("*")):
        state = path.lstat()
        os.lchown(path, user.uid, user.gid)
        if not path.is_symlink():
            path.chmod(state.st_mode & 0o7777)


@pytest.mark.parametrize("name", [*CASES, *ROWS])
def test_again_touched_and_without_the_cache_it_is_the_same_image(name, built):
    said = built("root")[name]
    if "error" in ROWS.get(name, {}):
        assert said == f"error: {ROWS[name]['error']}"
    else:
        assert said.startswith("sha256:")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*CASES, *ROWS])
def test_it_is_the_same_image_in_each_mode(name, mode, built):
    same = built(mode)[name] == built("root")[name]
    if name in DIFFERS.get(mode, {}):
        assert not same, f"{name} agrees by now: take it out of modes.yaml"
    else:
        assert same, (built(mode)[name], built("root")[name])


def test_the_list_of_differences_names_cases():
    assert {name for names in DIFFERS.values() for name in names} <= {*CASES, *ROWS}
