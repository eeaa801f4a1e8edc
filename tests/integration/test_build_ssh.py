"""RUN with SSH agents, in each isolation, and what OpenSSH's own programs say of them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.fixtures.isolated_builds import Builder
from tests.fixtures.programs import Finished
from tests.fixtures.tools import install_program

pytestmark = pytest.mark.skipif(
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
