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
    ],
)
def test_the_keys_are_the_arguments(node: dict[str, Any], result: Any) -> None:
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
    ("node", "key", "got"),
    [
        ({}, "_target_", "None"),
        ({"_target_": 5}, "_target_", "5"),
        ({"_target_": ""}, "_target_", "''"),
        ({"_target_": "no.such.module"}, "_target_", "'no.such.module'"),
        ({"_target_": f"{HERE}.absent"}, "_target_", f"'{HERE}.absent'"),
        ({"_target_": "builtins.dict"}, "_target_", "dict"),  # it has no signature
        ({"_target_": f"{HERE}.NOT_CALLABLE"}, "_target_", f"'{HERE}.NOT_CALLABLE'"),
        ({"_target_": f"{HERE}.joined", "first": "a", "secnd": "c"}, "secnd", "'c'"),
        ({"_target_": f"{HERE}.joined"}, "first", "nothing"),
        ({"_target_": f"{HERE}.Pair", "left": 1}, "right", "nothing"),
    ],
)
def test_a_mistake_is_named(node: dict[str, Any], key: str, got: str) -> None:
    with pytest.raises(RequestError) as refused:
        instantiate.create("scheduler", node)
    assert refused.value.key == f"scheduler.{key}"
    assert got in refused.value.got
    assert "\n" not in str(refused.value)


def test_an_error_inside_the_function_is_not_hidden() -> None:
    with pytest.raises(TypeError, match="concatenate"):
        instantiate.create("scheduler", {"_target_": f"{HERE}.joined", "first": "a", "second": 1})
