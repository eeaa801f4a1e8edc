"""Logical lines, directives, heredocs, and what each instruction is read as."""

from __future__ import annotations

from typing import Any

import pytest

from ocitool.builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Healthcheck,
    Label,
    Run,
    User,
    Volume,
)
from ocitool.builder.dockerfile.lines.split import split
from ocitool.builder.dockerfile.parser import Dockerfile, parse


def only(text: str) -> Any:
    """The one instruction of a file that holds no other."""
    (instruction,) = parse(f"FROM a\n{text}".encode()).stages[0].instructions
    return instruction


def texts(text: str) -> list[str]:
    stage = parse(text.encode()).stages[0]
    return [stage.from_.span.text, *(one.span.text for one in stage.instructions)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("\ufeffFROM a\r\nRUN b\r\n", ["FROM a", "RUN b"]),
        ("\n  # c\n  FROM a\n\n  RUN b", ["FROM a", "RUN b"]),
        ("FROM a\nRUN b \\\n    c \\  \n# d\n  # e\nf", ["FROM a", "RUN b     c f"]),
        ("FROM a\nRUN b\\\nc\\\n", ["FROM a", "RUN bc"]),
        ("FROM a\nRUN b \\\\\nRUN c", ["FROM a", "RUN b \\\\", "RUN c"]),
        ("FROM a\n\\\n  RUN b", ["FROM a", "RUN b"]),
        ("FROM a\nRUN b # c \\\nd", ["FROM a", "RUN b # c d"]),
        ("# escape=`\nFROM a\nRUN c:\\\nRUN b `\nd", ["FROM a", "RUN c:\\", "RUN b d"]),
        ("  # EsCaPe = ` \nFROM a\nRUN b `\nd", ["FROM a", "RUN b d"]),
        ("# b\n# escape=`\nFROM a\nRUN b `\nUSER d", ["FROM a", "RUN b `", "USER d"]),
        ("\n# escape=`\nFROM a\nRUN b `\nUSER d", ["FROM a", "RUN b `", "USER d"]),
        ("# x=y\n# escape=`\nFROM a\nRUN b `\nUSER d", ["FROM a", "RUN b `", "USER d"]),
    ],
)
def test_logical_lines(text: str, lines: list[str]) -> None:
    assert texts(text) == lines


def test_an_empty_line_in_a_continuation_is_left_out() -> None:
    text = b"FROM a\nRUN b \\\n\n  c <<E\nd\nE\nRUN e \\\n # f\n  g\n"
    first, found, other = split(text, name="D").lines
    assert found.span.text == "RUN b   c <<E" and found.span.last == 6
    assert [each.empty_continuation for each in (first, found, other)] == [0, 4, 0]


def test_comments_before_an_instruction_belong_to_it() -> None:
    lines = ("# syntax=docker/dockerfile:1", "#a b", "  # c", "FROM x", "# d", "", "RUN y")
    text = "\n".join((*lines, "# e", "#", "# f", "RUN z", "RUN z")).encode()
    # A blank line does not part them, an empty comment does; an indented one has its mark.
    expected = [("a b", "# c"), ("d",), ("f",), ()]
    assert [line.span.comments for line in split(text).lines] == expected


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("${n}", "variables are not replaced in the name of an ARG; write the name itself"),
        ("a$b", "variables are not replaced in the name of an ARG; write the name itself"),
        ('"a"', "quotes are not removed from the name of an ARG; write ARG a"),
        ("'a'", "quotes are not removed from the name of an ARG; write ARG a"),
        ("\\a", "quotes are not removed from the name of an ARG; write ARG a"),
        ("a-b", "the name of a variable has letters, digits and underscores only"),
        ("1a", "the name of a variable has letters, digits and underscores only"),
        ("_a1", None),
        ("\u00e4", None),
    ],
)
@pytest.mark.parametrize("before", ["", "FROM a\nRUN b \\\n c\n"])
def test_a_name_of_arg_that_no_variable_has_is_a_warning(name, warning, before) -> None:
    dockerfile = parse(f"{before}ARG fine=1 {name}=2\nFROM a".encode(), name="D")
    args = [
        each
        for each in (*dockerfile.global_args, *dockerfile.stages[0].instructions)
        if isinstance(each, Arg)
    ]
    assert [each.pairs for each in args] == [(("fine", "1"), (name, "2"))]
    line = 4 if before else 1
    expected = f"D:{line}: no instruction can refer to the variable that ARG {name} declares: "
    assert dockerfile.warnings == (() if warning is None else (expected + warning,))


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("# Check = skip=all\n", 1),
        ("#syntax=docker/dockerfile:1\n#check=skip=all\n", 2),
        ("#!/usr/bin/x\n# check=skip=all\n", 2),
        ("#!/usr/bin/x\n# escape=`\n# syntax=docker/dockerfile:1\n# check=skip=all\n", 4),
        ("# a comment\n# check=skip=all\n", None),
        ("\n# check=skip=all\n", None),
        ("FROM b\n# check=skip=all\n", None),
    ],
)
def test_checks_are_a_directive_at_the_top(before: str, line: int | None) -> None:
    source = split(f"{before}FROM a\nRUN b \\\n c".encode(), name="D")
    assert source.directive_lines.get("check") == line
    assert source.directives.get("check") == (None if line is None else "skip=all")


