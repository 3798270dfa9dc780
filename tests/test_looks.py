"""Planned looks: what may be asked for, and how much each look may err."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_lab import config, looks
from fmnist_lab.errors import RequestError

PLANS = st.lists(st.integers(1, 60), min_size=1, max_size=6, unique=True).map(sorted)


class TestPlanned:
    """What a value of `replicates` asks for."""

    def test_auto_and_lists_are_looks_and_numbers_are_not(self) -> None:
        assert looks.planned("auto") == [8, 12, 16, 24]
        assert looks.planned((6, 12)) == [6, 12]
        assert looks.planned(8) == looks.planned(0) == []
        assert [looks.most(value) for value in ("auto", [6, 12], 8, 0)] == [24, 12, 8, 0]

    @pytest.mark.parametrize(
        "value",
        ["automatic", [], [5], [12, 6], [6, 6], [0, 6], [6.5, 8], True, None, 8.0, {"a": 1}],
    )
    def test_anything_else_is_refused(self, value: Any) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "replicates"):
            looks.planned(value)

    def test_several_searches_have_no_looks(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.got == "'auto'"):
            config.validate_stages("auto", 6, None)
        config.validate_stages("auto", 1, None)
        with pytest.raises(RequestError, check=lambda error: error.key == "replicates"):
            config.validate_stages("auto", 1, ["training.epochs"])
        with pytest.raises(RequestError, check=lambda error: "1000" in error.rule):
            config.validate_stages([8, 1000], 1, None)


class TestErrors:
    """How much each look may err."""

    @given(PLANS.filter(lambda plan: plan[-1] >= looks.LEAST), st.sampled_from([0.04, 0.05, 0.1]))
    def test_they_add_up_and_each_can_be_reached(self, plan: list[int], alpha: float) -> None:
        found = looks.errors(plan, alpha)
        assert sum(found.values()) == pytest.approx(alpha)
        assert list(found) == [count for count in plan if count in found]
        assert all(error > 2.0 ** (1 - count) for count, error in found.items())

    def test_a_look_that_can_decide_nothing_leaves_its_error_to_the_next(self) -> None:
        assert looks.errors([6, 12]) == {12: 0.05}
        assert looks.errors([6, 12, 24]) == looks.errors([12, 24])
        assert looks.errors([5, 6], 0.25) == {6: 0.25}  # five pairs decide nothing, at any error
