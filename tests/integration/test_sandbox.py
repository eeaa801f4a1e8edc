"""The runtime's tests once more, without any privilege."""

from __future__ import annotations

import pytest

from tests.fixtures.programs import CHECKOUT


def test_all_of_it_as_an_ordinary_user(ordinary_user):
    """The tests of the room, once more, without any privilege."""
    tests = CHECKOUT / "tests/unit/runtime"
    if ordinary_user.run("ls", tests).code != 0:
        pytest.skip(f"an ordinary user cannot read {tests}")
    if ordinary_user.run(ordinary_user.python, "-c", "import pytest, hypothesis").code != 0:
        pytest.skip("an ordinary user cannot import pytest")
    ended = ordinary_user.run(
        *(ordinary_user.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests),
        cwd=CHECKOUT,
    )
    assert " passed" in ended.ok().stdout
