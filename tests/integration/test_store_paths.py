"""Stores whose paths hold what options of overlays, messages and files of the system are cut at."""

from __future__ import annotations

import os

import pytest

from ocitool.drivers import select
from tests.fixtures.commands import failed

PATHS = {
    "comma": "a,b",
    "colon": "a:b",
    "backslash": "a\\b\\054",
    "newline": "a\nb",
    "blanks": "a b\tc",
    "quotes": "a\"b'c",
    "percent": "a%2cb?c#d",
    "no UTF-8": os.fsdecode(b"a\xffb"),
    "control": "a\x1b[31m\u202eb",
}
#: All but the colon, which one driver refuses, stand in one path; each by itself is a campaign.
TOGETHER = "".join(part for name, part in PATHS.items() if name != "colon")
CASES = [
    pytest.param(TOGETHER, id="together"),
    pytest.param(PATHS["colon"], id="colon"),
    *(
        pytest.param(path, id=name, marks=pytest.mark.campaign)
        for name, path in PATHS.items()
        if name != "colon"
    ),
]
DRIVERS = ("erofs", "overlay", "vfs", "fuse-overlayfs")
DOCKERFILE = "FROM scratch\nCOPY tree/ /\nENV PATH=/bin\nRUN mkdir /d && touch /d/f\nRUN rm -r /d\n"


@pytest.fixture(params=["root", "user"])
def user(request):
    """Who uses the store: None for root."""
    request.getfixturevalue("root_only")
    return request.getfixturevalue("ordinary_user") if request.param == "user" else None


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("path", CASES)
def test_a_driver_works_or_says_what_it_does_not_take(
    containers, store_root, tools_context, run_cli, user, driver, path
):
    if user is None:
        support = select.probe(driver, str(store_root / driver))
        if not support.ok:
            pytest.skip(f"needs {driver}: {support.reason}")
    elif driver == "erofs":
        pytest.skip("an ordinary user has no erofs")
    elif driver == "fuse-overlayfs" and user.run("sh", "-c", "exec 3<>/dev/fuse").code != 0:
        pytest.skip("needs a /dev/fuse that ordinary users may open")
    store_root.chmod(0o755)
    root = store_root / path
    root.mkdir()
    if user is not None:
        os.chown(root, user.uid, user.gid)
    dockerfile = tools_context / "Dockerfile.paths"
    dockerfile.write_text(DOCKERFILE)

    def run(*words):
        return run_cli("--driver", driver, *words, root=root, user=user)

    done = run("build", "-q", "-t", "app:1", "-f", dockerfile, tools_context)
    if driver == "fuse-overlayfs" and ":" in path:
        failed(done, 1, "driver fuse-overlayfs: fuse-overlayfs does not support a colon")
        assert "hint: use --root with a path without a colon" in done.stderr
        return
    done.ok()
    assert run("run", "--rm", "app:1", "sh", "-c", "echo works").ok().stdout == "works\n"
    assert run("system", "check").ok().stdout == "No problems found\n"


def test_the_longest_path_works_and_a_longer_one_is_reported(store_root, run_cli):
    room = 494 - len(os.fsencode(store_root)) - 1
    parts = [part for part in ("y" * 200, "z" * 200) if len(part) + 1 < room]
    room -= sum(len(part) + 1 for part in parts)
    root = store_root.joinpath(*parts) / ("w" * room)
    assert len(os.fsencode(root)) == 494
    longer = root.with_name("w" * (room + 1))
    done = run_cli("images", root=longer)
    failed(done, 1, "path of the store has 495 bytes, and the limit is 494")
    assert not longer.exists()
    run_cli("import", "-", "a:1", root=root, stdin="\0" * 1024).ok()
    run_cli("system", "df", root=root).ok()
    link = store_root / "link"
    link.symlink_to(longer)
    failed(run_cli("images", root=link), 1, "path of the store has 495 bytes")
