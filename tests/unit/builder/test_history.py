"""The texts of a history, as BuildKit writes them (measured on its newest source)."""

from __future__ import annotations

import pytest

from ocitool.builder.dockerfile.parser import parse
from ocitool.builder.frontend.arguments import Arguments
from ocitool.builder.frontend.frontend import define
from ocitool.builder.frontend.history import quoted
from ocitool.errors import ImageNotFound
from ocitool.go_values import format_duration
from ocitool.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")


def refuse(reference, platform):
    raise ImageNotFound(f"there is no image {reference}")


def texts(*lines, **arguments):
    return created_by(parse("\n".join(("FROM scratch", *lines)).encode()), **arguments)


def created_by(file, **arguments):
    given = Arguments(platform=AMD64, build_platform=AMD64, **arguments)
    made = define(file, given, refuse, lambda _: None)
    return [entry.created_by for entry in made.image.history]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ARG A=stage", "ARG A=given"),
        ("ARG A", "ARG A=given"),
        ("ARG E=1", "ARG E="),
        ("ARG B=$A C", "ARG B= C"),
        ("ARG TARGETARCH TARGETVARIANT", "ARG TARGETARCH=amd64 TARGETVARIANT="),
        ("EXPOSE 80 90/UDP 100-101", "EXPOSE [100/tcp 101/tcp 80/tcp 90/udp]"),
        ("EXPOSE [::1]:8000-8001:90-91 1.2.3.4::92", "EXPOSE [92/tcp 90/tcp 91/tcp]"),
        ("ENV a=1 a=2 b=$a", "ENV a=1 a=2 b="),
        ("LABEL a=1 b=2 a=3", "LABEL a=1 b=2 a=3"),
        ("STOPSIGNAL -5", "STOPSIGNAL -5"),
        ("EXPOSE 127.0.0.1:8080:81", "EXPOSE [81/tcp]"),
        ("VOLUME /a /b", "VOLUME [/a /b]"),
        ('SHELL ["/bin/x", "-c"]', "SHELL [/bin/x -c]"),
        ('CMD x "y z"', r'CMD ["/bin/sh" "-c" "x \"y z\""]'),
        ('ENTRYPOINT ["a", "b\\n"]', r'ENTRYPOINT ["a" "b\n"]'),
        (
            "HEALTHCHECK --interval=90s --timeout=3s --start-period=2h --start-interval=500ms "
            "--retries=4 CMD test -e /ok || exit 1",
            "HEALTHCHECK {Test:[CMD-SHELL test -e /ok || exit 1] Interval:1m30s Timeout:3s "
            "StartPeriod:2h0m0s StartInterval:500ms Retries:4}",
        ),
        (
            'healthcheck cmd ["/check", "-q"]',
            "HEALTHCHECK {Test:[CMD /check -q] Interval:0s Timeout:0s StartPeriod:0s "
            "StartInterval:0s Retries:0}",
        ),
        (
            "HEALTHCHECK NONE",
            "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s "
            "Retries:0}",
        ),
        ("COPY  f   ./sub/", "COPY f ./sub/"),
        ('COPY ["f", "/with blank/"]', "COPY f /with blank/"),
        ("ADD --chmod=$M --chown=1:2 f /", "ADD --chown=1:2 f /"),
        ("USER ''", "USER "),
        ("WORKDIR $nothing", "WORKDIR /"),
    ],
)
def test_each_instruction_has_its_text(line, text):
    assert texts(line, build_args={"A": "given", "E": ""})[-1] == text


def test_copy_shows_what_its_variables_came_to_and_not_where_files_come_from():
    lines = ("ENV N='a b' D=/deep/er M=600", "COPY --chmod=$M --chown=$N $N $D/f")
    assert texts(*lines)[-1] == "COPY --chown=a b --chmod=600 a b /deep/er/f"
    file = parse(b"FROM scratch AS s\nFROM scratch\nCOPY --from=s --chmod=a+r /a /b")
    assert created_by(file) == ["COPY --chmod=a+r /a /b"]
    heredocs = "COPY <<h.txt c.txt <<h.txt /d/\nH\nh.txt\nI\nh.txt"
    assert texts(heredocs) == ["COPY c.txt <<h.txt <<h.txt /d/"]


def test_run_shows_every_argument_that_was_declared_before_it_in_their_order():
    lines = ("ARG B=1 A", "ENV B=env", "ARG C=3 B", "RUN x")
    assert texts(*lines, build_args={"C": "given"})[-1] == ("RUN |3 B=env A= C=given /bin/sh -c x")
    file = parse(b'ARG G=global\nFROM scratch AS a\nARG G X=1\nENV X=2\nFROM a\nRUN ["y"]')
    assert created_by(file)[-1] == "RUN |2 G=global X=2 y"


def test_an_environment_set_behind_an_argument_reaches_the_stages_on_it():
    file = parse(b"FROM scratch AS a\nARG X=1\nENV X=2\nFROM a\nLABEL x=$X")
    assert created_by(file)[-1] == "LABEL x=2"


@pytest.mark.slow
def test_a_working_directory_has_a_layer_unless_it_is_the_root(project):
    project.image("base:1", {"tmp": {"mode": 0o777}})
    built = project.build("FROM base:1\nWORKDIR /tmp\nWORKDIR /\nWORKDIR $nothing\nWORKDIR /tmp")
    shown = [(entry["created_by"], "empty_layer" in entry) for entry in built.history[-4:]]
    assert shown == [("WORKDIR /tmp", False), ("WORKDIR /", True), ("WORKDIR /", True),
                     ("WORKDIR /tmp", False)]  # fmt: skip
    assert [len(layer) for layer in built.layers[1:]] == [0, 0]
    # The layer that BuildKit makes of nothing.
    assert built.document["rootfs"]["diff_ids"][-1] == (
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    )
    assert project.build("FROM base:1\nWORKDIR /tmp").executed == []


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"), (1, "1ns"), (1_100, "1.1µs"), (500_000_000, "500ms"), (1_500_000_000, "1.5s"),
        (60 * 10**9, "1m0s"), (5400 * 10**9, "1h30m0s"), (-2 * 10**6, "-2ms"),
        (3600 * 10**9 + 1, "1h0m0.000000001s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(nanoseconds, text):
    assert format_duration(nanoseconds) == text


def test_words_are_quoted_as_go_quotes_them():
    assert quoted('a"\\\t\x01é\u200b\U000e0001') == r'"a\"\\\t\x01é\u200b\U000e0001"'
