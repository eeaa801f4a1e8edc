"""RUN: what a command sees, what its layer holds, and what it says when it fails."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from ocitool import BuildOptions, build
from ocitool.builder.solver import run as step
from ocitool.errors import OcitoolError, StepFailed
from ocitool.progress import StepOutput
from tests.fixtures import images
from tests.unit.builder.conftest import BuildFixture, RecordedEvents

pytestmark = pytest.mark.slow


def run(tools: BuildFixture, *lines: str, **options):
    return tools.build("\n".join(["FROM base:1", *lines]), **options)


def changed(built, layer: int) -> list[str]:
    """The paths of a layer; /etc, where the sandbox has mount points, may be there as it was."""
    before = images.tree(built.tars[:layer])
    after = images.tree(built.tars[: len(built.tars) + layer + 1])
    same = {"etc"} if before["etc"] == after["etc"] else set()
    return sorted(set(built.names(layer)) - same)


def test_environment_user_and_directory(tools):
    built = run(
        tools,
        "ARG A=arg B=b",
        "ENV A=env C='two words'",
        "ARG B=later",
        "WORKDIR /somewhere/deep",
        "USER 12:34",
        'RUN echo "$A|$B|$C|$PATH|$PWD|$(id -u):$(id -g)|${TERM-none}"',
        "USER 0",
        'RUN ["sh", "-c", "echo $HOME $0", "zero"]',
    )
    assert built.output.splitlines() == [
        "env|later|two words|/bin|/somewhere/deep|12:34|none",
        "/root zero",
    ]


def test_stdin_is_empty_and_the_hostname_says_nothing(tools):
    built = run(tools, "RUN cat; echo end; cat /proc/sys/kernel/hostname")
    assert built.output == "end\nbuildkitsandbox\n"


def test_predefined_proxies_reach_it_and_leave_no_trace(tools):
    text = 'RUN echo "[$http_proxy]" > /seen'
    first = run(tools, text, build_args={"http_proxy": "http://secret"})
    assert first.read("seen") == "[http://secret]\n"
    second = run(tools, text, build_args={"http_proxy": "http://other"})
    assert second.executed == []
    assert "secret" not in str(first.document)
    declared = run(tools, "ARG http_proxy", text, build_args={"http_proxy": "http://other"})
    assert declared.read("seen") == "[http://other]\n"


def test_a_proxy_has_both_of_its_names_and_is_before_env(tools):
    given = {"HTTP_PROXY": "h", "Ftp_Proxy": "f", "no_proxy": "", "all_proxy": "a", "X_PROXY": "x"}
    built = run(tools, "ENV http_proxy=e no_proxy=e", "RUN env", build_args=given)
    found = sorted(line for line in built.output.splitlines() if "proxy" in line.lower())
    assert found == [
        "ALL_PROXY=a", "FTP_PROXY=f", "HTTP_PROXY=h",
        "all_proxy=a", "ftp_proxy=f", "http_proxy=h", "no_proxy=e",
    ]  # fmt: skip
    assert "http_proxy=e" in built.config["Env"]
    assert built.warnings == ("one or more build args were not consumed: X_PROXY",)


def test_the_host_name_may_be_given(tools):
    args = {"BUILDKIT_SANDBOX_HOSTNAME": "box"}
    lines = "RUN cat /proc/sys/kernel/hostname; echo kept > /etc/hostname"
    built = run(tools, lines, build_args=args)
    assert built.output == "box\n" and built.warnings == ()
    assert built.read("etc/hostname") == "kept\n"
    assert run(tools, lines, build_args=args).executed == []
    assert run(tools, lines, build_args={"BUILDKIT_SANDBOX_HOSTNAME": "other"}).executed != []


def test_a_working_directory_that_is_missing_is_made_for_the_user(tools):
    built = run(
        tools,
        "WORKDIR /w/deep",
        "RUN cd / && rm -r /w",
        "USER 5:6",
        "RUN --mount=type=tmpfs,target=in pwd > f",
    )
    assert [name for name in built.names() if name.startswith("w")] == ["w", "w/deep", "w/deep/f"]
    made = (each for each in built.layers[-1] if each.name.startswith("w"))
    assert {(each.uid, each.gid) for each in made} == {(5, 6)}


def test_only_what_changed_is_in_the_layer(tools):
    built = run(
        tools,
        "RUN mkdir /d && echo 1 > /d/f && chmod 640 /d/f && ln -s f /d/l",
        "RUN rm /d/f; echo 2 > /new",
        "RUN true",
    )
    assert changed(built, -3) == ["d", "d/f", "d/l"]
    assert changed(built, -2) == ["d", "d/.wh.f", "new"]
    assert changed(built, -1) == []  # a layer all the same
    assert "d/f" not in built.tree and built.tree["d/l"] == "2 0:0 -> f"


def test_nothing_of_the_sandbox_is_left(tools):
    built = run(tools, "RUN cat /etc/hosts /etc/resolv.conf /proc/self/status > /dev/null; "
                "echo x > /dev/null; echo own > /etc/motd")  # fmt: skip
    assert set(built.names()) <= {"etc", "etc/motd"}
    assert not {"proc", "sys", "dev", "etc/hosts", "etc/resolv.conf"} & built.tree.keys()


def test_mount_points_that_the_image_has_are_kept(tools):
    built = run(tools, "COPY <<hosts /etc/hosts\nown\nhosts", "RUN cat /etc/hosts > /dev/null")
    assert built.read("etc/hosts") == "own\n"
    assert "etc/hosts" not in built.names()


def test_volumes_keep_what_is_written(tools):
    built = run(tools, "RUN mkdir /v", "VOLUME /v", "RUN echo kept > /v/f")
    assert built.read("v/f") == "kept\n"


def test_shell(tools):
    built = run(tools, 'SHELL ["sh", "-c", "echo $0 has $1 > /said; eval \\"$1\\"", "mine"]',
                "RUN echo $0 > /ran")  # fmt: skip
    assert built.read("said") == "mine has echo $0 > /ran\n" and built.read("ran") == "mine\n"


def test_heredocs(tools):
    built = run(
        tools,
        "ARG A=1",
        "RUN <<one\necho $A \\\n  two\necho '$A'\none",
        'RUN cat <<a && cat <<"b"\nx$A\na\ny$A\nb',
        "RUN <<-tabs\n\techo tabs\n\ttabs",
    )
    assert built.output == "1 two\n$A\nx1\ny$A\ntabs\n"


def test_a_heredoc_that_is_a_program(tools):
    built = run(tools, "RUN <<prog\n#!/bin/sh -e\necho $0 $(id -u)\nprog")
    assert built.output == "/dev/pipes/prog 0\n"
    assert changed(built, -1) == []


def test_heredocs_of_triggers(tools):
    lines = (
        "FROM base:1",
        "USER 12",
        "ONBUILD WORKDIR /w",
        "ONBUILD ENV A=1",
        "ONBUILD RUN <<one\necho $A $PWD\nid -u\none",
        "ONBUILD RUN <<prog\n#!/bin/sh -e\necho $0\nprog",
        "ONBUILD RUN cat <<a && cat <<'b'\nx$A\na\ny$A\nb",
        "ONBUILD USER 0",
    )
    tools.build("\n".join(lines), "triggers:1")
    built = tools.build("FROM triggers:1\nRUN id -u")
    assert built.output == "1 /w\n12\n/dev/pipes/prog\nx1\ny$A\n0\n"
    assert not built.config.get("OnBuild")
    assert tools.build("FROM triggers:1\nRUN id -u").executed == []


def test_output_comes_in_order(tools):
    loop = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done"
    built = run(tools, f"RUN {loop}")
    assert built.output.split() == [f"{s}{i}" for i in range(300) for s in "oe"]


def test_a_sink_may_want_the_streams_apart(tools):
    class Apart(RecordedEvents):
        streams = True

    text = "FROM base:1\nRUN printf out; printf err >&2; printf ' and out'"
    for sink, expected in (
        (Apart(), {"stdout": b"out and out", "stderr": b"err"}),
        (RecordedEvents(), {"stdout": b"outerr and out"}),
    ):
        options = BuildOptions(context=str(tools.top), dockerfile=text.encode(), no_cache=True)
        build(options, store=tools.store, progress=sink)
        found: dict[str, bytes] = {}
        for event in sink.events:
            if isinstance(event, StepOutput):
                found[event.stream] = found.get(event.stream, b"") + event.data
        assert found == expected


def test_a_user_may_write_to_its_own_output(tools):
    built = run(tools, "USER 12", "RUN echo to stdout > /dev/stdout; echo to stderr > /dev/stderr")
    assert built.output == "to stdout\nto stderr\n"


@pytest.fixture
def interruptible():
    """SIGINT interrupts, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_a_command_starts_ends_it(tools, monkeypatch, interruptible):
    started = []

    def start(*args, **kwargs):
        started.append(begin(*args, **kwargs))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    begin = step.start
    monkeypatch.setattr(step, "start", start)
    with pytest.raises(KeyboardInterrupt):
        run(tools, "RUN sleep 600")
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


