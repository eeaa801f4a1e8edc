"""RUN with secrets and SSH agents, in each isolation; and where their values must never be."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fixtures.deadlines import within
from tests.fixtures.programs import Finished, RunCli, python_environment
from tests.fixtures.tools import install_program
from tests.fixtures.trees import remove_tree
from tests.fixtures.users import OrdinaryUser

VALUE = "tops3cret-0123456789-abcdef"
LEAKED = "le4ked-0123456789-abcdef"  # in another value, as it stays in the build cache
MODES = ("this user", "chroot", "subordinate IDs", "single ID")
SECRET = "--mount=type=secret,id=token"


@dataclass
class Builder:
    """Builds in one isolation, on an image with a few tools."""

    mode: str
    run_cli: RunCli
    home: Path
    user: OrdinaryUser | None
    options: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.home / "store"

    def run(self, *words: object, **how: object) -> Finished:
        how.setdefault("env", self.env)
        return self.run_cli(*self.options, *words, root=self.root, user=self.user, **how)

    def write(self, *lines: str, value: str = VALUE) -> Path:
        """Write a Dockerfile, and the value into a file outside of the context."""
        context = self.home / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text("\n".join(["FROM tools:1", *lines, ""]))
        (self.home / "value").write_text(value)
        for path in (self.home, context, self.home / "value", context / "Dockerfile"):
            if self.user is not None:
                os.chown(path, self.user.uid, self.user.gid)
        return context

    def build(self, *lines: str, options: tuple[object, ...] = (), value: str = VALUE) -> Finished:
        """Build these lines with the secret "token", but for an empty *value*."""
        given = ("--secret", f"id=token,src={self.home / 'value'}") if value else ()
        words = (*given, *options, "--network", "host", self.write(*lines, value=value))
        return self.run("build", "--progress", "plain", "-t", "app:1", *words)

    def files(self, image: str = "app:1") -> dict[str, str]:
        """Return the text of the files in /out of the image."""
        shown = self.run("run", "--rm", "--network", "host", image, "sh", "-c", SHOW).ok().stdout
        return dict(line.partition("=")[::2] for line in shown.splitlines())


SHOW = "cd /out && for f in *; do echo $f=$(cat $f); done"


@pytest.fixture(scope="module", params=MODES)
def builder(request, run_cli, session_tree, containers, tools_context) -> Iterator[Builder]:
    """A builder with the image tools:1, in each mode."""
    mode, user = request.param, None
    if mode == "chroot" or mode in ("subordinate IDs", "single ID"):
        request.getfixturevalue("root_only")
    if mode == "subordinate IDs":
        user = request.getfixturevalue("ordinary_user")
    elif mode == "single ID":
        user = request.getfixturevalue("rangeless_user")
    top = session_tree if user is None else user.home
    home = top / f"secrets-{mode.replace(' ', '-')}"
    home.mkdir()
    options = ("--driver", "vfs", "--isolation", "chroot") if mode == "chroot" else ()
    made = Builder(mode, run_cli, home, user, options)
    if user is not None:
        os.chown(home, user.uid, user.gid)
        shutil.copytree(tools_context, home / "tools", symlinks=True)
        subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", home / "tools"], check=True)
        tools_context = home / "tools"
    made.run("build", "-q", "-t", "tools:1", tools_context).ok()
    yield made
    remove_tree(home)


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
def running(builder: Builder, *lines: str, source: str = "src") -> Iterator[subprocess.Popen[str]]:
    """Run a build within the block, from when it has printed "begun" on."""
    context = builder.write(*lines)
    env = {**(python_environment() if builder.user is None else builder.user.env), **builder.env}
    user = {} if builder.user is None else {
        "user": builder.user.uid, "group": builder.user.gid, "extra_groups": [],
    }  # fmt: skip
    python = sys.executable if builder.user is None else builder.user.python
    words = (
        python, "-m", "ocitool", "--root", builder.root, *builder.options, "build",
        "--progress", "rawjson", "--no-cache", "--secret", f"id=token,src={builder.home / 'value'}",
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


def processes_with_value(name: str) -> list[str]:
    """Return the processes whose *name* in /proc, as cmdline, has the value."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
            if VALUE.encode() in file.read():
                found.append(os.readlink(f"/proc/{pid}/exe"))
    return found


def test_only_the_step_has_the_value_while_it_runs(builder):
    with running(builder, STEP) as process:
        assert processes_with_value("cmdline") == []
        assert [path.rpartition("/")[2] for path in processes_with_value("environ")] in (
            [["sleep"]], ["sleep"], ["busybox"],
        )  # fmt: skip
        if builder.mode != "chroot":
            assert found_in(builder.root) == []
        assert VALUE not in "".join(process.seen)


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


