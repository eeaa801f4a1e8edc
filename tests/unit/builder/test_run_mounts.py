"""RUN --mount: what a command has of each type, what counts in the cache, what is left."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from pathlib import Path

import pytest

from ocitool.errors import BuildError, DockerfileError, SandboxError, StepFailed
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.unreferenced import unreferenced_data
from ocitool.store.maintenance.usage.usage import usage
from ocitool.store.run_mounts import cache_name
from ocitool.store.store import Store

pytestmark = pytest.mark.slow


def run(tools, *lines, **options):
    return tools.build("\n".join(["FROM base:1", *lines]), **options)


def left(tools):
    """Copies that are left, and caches; what is in the trash goes at the end of a command."""
    top = Path(tools.store.layout.mounts)
    return [path.parent.name for path in (*top.glob("*/trees/*"), *top.glob("*/layers/*"))]


# -- bind ---------------------------------------------------------------------------------------


def test_files_of_the_context_are_seen_and_in_no_layer(tools):
    tools.put({"d": {}, "d/f": "text\n"})
    built = run(tools, "RUN --mount=source=d,target=/in/deep cat /in/deep/f; touch /own")
    assert built.output == "text\n"
    assert "own" in built.tree and not [name for name in built.tree if name.startswith("in")]
    assert left(tools) == []


def test_what_is_ignored_is_not_seen(tools):
    tools.put({".dockerignore": "d/secret\n", "d": {}, "d/f": "", "d/secret": ""})
    assert run(tools, "RUN --mount=source=d,target=/in ls /in").output == "f\n"


def test_only_the_path_that_is_used_counts_in_the_key(tools):
    tools.put({"d": {}, "d/f": "1\n", "other": "1\n"})
    line = "RUN --mount=source=d,target=/in cat /in/f"
    assert run(tools, line).output == "1\n"
    tools.put({"other": "2\n"})
    os.utime(tools.top / "d/f", (1, 1))
    os.utime(tools.top / "d", (1, 1))
    assert run(tools, line).executed == []
    tools.put({"d/f": "2\n"})
    assert run(tools, line).output == "2\n"
    (tools.top / "d").chmod(0o700)
    assert run(tools, line).executed != []  # the mode of the directory is seen


def test_a_name_with_wildcards_is_a_name(tools):
    tools.put({"a*": {}, "a*/f": "star\n", "ab": {}, "ab/f": "", "[x]\\": "file\n"})
    assert run(tools, "RUN --mount=source=a*,target=/in cat /in/f").output == "star\n"
    line = r"""RUN --mount='source=[x]\\\\,target=/in' cat /in"""
    assert run(tools, line).output == "file\n"
    with pytest.raises(BuildError, match=r'"/b\*": not found'):
        run(tools, "RUN --mount=source=b*,target=/in ls /in")


def test_a_bind_mount_is_read_only_and_a_writable_one_is_forgotten(tools):
    tools.put({"d": {}, "d/f": "1\n"})
    with pytest.raises(StepFailed):
        run(tools, "RUN --mount=source=d,target=/in touch /in/new")
    run(tools, "RUN --mount=source=d,target=/in,rw touch /in/new; rm /in/f")
    assert os.listdir(tools.top / "d") == ["f"]
    assert run(tools, "RUN --mount=source=d,target=/in,rw ls /in").output == "f\n"
    assert left(tools) == []


def test_a_context_that_changes_meanwhile_is_refused(tools, monkeypatch):
    from ocitool.builder.solver.mounts import bind

    tools.put({"d": {}, "d/f": "1\n"})
    write = bind.write_source

    def slow(*args):
        write(*args)
        (tools.top / "d/f").write_text("other\n")

    monkeypatch.setattr(bind, "write_source", slow)
    with pytest.raises(BuildError, match="the context changed while it was copied"):
        run(tools, "RUN --mount=source=d,target=/in cat /in/f")
    assert left(tools) == []


def test_a_stage_is_seen_as_it_is(tools):
    lines = (
        "FROM base:1 AS made", "RUN mkdir -p /o/sub; echo 1 > /o/f; ln -s /o/f /l",
        "FROM base:1", "RUN --mount=from=made,source=/l,target=/file cat /file",
        "RUN --mount=from=made,source=o,target=/in,rw echo 2 > /in/f; rmdir /in/sub",
        "RUN --mount=from=made,source=o,target=/in cat /in/f; ls /in",
    )  # fmt: skip
    assert tools.build("\n".join(lines)).output == "1\n1\nf\nsub\n"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("d", "/etc/passwd", "/etc/passwd: Not a directory"),
        ("d/f", "/etc", "/etc: Is a directory"),
        ("d", "/proc/x", "/proc/x: Invalid cross-device link"),
    ],
)
def test_a_target_that_cannot_be_one(tools, source, target, message):
    tools.put({"d": {}, "d/f": ""})
    with pytest.raises(SandboxError) as caught:
        run(tools, f"RUN --mount=source={source},target={target} true")
    assert message in caught.value.message and caught.value.hint
    assert left(tools) == []


def test_a_file_that_a_stage_does_not_have(tools):
    lines = ("FROM base:1 AS made", "FROM base:1", "RUN --mount=from=made,source=/no,target=/t ls")
    with pytest.raises(BuildError) as caught:
        tools.build("\n".join(lines))
    assert caught.value.message == '"/no": not found'
    assert caught.value.hint == "looked for in stage made" and caught.value.line == 3


# -- tmpfs and mount points ---------------------------------------------------------------------


def test_a_tmpfs_is_empty_and_limited(tools):
    with pytest.raises(StepFailed):
        run(tools, "RUN --mount=type=tmpfs,target=/t,size=64k head -c 200000 /dev/zero > /t/f")
    built = run(tools, "RUN --mount=type=tmpfs,target=/tmp/a ls /tmp/a; touch /tmp/a/f")
    assert built.output == "" and "tmp/a" not in built.tree
    with pytest.raises(StepFailed):
        run(tools, "RUN --mount=type=tmpfs,target=/t,ro touch /t/f")


def test_only_what_a_command_put_beside_a_mount_point_is_left(tools):
    line = "RUN --mount=type=tmpfs,target=/x/y/z --mount=type=cache,target=/c/d touch /x/f"
    assert sorted(run(tools, line).names()) == ["x", "x/f"]


def test_mounts_are_made_in_the_order_of_their_targets(tools):
    tools.put({"d": {}, "d/f": ""})
    line = "RUN --mount=source=d,target=/t/in --mount=type=tmpfs,target=/t ls /t; ls /t/in"
    assert run(tools, line).output == "in\nf\n"


# -- cache --------------------------------------------------------------------------------------


def test_a_cache_stays_and_is_in_neither_layer_nor_key(tools):
    first = run(tools, "RUN --mount=type=cache,target=/c echo 1 >> /c/f; touch /own")
    assert first.names() == ["own"]
    line = "RUN --mount=type=cache,target=/c cat /c/f"
    assert run(tools, line).output == "1\n"
    run(tools, "RUN --mount=type=cache,target=/c echo 2 >> /c/f")
    assert run(tools, line).executed == []
    assert run(tools, line, no_cache=True).output == "1\n2\n"
    other = "RUN --mount=type=cache,target=/c,id=other ls /c"
    assert run(tools, other).output == ""
    namespace = {"BUILDKIT_CACHE_MOUNT_NS": "mine"}
    assert run(tools, "RUN --mount=type=cache,target=/c ls /c", build_args=namespace).output == ""


def test_what_a_failed_command_left_in_a_cache_stays(tools):
    with pytest.raises(StepFailed):
        run(tools, "RUN --mount=type=cache,target=/c touch /c/kept; false")
    assert run(tools, "RUN --mount=type=cache,target=/c ls /c").output == "kept\n"


def test_two_mounts_of_one_id_are_one_directory(tools):
    for sharing in ("shared", "locked", "private"):
        mounts = " ".join(
            f"--mount=type=cache,target=/{name},id={sharing},sharing={sharing}" for name in "ab"
        )
        assert run(tools, f"RUN {mounts} touch /a/f; ls /b").output == "f\n"


def test_a_new_cache_begins_with_a_source(tools):
    lines = ("FROM base:1 AS seed", "RUN mkdir /s; echo 1 > /s/f", "FROM base:1")
    line = (
        "RUN --mount=type=cache,target=/c,from=seed,source=s cat /c/f; rm /c/f; touch /c/g; ls /c"
    )
    assert tools.build("\n".join([*lines, line])).output == "1\ng\n"
    again = tools.build("\n".join([*lines, line.replace("cat /c/f; rm /c/f; ", "")]))
    assert again.output == "g\n"
    file = "RUN --mount=type=cache,target=/c,id=x,from=seed,source=s/f ls"
    with pytest.raises(BuildError, match="is not a directory"):
        tools.build("\n".join([*lines, file]))
    assert len(left(tools)) == 1


def test_a_cache_with_a_source_of_nothing_is_refused(tools):
    with pytest.raises(DockerfileError, match="source=s is not supported without from"):
        run(tools, "RUN --mount=type=cache,target=/c,source=s true")


def test_an_id_is_no_path(tools):
    run(tools, "RUN --mount=type=cache,target=/c,id=../../../x touch /c/f")
    assert not os.path.exists(f"{tools.store.layout.root}/../x")
    assert left(tools) == ["layers"]


def _hold(root, name, exclusive, channel):
    """Use a cache, in a process of its own, until the other end of *channel* is used or closed."""
    with Store.open(root) as store, store.trees.cache(name, _empty, exclusive=exclusive):
        channel.send("ready")
        with contextlib.suppress(EOFError):
            channel.recv()


def _empty(sink):
    from ocitool.builder.solver.mounts.tree_writer import write_root
    from ocitool.layer.entry import Entry, Kind

    write_root(Entry("", Kind.DIRECTORY, 0o755), sink)


class Holder:
    """Another process that uses a cache, or waits for it."""

    def __init__(self, tools, name, *, exclusive=False):
        spawn = multiprocessing.get_context("spawn")
        self._channel, theirs = spawn.Pipe()
        given = (tools.store.layout.root, name, exclusive, theirs)
        self.process = spawn.Process(target=_hold, args=given)
        self.process.start()
        theirs.close()

    def has_it(self, seconds=60.0):
        return self._channel.poll(seconds) and self._channel.recv() == "ready"

    def end(self):
        self._channel.close()
        self.process.join()


@pytest.fixture
def holder(tools):
    """Return a function that starts another process which uses a cache."""
    started = []

    def start(name, **options):
        started.append(Holder(tools, name, **options))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_a_cache_that_begins_otherwise_is_another_one(tools):
    """As BuildKit: nobody finds a directory of other owners because of an equal ID or target."""

    def ids(options: str, source: str = "1") -> str:
        stage = f"RUN mkdir -p /d; echo {source} > /d/f"
        line = f"RUN --mount=type=cache,target=/c,{options} ls /c; touch /c/$(ls /c | wc -l)"
        built = tools.build("\n".join(["FROM base:1 AS s", stage, "FROM base:1", line]), **again)
        return built.output.replace("\n", " ")

    again = {"no_cache": True}
    seed = "from=s,source=/d"
    assert [ids("id=a"), ids("id=a,uid=3"), ids("id=a,mode=700"), ids(f"id=a,{seed}")] == [
        *("", "", "", "f "),
    ]
    assert [ids("id=a"), ids("id=a,mode=700,uid=0"), ids("mode=01700,id=a")] == [
        *("0 ", "0 ", "0 1 "),  # the permissions of a mode count
    ]
    # An owner that is given is another one than none; an own one does not count beside a source.
    assert [ids("id=a,gid=0"), ids("id=a,mode=0755"), ids("id=b,from=s,uid=0")] == ["", "0 ", ""]
    assert [ids(f"id=a,{seed}"), ids(f"id=a,{seed}", "2"), ids(f"id=a,{seed},uid=1")] == [
        *("1 f ", "f ", "1 2 f "),
    ]


def test_shared_caches_are_used_together_and_private_ones_are_not(tools, holder):
    run(tools, "RUN --mount=type=cache,target=/c,id=a touch /c/first")
    assert holder(cache_name("/a")).has_it()
    assert run(tools, "RUN --mount=type=cache,target=/c,id=a ls /c").output == "first\n"
    line = "RUN --mount=type=cache,target=/c,id=a,sharing=private ls /c; touch /c/second"
    assert run(tools, line).output == ""
    assert run(tools, line, no_cache=True).output == "second\n"


def test_a_locked_cache_is_waited_for_and_a_kill_unlocks_it(tools, holder):
    run(tools, "RUN --mount=type=cache,target=/c,id=a touch /c/first")
    first = holder(cache_name("/a"), exclusive=True)
    assert first.has_it()
    second = holder(cache_name("/a"))
    assert not second.has_it(0.5)  # nothing but a wait shows that it waits
    first.process.kill()
    assert second.has_it()
    second.end()
    line = "RUN --mount=type=cache,target=/c,id=a,sharing=locked ls /c"
    assert run(tools, line).output == "first\n"


# -- maintenance --------------------------------------------------------------------------------


def row(store):
    (found,) = (each for each in usage(store).rows if each.kind == "Cache mounts")
    return found


def test_caches_are_measured_and_pruned_but_not_while_they_are_used(tools, holder):
    run(tools, "RUN --mount=type=cache,target=/c,id=a head -c 5000 /dev/zero > /c/f")
    run(tools, "RUN --mount=type=cache,target=/c,id=b head -c 300 /dev/zero > /c/f")
    found = row(tools.store)
    assert (found.total, found.active, found.size, found.reclaimable) == (2, 0, 5300, 5300)
    user = holder(cache_name("/a"))
    assert user.has_it()
    assert row(tools.store).reclaimable == 300
    assert prune(tools.store).cache_mounts == 1
    user.end()
    assert prune(tools.store, cache=False).cache_mounts == 0
    assert prune(tools.store).cache_mounts == 1
    assert row(tools.store).total == 0
    assert run(tools, "RUN --mount=type=cache,target=/c,id=a ls /c").output == ""


def test_the_least_recently_used_caches_are_pruned(tools):
    for name, size in (("a", 5000), ("b", 3000), ("c", 300)):
        line = f"RUN --mount=type=cache,target=/c,id={name} head -c {size} /dev/zero > /c/f"
        run(tools, line)
        (path,) = Path(tools.store.layout.mounts).glob(f"*/layers/{cache_name('/' + name)}")
        os.utime(path, (ord(name), ord(name)))
    assert prune(tools.store, cache_space=1 << 20).cache_mounts == 0
    from ocitool.store.maintenance.usage.cache_mounts import prune_cache_mounts

    assert prune_cache_mounts(tools.store, space=3400) == [5000]
    assert prune_cache_mounts(tools.store, until=99 * 10**9) == [3000]


def test_what_a_killed_build_left_is_removed(tools):
    run(tools, "RUN --mount=type=cache,target=/c,id=a touch /c/f")
    dead = Path(tools.store.layout.mounts) / "vfs/trees/0123-dead/fs"
    if not dead.parent.parent.parent.exists():
        pytest.skip("this user keeps owners in extended attributes")
    dead.mkdir(parents=True)
    assert any("for mounts of processes that have ended" in line
               for line in unreferenced_data(tools.store))  # fmt: skip
    tools.store.sweep()
    assert not dead.exists()
    assert run(tools, "RUN --mount=type=cache,target=/c,id=a ls /c").output == "f\n"