def test_what_runs_on_in_the_background_ends(tools):
    built = run(tools, "RUN sleep 1000 & echo started")
    assert built.output == "started\n"
    assert " 1000" not in _sleeping()


def _sleeping() -> str:
    words = ["ps", "-eo", "ppid,args"]
    listing = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return "".join(line for line in listing.splitlines() if f"{os.getpid()} " in line)


def test_without_network_there_is_only_loopback(tools):
    built = run(tools, "RUN --network=none cat /proc/net/dev")
    devices = [line.split(":")[0].strip() for line in built.output.splitlines()[2:]]
    assert devices == ["lo"]


def test_what_options_say_of_each_run(tools):
    options = {
        "network": "none",
        "add_hosts": ("DB:1.2.3.4",),  # in lower case, as BuildKit
        "shm_size": 1 << 20,
        "ulimits": ("nofile=100:200",),
    }
    line = "RUN grep 1.2.3.4 /etc/hosts; grep shm /proc/mounts; ulimit -Hn; cat /proc/net/dev"
    output = run(tools, line, **options).output.splitlines()
    assert output[0] == "1.2.3.4\tdb"
    assert "size=1024k" in output[1]
    assert output[2] == "200"
    assert [line.split(":")[0].strip() for line in output[5:]] == ["lo"]


