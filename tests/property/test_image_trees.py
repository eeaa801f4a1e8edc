"""Whatever tree an image has: it runs or fails, changes nothing outside, and stays as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.fixtures.examples import examples
from tests.fixtures.hostile_trees import trials
from tests.fixtures.trials import MODES, trials_in


@pytest.mark.parametrize("mode", MODES)
def test_a_tree_has_no_effect_outside_of_itself(mode: str, request: pytest.FixtureRequest) -> None:
    with trials_in(mode, request) as made:

        @examples(60)
        @given(trials(mode))
        def compare(trial: dict[str, Any]) -> None:
            found = made.run(trial)
            assert found["faults"] == [], found["ended"]

        compare()
