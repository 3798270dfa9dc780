"""Engines: the two ways to train a trial, with one signature and one contract.

`compiled` runs each epoch as one XLA program. `keras` runs plain `model.fit` with
Keras's own callbacks and is the reference: both see the same batches in the same order,
and their curves agree to rounding.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_lab.data import Dataset
from fmnist_lab.errors import RequestError
from fmnist_lab.training.engines.base import (
    NOT_KEPT,
    Engine,
    Keeper,
    Metrics,
    OnEpoch,
    Outcome,
    State,
)
from fmnist_lab.trial import Trial

__all__ = [
    "ENGINES",
    "NOT_KEPT",
    "Engine",
    "Keeper",
    "Metrics",
    "OnEpoch",
    "Outcome",
    "State",
    "count_parameters",
    "evaluate",
    "get",
    "save",
]

ENGINES = ("compiled", "keras")


def get(name: str) -> Engine:
    """The engine called `training.engine`; TensorFlow is imported here, in about 5 s.

    Raises:
        RequestError: There is no engine of that name.
    """
    if name == "compiled":
        from fmnist_lab.training.engines import compiled

        return compiled.train
    if name == "keras":
        from fmnist_lab.training.engines import keras_fit

        return keras_fit.train
    raise RequestError(f"`training.engine` must be one of {', '.join(ENGINES)}, got {name!r}.")


def evaluate(trial: Trial, dataset: Dataset, weights: Sequence[Any]) -> tuple[float, Any]:
    """Measures delivered weights on the test set: the loss, and which images are right."""
    from fmnist_lab.training.engines import evaluation

    return evaluation.evaluate(trial, dataset, weights)


def save(trial: Trial, weights: Sequence[Any], path: Path) -> None:
    """Writes the model with delivered weights as a `.keras` file; its input is scaled images."""
    from fmnist_lab.training.engines import building

    model = building.build_model(trial)
    model.set_weights(weights)
    model.save(path)


def count_parameters(trial: Trial) -> int:
    """The model's parameters, trainable or not; builds model and optimizer to see that they can be.

    Raises:
        RequestError: The architecture or the optimizer cannot be built as asked.
    """
    from fmnist_lab.training.engines import building

    building.build_optimizer(trial)
    return int(building.build_model(trial).count_params())
