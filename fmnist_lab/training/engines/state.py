"""A training's variables, out and in: what both engines hand to their keeper."""

from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from fmnist_lab.training.engines.base import State


def copy_state(model: Iterable[Any], optimizer: Iterable[Any]) -> dict[str, Sequence[NDArray[Any]]]:
    """The values of Keras's variables: weights, statistics, random generators; slots, counters."""
    # Not `keras.ops.convert_to_numpy`: NumPy warns of how that one asks.
    return {
        "model": [variable.value.numpy() for variable in model],
        "optimizer": [variable.value.numpy() for variable in optimizer],
    }


def restore_state(state: State, model: Iterable[Any], optimizer: Iterable[Any]) -> None:
    """Puts the values back into variables of the same shapes, in the same order."""
    for variables, values in ((model, state["model"]), (optimizer, state["optimizer"])):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