@pytest.mark.parametrize(
    "changed",
    [
        {"network": "none"},
        {"add_hosts": ("db:1.2.3.4",)},
        {"shm_size": 1 << 20},
        {"ulimits": ("nofile=100",)},
    ],
)
def test_what_a_command_could_see_is_in_its_key(tools, changed):
    line = "RUN echo seen"
    assert run(tools, line).executed == [line]
    assert run(tools, line, network="host", shm_size=0).executed == []
    assert run(tools, line, **changed).executed == [line]
    assert run(tools, line, **changed).executed == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "mine"}, "--network mine is not supported"),
        ({"add_hosts": ("db",)}, "invalid host 'db'"),
        ({"ulimits": ("bogus=1",)}, "invalid ulimit type: bogus"),
    ],
)
def test_options_of_run_that_are_refused(tools, options, said):
    with pytest.raises(OcitoolError, match=said):
        run(tools, "RUN true", **options)


def test_a_failing_step(tools):
    lines = ["COPY base/etc/passwd /first", "RUN for i in 1 2 3; do echo line $i; done; \\",
             "    echo bad >&2; \\", "    exit 7", "RUN echo never"]  # fmt: skip
    with pytest.raises(StepFailed) as caught:
        run(tools, *lines)
    error = caught.value
    assert error.status == 7 and error.where == "Dockerfile:3"
    assert error.log == ("line 1", "line 2", "line 3", "bad")
    assert error.excerpt == tuple(lines[1:4])
    assert "\n" not in str(error) and "exit code: 7" in str(error)
    again = run(tools, lines[0], "RUN true")
    assert again.executed == ["RUN true"]  # what was finished stays


def test_the_last_lines_of_much_output(tools):
    loop = "i=0; while [ $i -lt 500 ]; do echo l$i; i=$((i+1)); done"
    with pytest.raises(StepFailed) as caught:
        run(tools, f"RUN {loop}; printf 'a\\rb\\rlast state'; exit 1")
    assert len(caught.value.log) == 21 and caught.value.log[-2:] == ("l499", "last state")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ('RUN ["/bin/not-there"]', 127),
        ("RUN not-there", 127),
        ('RUN ["/etc/passwd"]', 126),
        ("RUN sh -c 'kill -TERM $$; :'; exit $?", 143),
    ],
)
def test_commands_that_cannot_run(tools, line, status):
    with pytest.raises(StepFailed) as caught:
        run(tools, line)
    assert caught.value.status == status and caught.value.where == "Dockerfile:2"


