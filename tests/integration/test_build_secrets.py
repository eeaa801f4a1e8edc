"""RUN with secrets, in each isolation; and where their values must never be."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fixtures.deadlines import within
from tests.fixtures.isolated_builds import VALUE, Builder
from tests.fixtures.programs import python_environment

LEAKED = "le4ked-0123456789-abcdef"  # in another value, as it stays in the build cache
SECRET = "--mount=type=secret,id=token"


def found_in(directory: Path) -> list[str]:
    """Return the files below *directory* that have the value, also in base64."""
    forms = [VALUE.encode(), base64.b64encode(VALUE.encode())[:32]]
    found = []
    for folder, _, files in os.walk(directory):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with contextlib.suppress(FileNotFoundError), open(path, "rb") as opened:
                    data = opened.read()
                    if any(form in data for form in forms):
                        found.append(path)
    return found


def test_a_secret_is_a_file_and_a_variable_and_leaves_nothing(builder):
    done = builder.build(
        "RUN mkdir /out",
        f"RUN {SECRET} wc -c < /run/secrets/token > /out/size && stat -c '%a %u:%g'"
        " /run/secrets/token > /out/mode",
        f"RUN {SECRET},env=TOKEN echo ${{#TOKEN}} > /out/variable; test ! -e /run/secrets/token",
        f'RUN {SECRET},env=TOKEN,target=/t/x test "$TOKEN" = "$(cat /t/x)" && echo > /out/both',
        'RUN test ! -e /run/secrets && test ! -e /t && test -z "$TOKEN"',
    ).ok()
    assert VALUE not in done.stdout + done.stderr
    assert builder.files() == {
        "size": str(len(VALUE)), "mode": "400 0:0", "variable": str(len(VALUE)), "both": "",
    }  # fmt: skip
    shown = builder.run("history", "--no-trunc", "app:1").ok().stdout
    shown += builder.run("inspect", "app:1").ok().stdout
    assert VALUE not in shown and "/run/secrets" not in builder.run("export", "app:1").stdout
    assert found_in(builder.root) == []


def test_mode_and_owner(builder):
    builder.build(
        "RUN mkdir -m 777 /out",
        f"RUN {SECRET},target=/etc/key,mode=0440,uid=7,gid=8 stat -c '%a %u:%g' /etc/key > /out/it",
        "USER ann",
        f"RUN {SECRET},uid=7 cat /run/secrets/token > /dev/null && echo yes > /out/mine",
        f"RUN {SECRET} cat /run/secrets/token > /dev/null 2>&1; echo $? > /out/roots",
    ).ok()
    single = builder.mode == "single ID"  # docs/security.md: files in memory are root's, and open
    expected = {"it": "440 0:0" if single else "440 7:8", "mine": "yes"}
    assert builder.files() == {**expected, "roots": "0" if single else "1"}


def test_an_owner_that_a_user_namespace_does_not_have(builder):
    done = builder.build(f"RUN {SECRET},uid=123456 stat -c %u /run/secrets/token")
    ordinary = builder.mode == "this user" and os.geteuid() != 0  # with subordinate IDs or not
    if builder.mode != "subordinate IDs" and not (ordinary and done.code):
        assert done.code == 0, done
        return
    assert done.code == 125
    assert "/run/secrets/token with uid=123456 and gid=0: Invalid argument" in done.stderr
    assert "the user namespace does not map this ID" in done.stderr


def test_a_secret_that_was_not_given(builder):
    lines = (
        "RUN mkdir /out",
        "RUN --mount=type=secret,id=none,env=NONE test ! -e /run/secrets/none &&"
        ' echo "<${NONE-unset}>" > /out/none',
    )
    builder.build(*lines, value="").ok()
    assert builder.files() == {"none": "<>"}
    done = builder.build("RUN --mount=type=secret,id=none,required true")
    assert done.code == 1 and "Dockerfile:2: secret none: not found" in done.stderr
    assert "--secret id=none,src=FILE" in done.stderr


def test_a_value_is_no_part_of_the_cache_key(builder):
    line = f"RUN {SECRET} test -e /run/secrets/token"
    builder.build(line).ok()
    assert "Nothing to do" in builder.build(line, value="another").ok().stdout
    assert "Nothing to do" in builder.build(line, value="").ok().stdout


def test_a_secret_cannot_be_changed_for_later_steps(builder):
    builder.build(
        "RUN mkdir /out",
        f"RUN {SECRET},mode=0600 echo x > /run/secrets/token || echo refused > /out/how; true",
        f"RUN {SECRET} wc -c < /run/secrets/token > /out/size",
    ).ok()
    how = {} if builder.mode == "chroot" else {"how": "refused"}  # nothing is read-only there
    assert builder.files() == {**how, "size": str(len(VALUE))}


def test_a_leak_fails_the_build_by_name_and_nothing_is_stored_or_pushed(builder):
    before = builder.run("images", "-q").ok().stdout
    iid = builder.home / "iid"
    lines = (f"RUN {SECRET} mkdir /d && cp /run/secrets/token /d/leak",)
    pushed = ("--push", "-t", "127.0.0.1:9/a:1", "--iidfile", iid)
    for _ in range(2):  # the second time the step is cached
        done = builder.build(*lines, options=pushed, value=LEAKED)
        assert done.code == 1
        assert "Dockerfile:2: secret token is in the image: /d/leak in the layer" in done.stderr
        assert LEAKED not in done.stdout + done.stderr and not iid.exists()
        assert builder.run("images", "-q").ok().stdout == before
    builder.build(*lines, options=("--secret-scan=off",), value=LEAKED).ok()


def test_a_hard_link_to_a_secret_has_no_value(builder):
    """With namespaces it is refused; with chroot it is that to an empty file by the end."""
    done = builder.build(f"RUN {SECRET} ln /run/secrets/token /leak", value=LEAKED)
    assert (done.code == 0) == (builder.mode == "chroot"), done
    assert "is in the image" not in done.stderr


# -- while a step runs -----------------------------------------------------------------------------


@contextlib.contextmanager
def running(builder: Builder, *lines: str, source: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a build within the block, from when it has printed "begun" on."""
    context, source = builder.write(*lines), source or f"src={builder.home / 'value'}"
    env = {**(python_environment() if builder.user is None else builder.user.env), **builder.env}
    user = {} if builder.user is None else {
        "user": builder.user.uid, "group": builder.user.gid, "extra_groups": [],
    }  # fmt: skip
    python = sys.executable if builder.user is None else builder.user.python
    words = (
        python, "-m", "ocitool", "--root", builder.root, *builder.options, "build",
        "--progress", "rawjson", "--no-cache", "--secret", f"id=token,{source}",
        "--network", "host", "-t", "app:1", context,
    )  # fmt: skip
    process = subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=builder.home, **user,
    )  # fmt: skip
    process.seen = []
    try:
        with within(60):
            for line in process.stdout:
                process.seen.append(line)
                if base64.b64encode(b"begun\n").decode() in line:
                    break
        yield process
    finally:
        process.kill()
        process.communicate()


