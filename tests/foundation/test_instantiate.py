"""A node's keys become a function's arguments, or a sentence says which one does not fit."""

from typing import Any

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation import instantiate

HERE = __name__


def joined(first: str, second: str = "b") -> str:
    return first + second


def anything(**others: Any) -> dict[str, Any]:
    return others


class Pair:
    """A class is as good as a function."""

    def __init__(self, left: int, *, right: int) -> None:
        self.sum = left + right


NOT_CALLABLE = 3


@pytest.mark.parametrize(
    ("node", "result"),
    [
        ({"_target_": f"{HERE}.joined", "first": "a"}, "ab"),
        ({"_target_": f"{HERE}:joined", "first": "a", "second": "c"}, "ac"),
        ({"_target_": f"{HERE}.anything", "x": 1, "y": [2]}, {"x": 1, "y": [2]}),
        ({"_target_": "builtins.dict"}, {}),
    ],
)
def test_the_keys_are_the_arguments(node: dict[str, Any], result: Any) -> None:
    if node["_target_"] == "builtins.dict":
        with pytest.raises(RequestError, match="a function with a signature"):
            instantiate.create("scheduler", node)
    else:
        assert instantiate.create("scheduler", node) == result


def test_a_class_and_a_keyword_only_argument() -> None:
    assert (
        instantiate.create("optimizer", {"_target_": f"{HERE}.Pair", "left": 1, "right": 2}).sum
        == 3
    )


def test_given_arguments_win() -> None:
    node = {"_target_": f"{HERE}.joined", "first": "a", "second": "b"}
    assert instantiate.create("scheduler", node, second="z") == "az"
    assert node == {"_target_": f"{HERE}.joined", "first": "a", "second": "b"}


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ({}, r"`scheduler\._target_` must be a function's dotted path, .*, got None\."),
        ({"_target_": 5}, r"`scheduler\._target_` must be a function's dotted path, .*, got 5\."),
        ({"_target_": ""}, r"`scheduler\._target_` must name a function, got ''"),
        ({"_target_": "no.such.module"}, "must name a function, got 'no.such.module'; No module"),
        ({"_target_": f"{HERE}.absent"}, "must name a function, .* has no attribute 'absent'"),
        ({"_target_": f"{HERE}.NOT_CALLABLE"}, r"must name a function, .*; it is not callable\."),
        (
            {"_target_": f"{HERE}.joined", "first": "a", "secnd": "c"},
            r"`scheduler\.secnd` must be a key of joined, got 'c'; allowed keys: first, second\.",
        ),
        (
            {"_target_": f"{HERE}.joined"},
            r"`scheduler\.first` must be given: joined needs it, got nothing\.",
        ),
        (
            {"_target_": f"{HERE}.Pair", "left": 1},
            r"`scheduler\.right` must be given: Pair needs it, got nothing\.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(node: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as refused:
        instantiate.create("scheduler", node)
    assert "\n" not in str(refused.value)


def test_an_error_inside_the_function_is_not_hidden() -> None:
    with pytest.raises(TypeError, match="concatenate"):
        instantiate.create("scheduler", {"_target_": f"{HERE}.joined", "first": "a", "second": 1})
