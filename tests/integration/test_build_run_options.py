"""Options of a build for RUN: as root, as users with many IDs and with one, and by chroot."""

from __future__ import annotations

import os
import re

import pytest

pytestmark = pytest.mark.usefixtures("containers")
#: Each option, what RUN sees of it, and what is printed.
SEEN = (
    ("--volume={volume}/data:/data:O", "echo of the host >> /data/f; cat /data/f", "of the host"),
    ("--cap-drop=ALL", "cat /proc/self/status", "CapEff:\t0000000000000000"),
    ("--security-opt=no-new-privileges", "cat /proc/self/status", "NoNewPrivs:\t1"),
    ("--dns=192.0.2.7", "cat /etc/resolv.conf", "nameserver 192.0.2.7"),
    ("--dns-option=ndots:7", "cat /etc/resolv.conf", "options ndots:7"),
    ("--no-hosts", "cat /etc/hosts", "of the image"),
)
DOCKERFILE = "FROM tools:1\nCOPY hosts /etc/hosts\n" + "".join(
    f"RUN {command}; touch /made-{number}\n" for number, (_, command, _) in enumerate(SEEN)
)


#: Tried where there is time.
LONGER = ("ordinary_user", "chroot")
USERS = [
    pytest.param(name, marks=[pytest.mark.campaign] if name in LONGER else [])
    for name in ("root", "rangeless_user", *LONGER)
]


@pytest.fixture(params=USERS)
def build(request, run_cli, tools_context, session_tree, tmp_path):
    """Return a function that builds as one of these users, and the name of the user."""
    name, user = request.param, None
    if name.endswith("user"):
        user = request.getfixturevalue(name)
    elif os.geteuid() != 0:
        pytest.skip(f"{name} is for root")
    top = session_tree / f"run-options-{name}"
    top.mkdir(mode=0o755, exist_ok=True)
    for file, text in (("hosts", "of the image\n"), ("file", "of the host\n")):
        (top / file).write_text(text)
    (top / "data").mkdir(exist_ok=True)
    (top / "Dockerfile").write_text(DOCKERFILE)
    root = (user.home if user else top) / "store"
    how = ("--isolation", "chroot") if name == "chroot" else ()

    def build(*words, context=top):
        return run_cli(
            *how,
            "build",
            "--progress=plain",
            "--source-date-epoch=0",
            *words,
            context,
            root=root,
            user=user,
        )

    build("-q", "-t", "tools:1", context=tools_context).ok()
    return name, top, build


def options(top, name):
    """Return the options, and what RUN prints; by chroot there are no volumes."""
    seen = SEEN[name == "chroot" :]
    return [word.format(volume=top) for word, _, _ in seen], [printed for _, _, printed in seen]


def test_what_run_sees(build):
    name, top, run = build
    words, printed = options(top, name)
    done = run(*words).ok()
    assert [line for line in printed if line not in done.stderr] == [], done.stderr


def test_what_is_written_to_the_volume_is_lost(build):
    name, top, run = build
    words, _ = options(top, name)
    run(*words).ok()
    assert list((top / "data").iterdir()) == []


def test_one_digest_for_everybody(build):
    name, top, run = build
    words, _ = options(top, name)
    (digest,) = re.findall("^Digest .*", run(*words).ok().stdout, re.MULTILINE)
    DIGESTS.add(digest)
    assert len(DIGESTS) == 1
    assert "Nothing to do: all" in run(*words).stdout


#: Of all who have built.
DIGESTS: set[str] = set()


def test_a_limit_takes_effect_or_is_refused(build):
    name, _, run = build
    done = run("--memory=64m", "--no-cache")
    if name == "root":
        assert done.code in (0, 125)  # without cgroups it cannot be set
    if done.code:
        assert done.code == 125, str(done)
        said = "resource limits" if name == "chroot" else "--memory: "
        assert said in done.stderr
        assert "hint: " in done.stderr