STEP = f"RUN {SECRET},env=TOKEN,target=/t echo begun; exec sleep 1000"


def processes_with_value(name: str) -> dict[int, str]:
    """Return the processes whose *name* in /proc, as cmdline, has the value."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
            if VALUE.encode() in file.read():
                found[int(pid)] = os.readlink(f"/proc/{pid}/exe").rpartition("/")[2]
    return found


def test_only_the_step_has_the_value_while_it_runs(builder):
    with running(builder, STEP) as process:
        assert processes_with_value("cmdline") == {}
        assert list(processes_with_value("environ").values()) in (["sleep"], ["busybox"])
        if builder.mode != "chroot":
            assert found_in(builder.root) == []
        assert VALUE not in "".join(process.seen)


def test_a_variable_of_the_caller_is_inherited_by_no_process_of_the_sandbox(builder):
    """ocitool itself has it from its caller, and so has the worker of an ordinary user's driver."""
    builder.env["CALLERS"] = VALUE
    try:
        with running(builder, STEP, source="env=CALLERS") as process:
            having = processes_with_value("environ")
            shim = next(pid for pid in children(process.pid) if b"-I\0-S\0-E" in cmdline(pid))
            inside = descendants(shim)
            assert shim not in having
            assert [pid for pid in inside if pid in having] == inside[-1:]  # the command
    finally:
        del builder.env["CALLERS"]


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return [*found, *(each for child in found for each in descendants(child))]


def test_a_kill_in_the_middle_of_a_step_leaves_no_value_on_disk(builder):
    with running(builder, STEP) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.read()  # until the step has ended, too
        with within(30):
            while found_in(builder.root):  # the shim ends a little later
                pass


def test_an_interrupt_leaves_no_value(builder):
    with running(builder, STEP) as process:
        process.send_signal(signal.SIGINT)
        text = process.stdout.read()
        assert process.wait() == 130 and VALUE not in text
    assert found_in(builder.root) == []


def test_events_have_no_value(builder):
    """Also where a step prints it, and fails."""
    done = builder.run(
        "build", "--progress", "rawjson", "--no-cache", "--network", "host",
        "--secret", f"id=token,src={builder.home / 'value'}",
        builder.write(f"RUN {SECRET} echo; cat /run/secrets/token; cat /run/secrets/token >&2; no"),
    )  # fmt: skip
    assert done.code == 127
    text = done.stdout + done.stderr
    logs = [
        base64.b64decode(log["data"]).decode()
        for line in text.splitlines() if line.startswith("{")
        for log in json.loads(line).get("logs", [])
    ]  # fmt: skip
    assert "***" in "".join(logs)
    assert VALUE not in text + "".join(logs)
