"""Whatever tree an image has: the layer of a RUN holds what its command did, and nothing else."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.fixtures.examples import examples
from tests.fixtures.hostile_trees import trials
from tests.fixtures.programs import RunCli, User
from tests.fixtures.tools import install_tools

#: The digest of a tar without members.
EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
TEXT = 'FROM scratch\nCOPY bin /bin\nADD tree.tar /\nRUN ["/bin/true"]\n'
_KINDS = {
    "file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE,
}  # fmt: skip


def written(tree: list[list[Any]]) -> bytes:
    """Return a tar of the entries; of hard links those to what comes before."""
    data = io.BytesIO()
    there: set[str] = set()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path, kind, mode, content in tree:
            if path in there or (kind == "hard link" and content not in there):
                continue
            there.add(path)
            member = tarfile.TarInfo(path)
            member.type, member.mode, member.mtime = _KINDS[kind], mode, 10**9
            if kind in ("link", "hard link"):
                member.linkname = content.replace("OUTSIDE", "/etc")
            elif kind == "device":
                member.devmajor, member.devminor = map(int, content.split(":"))
            elif kind == "file":
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()) if kind == "file" else None)
    return data.getvalue()


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("how", "who"),
    [
        ((), ""),
        (("--driver", "vfs"), ""),
        (("--driver", "vfs", "--isolation", "chroot"), ""),
        ((), "ordinary_user"),
        ((), "rangeless_user"),
    ],
    ids=["root", "vfs", "chroot", "user", "single ID"],
)
@pytest.mark.usefixtures("root_only", "containers")
def test_a_step_that_does_nothing_has_an_empty_layer(
    run_cli: RunCli, session_tree: Path, request: pytest.FixtureRequest, how: Any, who: str
) -> None:
    user: User | None = request.getfixturevalue(who) if who else None
    home = session_tree if user is None else user.home
    context = Path(tempfile.mkdtemp(prefix="context", dir=session_tree))
    context.chmod(0o755)
    (context / "bin").mkdir()
    install_tools(context)
    (context / "Dockerfile").write_text(TEXT)
    root = home / f"built-{context.name}"

    @examples(15)  # each of them three or four processes in five modes
    @given(trials("namespaces"))
    def build(trial: dict[str, Any]) -> None:
        (context / "tree.tar").write_bytes(written(trial["tree"]))
        words = (*how, "build", "-q", "--no-cache", "--network", "host", "-t", "a:1", context)
        done = run_cli(*words, root=root, user=user)
        assert done.code == 0 or done.stderr.startswith("Error: "), done
        if done.code == 0:
            shown = run_cli(*how, "inspect", "a:1", root=root, user=user).ok().stdout
            assert json.loads(shown)[0]["RootFS"]["Layers"][-1] == EMPTY

    build()
    run_cli(*how, "system", "check", root=root, user=user).ok()
