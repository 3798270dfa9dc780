"""Builds a trial's model, optimizer and loss, the same for both engines."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fmnist_lab.architectures import CLASSES
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation import instantiate
from fmnist_lab.training.clipping import KERAS_ARGUMENTS
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.trial import Trial

# What the optimizers of Keras can do, but other parts of a trial decide.
_DECIDED_ELSEWHERE = {
    **dict.fromkeys(KERAS_ARGUMENTS.values(), "the group `clipping`"),
    "use_ema": "nothing yet: averaged weights are not what a trial delivers",
}


def build_model(trial: Trial) -> Any:
    """The Keras model, initialised from the trial's seed.

    Raises:
        RequestError: The function refuses its arguments, or its model has another output.
    """
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(trial.seed)
    with _seeds_of_layers(trial.seed):
        model = _create("architecture", trial.architecture)
    got = getattr(model, "output_shape", f"{model!r}")
    if not isinstance(model, keras.Model) or got != (None, CLASSES):
        raise RequestError(
            f"`architecture._target_` must return a Keras model with output shape "
            f"(None, {CLASSES}), got {got}."
        )
    return model


def build_optimizer(trial: Trial, **extra: Any) -> Any:
    """The Keras optimizer, its rate a variable that the engine sets for every step.

    Raises:
        RequestError: Keras knows no such optimizer or argument, or another group decides it.
    """
    import_tensorflow()
    for key, elsewhere in _DECIDED_ELSEWHERE.items():
        if key in trial.optimizer:
            raise RequestError(
                f"`optimizer.{key}` must not be set, got {trial.optimizer[key]!r}; "
                f"it is decided by {elsewhere}."
            )
    node = trial.optimizer
    if isinstance(node.get("learning_rate"), int):  # Keras takes 1.0, but not 1
        node = node | {"learning_rate": float(node["learning_rate"])}
    return _create("optimizer", node, **extra)


def build_loss(trial: Trial) -> Any:
    """Cross-entropy between class probabilities and integer or one-hot labels."""
    from keras import losses

    if trial.training.labels == "one_hot":
        return losses.CategoricalCrossentropy(label_smoothing=trial.training.label_smoothing)
    return losses.SparseCategoricalCrossentropy()


@contextmanager
def _seeds_of_layers(seed: int) -> Iterator[None]:
    """Gives Keras a random generator of its own to draw the seeds of layers from.

    It draws them from Python's global one, and so may other threads at the same time: those of
    a Dask worker do, now and then, and the model would start from other weights.
    """
    from keras.src.random import seed_generator

    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = shared


def _create(group: str, node: dict[str, Any], **extra: Any) -> Any:
    try:
        return instantiate.create(group, node, **extra)
    except RequestError:
        raise
    except Exception as error:  # Keras's own checks, or those of the user's code
        reason = instantiate.explain(error)
        raise RequestError(
            f"`{group}` must be such that it can be built, got {node}: {reason}."
        ) from error