@pytest.mark.parametrize(
    "frontend",
    [
        "docker/dockerfile",
        "docker/dockerfile:1.7-labs",
        "docker.io/docker/dockerfile-upstream:master",
        "mirror.example:5000/hub/docker/dockerfile:1",
    ],
)
def test_the_common_frontend_is_built_in(frontend: str) -> None:
    dockerfile = parse(f"#syntax={frontend}\n# check=skip=all\nFROM a".encode())
    assert dockerfile.directives == {"syntax": frontend, "check": "skip=all"}


def test_stages() -> None:
    dockerfile = parse(
        b"ARG v=1\nARG w\nFROM --platform=$BUILDPLATFORM a:$v AS Build\nRUN x\nFROM build\nCMD y\n"
    )
    assert [arg.pairs for arg in dockerfile.global_args] == [(("v", "1"),), (("w", None),)]
    first, second = dockerfile.stages
    assert (first.from_.image, first.from_.name, first.index) == ("a:$v", "build", 0)
    assert first.from_.platform == "$BUILDPLATFORM"
    assert (second.from_.image, second.from_.name, second.index) == ("build", None, 1)
    assert isinstance(dockerfile, Dockerfile)
    assert isinstance(second.instructions[0], Cmd)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1 b='x y' c=\"$a\"", (("a", "1"), ("b", "'x y'"), ("c", '"$a"'))),
        ("a  b  'c d'", (("a", "b  'c d'"),)),
        ("a=b\\ c d=", (("a", "b\\ c"), ("d", ""))),
        ("a=b=c", (("a", "b=c"),)),
        ('"a b"=c', (('"a b"', "c"),)),
        ("a=b\\", (("a", "b"),)),
    ],
)
def test_pairs_are_cut_but_not_expanded(text: str, pairs: Any) -> None:
    for kind in (Env, Label):
        assert only(f"{kind.__name__.upper()} {text}\n").pairs == pairs


@pytest.mark.parametrize(
    ("text", "args", "shell"),
    [
        ("echo  hi", ("echo  hi",), True),
        ('["echo", "\\u00e9"]', ("echo", "é"), False),
        ("[]", (), False),
        ("['a']", ("['a']",), True),
        ('["a"] # b', ('["a"] # b',), True),
        ("[NaN]", ("[NaN]",), True),
        ("", ("",), True),
        ('["\\ud800"]', ("\ufffd",), False),
    ],
)
def test_commands(text: str, args: tuple[str, ...], shell: bool) -> None:
    for kind in (Run, Cmd, Entrypoint):
        command = only(f"{kind.__name__} {text}").command
        assert (command.args, command.shell) == (args, shell)


@pytest.mark.parametrize(
    ("text", "sources", "dest"),
    [
        ("a b /c/", ("a", "b"), "/c/"),
        ('["a b", "c"]', ("a b",), "c"),
        ("--chown=1:2 --chmod=u=rwX a b", ("a",), "b"),
        ("--link=false -- a b", ("a",), "b"),
        ("$a '$b'", ("$a",), "'$b'"),
    ],
)
def test_copies(text: str, sources: tuple[str, ...], dest: str) -> None:
    for kind in (Copy, Add):
        parsed = only(f"{kind.__name__} {text}")
        assert (parsed.sources, parsed.dest) == (sources, dest)


