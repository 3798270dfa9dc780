"""Overrides to distributions, and suggestions back to overrides that Hydra reads as they were."""

import math
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution as Dist
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from fmnist_lab.foundation.spelling import spell, spell_custom
from fmnist_lab.sweeper.settings import SweepRequestError
from fmnist_lab.sweeper.space import described, grid, parse


def read(text: str) -> Any:
    """What a job gets from `key=text`."""
    return OverridesParser.create().parse_override(f"key={text}").value()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("choice(a,b)", Choice(["a", "b"])),
        ("1,2.5,true,null", Choice([1, 2.5, True, None])),
        ("choice('a b','c=d')", Choice(["a b", "c=d"])),
        ("choice('1e-3',2)", Choice(["1e-3", 2])),
        ("choice([1,2],{a:1})", Choice(["[1,2]", "{a:1}"])),
        ("choice(a,a)", Choice(["a"])),
        ("shuffle(choice(b,a))", Choice(["b", "a"])),
        ("float(1,2)", Choice([1.0, 2.0])),
        ("range(1,3)", Int(1, 2)),
        ("range(3)", Int(0, 2)),
        ("range(5,0,-1)", Int(1, 5)),
        ("range(1,10,3)", Int(1, 7, step=3)),
        ("range(0,10,4)", Int(0, 8, step=4)),
        ("range(0,1,0.1)", Float(0, 0.9, step=0.1)),
        ("range(0.0,2.0,step=0.5)", Float(0, 1.5, step=0.5)),
        ("range(1,0,-0.25)", Float(0.25, 1, step=0.25)),
        ("shuffle(range(3))", Choice([0, 1, 2])),
        ("shuffle(range(0,0.4,0.1))", Choice([0.0, 0.1, 0.2, 0.3])),
        ("int(range(0,5,1.5))", Int(0, 4)),
        ("float(range(1,3))", Float(1, 2, step=1)),
        ("interval(1,3)", Float(1, 3)),
        ("int(interval(1,3))", Int(1, 3)),
        ("tag(log,interval(1e-4,1))", Float(1e-4, 1, log=True)),
        ("tag(log,int(interval(1,64)))", Int(1, 64, log=True)),
        ("int(tag(log,interval(1,64)))", Int(1, 64, log=True)),
        ("tag(other,interval(1,3))", Float(1, 3)),
    ],
)
def test_grammar(text: str, expected: Dist) -> None:
    assert parse([f"key={text}"]).distributions == {"key": expected}


@pytest.mark.parametrize(
    "text",
    [
        "range(0,1,0)",
        "range(3,0)",
        "range(1,1e30)",
        "range(1,inf)",
        "tag(log,interval(0,1))",
        "interval(2,1)",
        "interval(1e-3,inf)",
        "interval(nan,1)",
        "interval(-1e308,1e308)",
        f"range({10**400})",
    ],
)
def test_what_cannot_be_searched_is_refused(text: str) -> None:
    with pytest.raises(SweepRequestError, check=lambda error: error.key == "key"):
        parse([f"key={text}"])


def test_later_overrides_replace_earlier_ones() -> None:
    space = parse(["a=interval(0,1)", "b=1", "+c=1,2", "~d", "a=3", "b=range(2)", "e@f=x"])
    assert space.distributions == {"+c": Choice([1, 2]), "b": Int(0, 1)}
    assert space.fixed == {"a": "3", "e@f": "x"}
    assert space.overrides({"+c": 2, "b": 0}) == ["+c=2", "b=0", "a=3", "e@f=x", "~d"]


@pytest.mark.parametrize(
    ("given", "job"),
    [
        (["a=1,2", "++a=3"], ["++a=3"]),
        (["++a=1,2", "a=3"], ["++a=3"]),
        (["+a=1", "a=3"], ["+a=3"]),
        (["a=1", "++a=3"], ["++a=3"]),
        (["a=1,2", "~a"], ["~a"]),
        (["a=1,2", "~a=1"], ["~a=1"]),
    ],
)
def test_a_prefix_makes_no_other_key(given: list[str], job: list[str]) -> None:
    space = parse(given)
    assert not space.searched
    assert space.overrides({}) == job


def test_fixed_values_stay_as_they_were_written() -> None:
    space = parse(["a='x y'", "b=[1,'2']", "c=null"])
    assert space.overrides({}) == ["a='x y'", "b=[1,'2']", "c=null"]


@pytest.mark.parametrize("choice", ["'a b'", "'c=d'", "'1e-3'", "1", "true", "null", "x", "'null'"])
def test_a_choice_arrives_as_it_was_given(choice: str) -> None:
    space = parse([f"key=choice({choice})" if choice != "null" else "key=null,null"])
    value = space.distributions["key"].choices[0]  # type: ignore[attr-defined]
    [override] = space.overrides({"key": value})
    arrived = read(override.partition("=")[2])
    assert arrived == read(choice)
    assert type(arrived) is type(read(choice))


def test_lists_and_mappings_arrive_as_such() -> None:
    space = parse(["key=choice([1,'2'],{a: 1})"])
    lists, mapping = space.distributions["key"].choices  # type: ignore[attr-defined]
    assert read(space.overrides({"key": lists})[0][4:]) == [1, "2"]
    assert read(space.overrides({"key": mapping})[0][4:]) == {"a": 1}


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    )
)
def test_spelling_round_trip(value: object) -> None:
    arrived = read(spell(value))
    assert type(arrived) is type(value)
    assert arrived == value or (isinstance(value, float) and math.isnan(value))


def test_custom_spaces_may_suggest_lists_as_text() -> None:
    assert read(spell_custom("[1, 2]")) == [1, 2]
    assert read(spell_custom("1")) == "1"


def test_steps_are_exact_decimals() -> None:
    space = parse(["key=range(0,1,0.1)"])
    assert grid(space.distributions["key"]) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert space.overrides({"key": 3 * 0.1}) == ["key=0.3"]
    assert space.values({"key": 3 * 0.1, "other": 1}) == {"key": 0.3, "other": 1}


def test_search_space_of_the_1_3_plugin() -> None:
    found = described(
        {
            "a": {"type": "float", "low": 0, "high": 1, "step": 0.5},
            "b": {"type": "int", "low": 1, "high": 8, "log": True},
            "c": {"type": "categorical", "choices": ["x", "y"]},
        }
    )
    listed = {"c": {"type": "categorical", "choices": ["x", "y"]}}
    assert described(OmegaConf.create(listed)) == {"c": found["c"]}
    space = parse(["c=x"], known=found)
    assert space.distributions == {"a": Float(0, 1, step=0.5), "b": Int(1, 8, log=True)}
    for wrong in ({}, {"high": math.inf}, {"high": 10**400}):
        with pytest.raises(
            SweepRequestError, check=lambda error: error.key.endswith("search_space.a")
        ):
            described({"a": {"type": "float", "low": 0} | wrong})