# -- SSH -------------------------------------------------------------------------------------------

needs_ssh = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh-keygen", "ssh-agent", "ssh-add"))),
    reason="needs OpenSSH's client (package openssh-client)",
)


@pytest.fixture(scope="module")
def ssh_builder(builder) -> Builder:
    """The builder, with ssh-add in its image ssh:1, and a key of its user."""
    context = builder.home / "ssh"
    for name in ("bin", "lib", "lib64"):
        (context / "tree" / name).mkdir(parents=True)
    install_program(context / "tree", "ssh-add")
    (context / "Dockerfile").write_text("FROM tools:1\nCOPY tree/ /\n")
    key = builder.home / "key"
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", key], check=True
        )
    if builder.user is not None:
        owner = f"{builder.user.uid}:{builder.user.gid}"
        subprocess.run(["chown", "-R", owner, context, key, f"{key}.pub"], check=True)
    builder.run("build", "-q", "-t", "ssh:1", context).ok()
    return builder


def ssh_build(builder: Builder, *lines: str, options: tuple[object, ...] = ()) -> Finished:
    context = builder.write(*lines)
    text = (context / "Dockerfile").read_text().replace("FROM tools:1", "FROM ssh:1")
    (context / "Dockerfile").write_text(text)
    words = ("--network", "host", "--no-cache", "-t", "app:1", *options, context)
    return builder.run("build", "--progress", "plain", *words)


@needs_ssh
def test_a_step_lists_and_signs_with_a_key_file(ssh_builder):
    public = (ssh_builder.home / "key.pub").read_text().split()[:2]
    ssh_build(
        ssh_builder,
        "RUN mkdir -m 777 /out",
        "RUN --mount=type=ssh ssh-add -L > /out/listed && echo $SSH_AUTH_SOCK > /out/path &&"
        " stat -c '%a %u' $SSH_AUTH_SOCK > /out/mode",
        "USER ann",
        "RUN --mount=type=ssh,uid=7,target=/tmp/my/agent ssh-add -l && echo yes > /out/ann",
        "USER 0",
        "RUN --mount=type=ssh test ! -e /tmp/my && ! ssh-add -D && ssh-add -l",
        'RUN test ! -e /run/buildkit && test -z "$SSH_AUTH_SOCK"',
        options=("--ssh", f"default={ssh_builder.home / 'key'}"),
    ).ok()
    assert ssh_builder.files() == {
        "listed": " ".join([*public, "key"]), "path": "/run/buildkit/ssh_agent.0",
        "mode": "600 0", "ann": "yes",
    }  # fmt: skip


@needs_ssh
def test_a_step_uses_the_callers_agent(ssh_builder):
    path = ssh_builder.home / "agent.sock"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        **({} if ssh_builder.user is None
           else {"user": ssh_builder.user.uid, "group": ssh_builder.user.gid, "extra_groups": []}),
    )  # fmt: skip
    try:
        process.stdout.readline()  # it listens
        env = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        how = {} if ssh_builder.user is None else {"user": ssh_builder.user.uid}
        subprocess.run(["ssh-add", "-q", ssh_builder.home / "key"], env=env, check=True, **how)
        ssh_builder.env["SSH_AUTH_SOCK"] = str(path)
        ssh_build(
            ssh_builder,
            "RUN mkdir /out",
            "RUN --mount=type=ssh,id=one --mount=type=ssh,id=two ls /run/buildkit > /out/all &&"
            " ssh-add -L > /out/listed",
            options=("--ssh", "one", "--ssh", f"two={ssh_builder.home / 'key'}"),
        ).ok()
    finally:
        ssh_builder.env.pop("SSH_AUTH_SOCK", None)
        process.terminate()
        process.communicate()
    files = ssh_builder.files()
    assert files["all"] == "ssh_agent.0 ssh_agent.1" and files["listed"].endswith(" mine")


@needs_ssh
def test_without_an_agent_the_variable_is_there_and_no_socket(ssh_builder):
    ssh_build(
        ssh_builder,
        "RUN mkdir /out",
        'RUN --mount=type=ssh test ! -e "$SSH_AUTH_SOCK" && echo $SSH_AUTH_SOCK > /out/path',
    ).ok()
    assert ssh_builder.files() == {"path": "/run/buildkit/ssh_agent.0"}
    done = ssh_build(ssh_builder, "RUN --mount=type=ssh,id=mine,required true")
    assert done.code == 1
    assert 'Dockerfile:2: no SSH key "mine" forwarded from the client' in done.stderr
    assert "--ssh mine" in done.stderr


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
