"""RUN --mount=type=secret and type=ssh: what a step sees, and when it is executed."""

from __future__ import annotations

import pytest

from ocitool.errors import BuildError, OcitoolError, StepFailed
from tests.unit.builder.conftest import BuildFixture

pytestmark = pytest.mark.slow

SECRETS = {"a": b"value of a\n", "d/b": b"value of b", "nul": b"x\0y", "odd": b"\xff\xfe=x"}


def run(tools: BuildFixture, *lines: str, **options):
    options = {"secrets": SECRETS, "secret_scan": False, **options}
    return tools.build("\n".join(["FROM base:1", *lines]), **options)


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        ("id=a", "/run/secrets/a"),
        ("source=a", "/run/secrets/a"),
        ("id=a,target=/x/y", "/x/y"),
        ("id=a,dst=y", "/w/y"),
        ("target=/x/a", "/x/a"),
        ("id=a,target=/bin/../a", "/a"),
        ("id=a,target=/etc/passwd", "/etc/passwd"),
        ("id=d/b", "/run/secrets/b"),
    ],
)
def test_where_a_file_is(tools, mount, path):
    # Masking hides the values, so the step compares them itself.
    value = "value of b" if mount == "id=d/b" else "value of a"
    text = f"RUN --mount=type=secret,{mount} test \"$(cat {path})\" = '{value}' && touch /seen"
    built = run(tools, "WORKDIR /w", text)
    assert [name for name in built.names() if name not in ("etc", "w")] == ["seen"]


def test_variables_of_secrets_are_before_those_of_the_image(tools):
    text = "RUN --mount=type=secret,id=d/b,env=A test \"$A\" = 'value of b'"
    run(tools, "ENV A=image", text)
    run(tools, "RUN --mount=type=secret,id=a,env=A test ${#A} = 11")  # with the newline of the file
    run(tools, "RUN --mount=type=secret,id=odd,env=ODD test ${#ODD} -gt 2")
    built = run(tools, "ENV A=image", 'RUN --mount=type=secret,id=no,env=A echo "<$A>"')
    assert built.output == "<>\n"


def test_a_variable_cannot_hold_a_nul(tools):
    with pytest.raises(
        BuildError, match="secret nul contains a NUL byte, and cannot be the value of A"
    ):
        run(tools, "RUN --mount=type=secret,id=nul,env=A true")
    assert run(tools, "RUN --mount=type=secret,id=nul wc -c < /run/secrets/nul").output == "3\n"


def test_a_variable_that_is_too_large_is_the_commands_failure(tools):
    with pytest.raises(StepFailed, match="argument list too long"):
        run(tools, "RUN --mount=type=secret,id=x,env=A true", secrets={"x": b"a" * 200_000})


def test_a_large_file_is_whole(tools):
    text = "RUN --mount=type=secret,id=x wc -c < /run/secrets/x"
    assert run(tools, text, secrets={"x": b"a" * (500 << 10)}).output == "512000\n"


def test_a_secret_that_is_required_fails_a_step_that_is_executed_alone(tools):
    text = "RUN --mount=type=secret,id=a,required test -e /run/secrets/a"
    with pytest.raises(BuildError, match=r"^Dockerfile:2: secret a: not found") as caught:
        run(tools, text, secrets={})
    assert "--secret id=a,src=FILE" in caught.value.hint
    assert run(tools, text).executed
    assert run(tools, text, secrets={}).executed == []  # as in BuildKit


@pytest.mark.parametrize(
    "change", ["id=b", "target=/y", "mode=0444", "uid=1", "gid=1", "env=A", "required"]
)
def test_how_a_secret_is_shown_is_part_of_the_key(tools, change):
    """Its value is not: see tests/integration/test_build_secrets.py."""
    given = {**SECRETS, "b": b"value of b"}
    text = "RUN --mount=type=secret,id=a,target=/x true"
    assert run(tools, text, secrets=given).executed
    assert run(tools, text, secrets={"a": b"another value"}).executed == []
    name = change.partition("=")[0]
    fields = [each for each in ("id=a", "target=/x") if not each.startswith(f"{name}=")]
    other = f"RUN --mount=type=secret,{','.join([*fields, change])} true"
    assert run(tools, other, secrets=given).executed


def test_a_mount_point_that_cannot_be_made_is_an_error_without_the_value(tools):
    with pytest.raises(OcitoolError) as caught:
        run(tools, "RUN --mount=type=secret,id=a,target=/bin true")
    error = caught.value
    assert "value of a" not in f"{error}{error.hint}" and "Dockerfile:2" in str(error)


def test_ssh_without_an_agent(tools):
    built = run(tools, 'RUN --mount=type=ssh echo "$SSH_AUTH_SOCK"; ls /run 2>/dev/null; true')
    assert built.output == "/run/buildkit/ssh_agent.0\n"
    with pytest.raises(BuildError, match=r'no SSH key "default" forwarded') as caught:
        run(tools, "RUN --mount=type=ssh,required true")
    assert "--ssh default" in caught.value.hint
