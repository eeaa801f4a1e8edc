"""RUN --mount in every mode: root, subordinate IDs, a single ID, a chroot make the same image."""

from __future__ import annotations

import os

import pytest

ENV = {"SOURCE_DATE_EPOCH": "1700000000"}
LINES = r"""FROM tools:1 AS made
RUN mkdir -p /o/sub && echo 1 > /o/f && ln -s f /o/l && chmod 710 /o/sub && touch /o/sub/g
RUN chown 5:6 /o/f /o/sub

FROM tools:1
WORKDIR /w
RUN --mount=target=/in,source=d --mount=source=d/f,target=/opt/deep/f \
    cat /in/f /opt/deep/f > got && stat -c '%a %u:%g %n' /in/* > seen
RUN --mount=source=d,target=/w/d,rw echo x > d/new; ls d > first
RUN --mount=source=d,target=d,rw ls d > second
RUN --mount=from=made,source=/o,target=/from cat /from/l && stat -c '%a %u:%g %n' /from/f > owned
RUN --mount=from=made,target=/from,rw echo 2 > /from/o/f && chown 7:8 /from/o/sub && \
    stat -c %u:%g /from/o/sub > mine
RUN --mount=from=made,target=/from,source=o stat -c %u:%g /from/sub > theirs && cat /from/f > kept
RUN --mount=type=cache,target=/c,id=a,uid=5,gid=6,mode=750 stat -c '%a %u:%g' /c > new && \
    echo here > /c/f && chown 33:44 /c/f && ln -s f /c/l && mkdir /c/sub
RUN --mount=type=cache,target=/x/y/z,id=a,uid=5,gid=6,mode=750 \
    --mount=type=cache,target=/x/z,id=a,uid=5,gid=6,mode=750 \
    cat /x/y/z/l > again && stat -c %u:%g /x/z/f >> again && touch /x/y/beside && \
    echo two > /x/z/two && cat /x/y/z/two >> again
RUN --mount=type=cache,target=/c,id=seeded,from=made,source=o \
    stat -c '%u:%g %n' /c/f /c/sub > seed && rm /c/f
RUN --mount=type=cache,target=/c,id=seeded,from=made,source=o ls /c > seed2
RUN --mount=type=tmpfs,target=/t --mount=target=/t/in,source=d \
    ls -a /t > tmp && touch /t/x && cat /t/in/f >> tmp
RUN --mount=target=/etc/passwd,source=d/f cp /etc/passwd /w/copied; ls / > root
WORKDIR /w/gone/deep
RUN rm -r /w/gone
USER 5:6
RUN --mount=type=tmpfs,target=in stat -c '%u:%g %n' /w/gone /w/gone/deep > owners
USER 0
WORKDIR /w
RUN mv gone/deep/owners owners
"""
#: What the image's working directory holds; as BuildKit makes it, except the caches of before.
WANTED = {
    "got": "f\nf\n",
    "seen": "604 0:0 /in/f\n755 0:0 /in/own\n",
    "first": "f\nnew\nown\n",
    "second": "f\nown\n",
    "owned": "644 5:6 /from/f\n",
    "mine": "7:8\n",
    "theirs": "5:6\n",
    "kept": "1\n",
    "new": "750 5:6\n",
    "again": "here\n33:44\ntwo\n",
    "seed": "5:6 /c/f\n5:6 /c/sub\n",
    "seed2": "l\nsub\n",
    "tmp": ".\n..\nin\nf\n",
    "copied": "f\n",
    "owners": "5:6 /w/gone\n5:6 /w/gone/deep\n",
}


@pytest.fixture(scope="module")
def context(session_tree):
    top = session_tree / "mounts-context"
    (top / "d").mkdir(parents=True)
    for path, mode in ((top, 0o755), (top / "d", 0o755)):
        path.chmod(mode)
    for name, mode in (("d/f", 0o604), ("d/own", 0o755), (".dockerignore", 0o644)):
        (top / name).write_text("ignored\n" if name.startswith(".") else "f\n")
        (top / name).chmod(mode)
    (top / "ignored").write_text("")
    (top / "Dockerfile").write_text(LINES)
    return top


MODES = {
    "root": (),
    "vfs": ("--driver", "vfs"),
    "overlay": ("--driver", "overlay"),
    "chroot": ("--isolation", "chroot"),
    "subordinate IDs": (),
    "single ID": (),
}


@pytest.fixture(scope="module")
def built(run_cli, session_tree, request, tools_context, context):
    """Return a function that builds in a mode; a second build must be cached whole."""

    def build(mode):
        user = {
            "subordinate IDs": "ordinary_user", "single ID": "rangeless_user",
        }.get(mode)  # fmt: skip
        user = user and request.getfixturevalue(user)
        root = (session_tree if user is None else user.home) / f"mounts-{mode.replace(' ', '')}"
        tools_context.parent.chmod(0o755)
        given = {"root": root, "user": user, "env": ENV}
        run_cli(*MODES[mode], "build", "-q", "-t", "tools:1", tools_context, **given).ok()
        first = run_cli(*MODES[mode], "build", "-q", "-t", "made:1", context, **given).ok().stdout
        again = run_cli(*MODES[mode], "build", "--progress=plain", context, **given).ok()
        assert again.stderr.count("CACHED") >= 15 and "DONE" not in again.stderr
        run_cli("builder", "prune", "-f", **given).ok()
        assert os.listdir(root / "mounts") and not list((root / "mounts").glob("*/layers/*"))
        assert not list((root / "mounts").glob("*/trees/*"))
        run_cli("system", "reset", "-f", **given).ok()
        return first

    return build


@pytest.mark.usefixtures("containers")
def test_what_commands_see_and_what_is_left(run_cli, tmp_path, tools_store, context):
    given = {"root": tools_store, "env": ENV}
    run_cli("build", "--no-cache", "-t", "mounts:1", context, **given).ok()
    script = (
        'for each in *; do echo "== $each"; cat $each; done; ls /x/y; ls -d /c /from /opt /in /t'
    )
    shown = run_cli("run", "--rm", "mounts:1", "sh", "-c", script, **given).stdout
    *files, rest = shown.replace("beside", "== \nbeside").split("== ")
    found = dict(each.split("\n", 1) for each in files if each)
    assert {name: found.get(name) for name in WANTED} == WANTED
    assert rest == "\nbeside\n"  # no mount point, but where a command has put something
    run_cli("rmi", "mounts:1", **given).ok()


@pytest.mark.campaign
@pytest.mark.usefixtures("root_only", "containers")
def test_an_image_is_the_same_in_each_mode(built):
    found = {mode: built(mode) for mode in MODES}
    assert len(set(found.values())) == 1, found


@pytest.mark.usefixtures("root_only", "containers")
@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("type=cache,target=/c,ro", "cannot mount a cache read-only"),
        ("type=tmpfs,target=/t,size=1m", "cannot limit the size"),
    ],
)
def test_what_a_chroot_cannot_keep_is_refused(run_cli, tmp_path, tools_context, mount, message):
    how = ("--driver", "vfs", "--isolation", "chroot")
    run_cli(*how, "build", "-q", "-t", "tools:1", tools_context, root=tmp_path / "store").ok()
    (tmp_path / "Dockerfile").write_text(f"FROM tools:1\nRUN --mount={mount} true\n")
    words = ("build", "-f", tmp_path / "Dockerfile", tools_context)
    done = run_cli(*how, *words, root=tmp_path / "store")
    assert done.code == 1 and message in done.stderr
    assert "or use --isolation namespaces where it works" in done.stderr