def test_an_unknown_user(tools):
    with pytest.raises(Exception, match="ghost") as caught:
        run(tools, "USER ghost", "RUN true")
    assert "Dockerfile:3" in str(caught.value)


def test_what_reruns_a_command(tools):
    lines = ["ARG A=1", "ENV B=1", "LABEL l=1", "RUN echo $RANDOM > /f"]
    first = run(tools, *lines)
    assert first.executed and run(tools, *lines).digest == first.digest
    step = [lines[3]]
    assert run(tools, *lines, build_args={"A": "2"}).executed == step
    assert run(tools, lines[0], "ENV B=2", *lines[2:]).executed == step
    assert run(tools, *lines[:2], "LABEL l=2", lines[3]).executed == []
    assert run(tools, *lines[1:]).executed == step  # without the ARG
    assert run(tools, *lines[:3], "USER 1", lines[3].replace("/f", "/tmp/f")).executed
    assert run(tools, *lines[:3], "EXPOSE 1", 'CMD ["x"]', lines[3]).executed == []


def test_the_same_from_nothing_twice(tools):
    lines = ["RUN mkdir /d && echo 1 > /d/f && ln /d/f /d/g", "RUN rm -r /d; echo 2 > /e"]
    options = {"no_cache": True, "source_date_epoch": 1_700_000_000}
    assert run(tools, *lines, **options).digest == run(tools, *lines, **options).digest


def test_a_blob_that_is_gone_is_made_again(tools):
    first = run(tools, "RUN echo 1 > /f", "RUN cat /f > /g")
    for path in os.scandir(f"{tools.store.layout.root}/oci/blobs/sha256"):
        with open(path, "rb") as blob:
            if blob.read(2) == b"\x1f\x8b" and path.stat().st_size < 1000:
                os.unlink(path)
    assert run(tools, "RUN echo 1 > /f", "RUN cat /f > /g").tree == first.tree


@pytest.mark.parametrize(
    "lines",
    [
        ["RUN true \\\n" + ("x" * 60_000 + "\\\n") * 3],
        [f'RUN ["{"x" * 60_000}\\\n{"x" * 60_000}\\\n{"x" * 60_000}"]'],
        [*(f"ENV V{number}={'x' * 60_000}" for number in range(45)), "RUN true"],
        ["ARG A=" + ("x" * 60_000 + "\\\n") * 3 + "x", "RUN true"],
    ],
    ids=["argument", "program", "environment", "variable"],
)
def test_what_the_kernel_finds_too_long_is_a_failed_step(tools, lines):
    with pytest.raises(StepFailed, match=r"(argument list|file name) too long") as caught:
        run(tools, *lines)
    assert caught.value.status == 126
    assert caught.value.excerpt[0].startswith("RUN ")
    assert len(caught.value.message) < 2000


def test_values_of_secrets_are_hidden_in_what_is_printed(tools):
    secrets = {"x": b"topsecret1234", "y": b"no"}
    text = "RUN echo top; echo a topsecret1234 b; echo no; printf topsec; echo ret1234"
    # The command has the values itself, as an image's history must not.
    assert run(tools, text, secrets=secrets, secret_scan=False).output == "top\na *** b\nno\n***\n"
    with pytest.raises(StepFailed) as caught:
        run(tools, "RUN echo topsecret1234 >&2; false", secrets=secrets)
    assert caught.value.log == ("***",)


def test_both_streams_are_hidden_where_they_come_apart(tools):
    class Streams(RecordedEvents):
        streams = True

    events = Streams()
    text = "FROM base:1\nRUN printf topsec; printf topsec >&2; echo ret1234 >&2; echo ret1234"
    options = BuildOptions(
        context=tools.top, dockerfile=text, secrets={"x": "topsecret1234"}, secret_scan=False
    )
    build(options, store=tools.store, progress=events)
    assert events.output == "***\n***\n"
