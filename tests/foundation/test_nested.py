"""Nested mappings by dotted keys."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_lab.foundation.nested import differences, flatten

NODES = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda nodes: st.dictionaries(st.sampled_from("abc"), nodes, max_size=3),
)


def test_flatten_joins_keys_by_dots() -> None:
    nested = {"a": {"b": 1, "c": {"d": None}}, "e": [1, 2], "f": {}}
    assert flatten(nested) == {"a.b": 1, "a.c.d": None, "e": [1, 2], "f": {}}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}, [("a.b", 1, 3)]),
        ({"a": 1}, {"a": {"b": 1}}, [("a", 1, {"b": 1})]),
        ({}, {"b": {"c": 1}, "a": 0}, [("a", None, 0), ("b", None, {"c": 1})]),
        ({"a": None}, {}, []),
    ],
)
def test_differences(before: object, now: object, expected: object) -> None:
    assert differences(before, now) == expected


@given(NODES, NODES)
def test_equal_nodes_have_no_differences_and_are_equally_flat(before: object, now: object) -> None:
    assert bool(differences(before, now)) == (before != now)
    assert (flatten(before) == flatten(now)) == (before == now)
    assert differences(before, copy.deepcopy(before)) == []