def test_flags_keep_variables_and_lose_quotes() -> None:
    parsed = only("COPY --from=base --chown=\"$u\":x\\ y --chmod='755' a b")
    assert (parsed.from_, parsed.chown, parsed.chmod) == ("base", "$u:x y", "755")


def test_healthcheck() -> None:
    parsed = only("HEALTHCHECK --interval=1m30s --start-interval=0 --retries=3 cmd  echo  hi")
    assert (parsed.interval, parsed.start_interval, parsed.timeout) == (90_000_000_000, 0, None)
    assert (parsed.retries, parsed.command.args, parsed.command.shell) == (3, ("echo  hi",), True)
    none = only("HEALTHCHECK none")
    assert isinstance(none, Healthcheck)
    assert none.none


def test_whole_lines_and_lists() -> None:
    assert only("USER --  a b").user == "a b"
    assert isinstance(only("user x"), User)
    assert only("VOLUME /a  $b").paths == ("/a", "$b")
    assert isinstance(only('VOLUME ["/a b"]'), Volume)
    assert only("EXPOSE 80 $ports 443").ports == ("$ports", "443", "80")
    assert only("RUN --network=none a").network == "none"


HEREDOC = "#!/bin/sh\n\techo $a \\\n# no comment\n"


@pytest.mark.parametrize(
    ("opening", "expand", "content"),
    [
        ("<<EOF", True, HEREDOC),
        ("<<'EOF'", False, HEREDOC),
        ('<<"EOF"', False, HEREDOC),
        ("<<E\\OF", False, HEREDOC),
        ("<<-EOF", True, HEREDOC.replace("\t", "")),
        ("3<<EOF", True, HEREDOC),
        ("<< EOF", True, HEREDOC),
        ("<<-  'EOF'", False, HEREDOC.replace("\t", "")),
    ],
)
def test_a_heredoc_alone_is_a_script(opening: str, expand: bool, content: str) -> None:
    end = "\t\tEOF" if "-" in opening else "EOF"
    run = only(f"RUN {opening}\n{HEREDOC}{end}")
    (heredoc,) = run.heredocs
    assert (heredoc.name, heredoc.expand, heredoc.text) == ("EOF", expand, content)
    assert (run.command.args, run.command.shell) == ((content,), True)
    assert (run.span.first, run.span.last, run.span.text) == (2, 6, f"RUN {opening}")


def test_heredocs_among_other_words_stay_in_the_text() -> None:
    run = only("RUN cat <<A <<-B && \\\n  x\na\nA\n\tb\n\tB\n")
    assert run.heredocs == ()
    assert run.command.args == ("cat <<A <<-B &&   x\na\nA\n\tb\nB",)


@pytest.mark.parametrize(
    "text",
    [
        "RUN a<<EOF",
        "RUN a <<<EOF",
        "RUN $((1 << 2))",
        "RUN $(( 1 << 2 ))",
        "RUN a <<",
        'RUN ["a", "<<EOF"]',
        "CMD <<EOF",
    ],
)
def test_what_is_no_heredoc(text: str) -> None:
    assert parse(f"FROM a\n{text}\nUSER x".encode()).stages[0].instructions[1].span.text == "USER x"


def test_a_heredoc_whose_word_stands_apart_is_one_for_the_shell_and_for_copies() -> None:
    run = only("RUN cat << A && cat <<B\na\nA\nb\nB\n")
    assert run.command.args == ("cat << A && cat <<B\na\nA\nb\nB",)
    copy = only("COPY x << A /d/\na\nA\n")
    assert (copy.sources, copy.dest) == (("x",), "/d/")
    assert [(h.name, h.content) for h in copy.heredocs] == [("A", "a\n")]


def test_copies_take_heredocs_among_paths() -> None:
    copy = only("COPY <<A x <<'B' /d/\n$a\nA\n$b\nB\n")
    assert copy.sources == ("x",)
    assert [(h.name, h.content, h.expand) for h in copy.heredocs] == [
        ("A", "$a\n", True),
        ("B", "$b\n", False),
    ]


def test_errors_of_the_builder_show_the_lines() -> None:
    dockerfile = parse(b"FROM a\nUSER \\\n  $b\n", name="D")
    error = dockerfile.stages[0].instructions[0].span.error("bad", hint="do")
    assert (str(error), error.excerpt, error.hint) == ("D:2: bad", ("USER \\", "  $b"), "do")
