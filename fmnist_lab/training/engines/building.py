"""A trial's model, optimizer and loss, the same for both engines, and the test evaluation."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.architectures import CLASSES, IMAGE_SHAPE
from fmnist_lab.data import Dataset
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation import instantiate
from fmnist_lab.training.clipping import KERAS_ARGUMENTS
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.trial import Trial

_parameters: dict[str, int] = {}  # of the architectures that this process has built
EVALUATION_BATCH = 1000  # images at once; bounds the memory of a convolution's activations
# What the optimizers of Keras can do, but other parts of a trial decide.
_DECIDED_ELSEWHERE = {
    **dict.fromkeys(KERAS_ARGUMENTS.values(), "the group `clipping`"),
    "use_ema": "the group `averaging`",
}


def build_model(trial: Trial, dataset: Dataset | None = None) -> Any:
    """Builds the Keras model, initialised from the trial's seed.

    Args:
        trial: What is trained.
        dataset: What its images and classes are; None: those of Fashion-MNIST.

    Raises:
        RequestError: The function refuses its arguments, or its model has another output.
    """
    import_tensorflow()
    import keras
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(trial.seed)
    # Keras draws the seeds of layers from Python's global generator, and so do threads of a Dask
    # worker at the same time: the model would start from other weights. The public way, `seed=` of
    # each layer and initializer, is not open to the architectures of users, and would change the
    # results of ours. So Keras gets a generator of its own.
    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(trial.seed)
    try:
        model = _create("architecture", trial.architecture, **_taken(trial, dataset))
    finally:
        seed_generator.python_random = shared
    got = getattr(model, "output_shape", f"{model!r}")
    classes = len(dataset.class_names) if dataset else CLASSES
    if not isinstance(model, keras.Model) or got != (None, classes):
        rule = f"return a Keras model with output shape (None, {classes})"
        raise RequestError("architecture._target_", rule, Phrase(got))
    return model


def _taken(trial: Trial, dataset: Dataset | None) -> dict[str, Any]:
    """The shape of the images and the number of classes, where the architecture asks for them."""
    if dataset is None:
        return {}
    facts = {"image_shape": dataset.image_shape, "classes": len(dataset.class_names)}
    function = instantiate.locate("architecture", trial.architecture)
    asked = instantiate.parameters("architecture", function).keys() - trial.architecture.keys()
    return {name: value for name, value in facts.items() if name in asked}


def build_optimizer(trial: Trial, **extra: Any) -> Any:
    """Builds the Keras optimizer, its rate a variable that the engine sets for every step.

    Raises:
        RequestError: Keras knows no such optimizer or argument, or another group decides it.
    """
    import_tensorflow()
    for key, elsewhere in _DECIDED_ELSEWHERE.items():
        if key in trial.optimizer:
            hint = f"it is decided by {elsewhere}"
            raise RequestError(f"optimizer.{key}", "not be set", trial.optimizer[key], hint)
    node = trial.optimizer
    if isinstance(node.get("learning_rate"), int):  # Keras takes 1.0, but not 1
        node = node | {"learning_rate": float(node["learning_rate"])}
    return _create("optimizer", node, **extra)


def build_loss(trial: Trial) -> Any:
    """Builds the cross-entropy between class probabilities and integer or one-hot labels."""
    from keras import losses

    if trial.training.labels == "one_hot":
        return losses.CategoricalCrossentropy(label_smoothing=trial.training.label_smoothing)
    return losses.SparseCategoricalCrossentropy()


def pixels(images: NDArray[Any], dataset: Dataset) -> NDArray[np.float32]:
    """Scales images to what the model takes: `(image / scale - mean) / std`."""
    scaled = images.astype(np.float32) / np.float32(dataset.scale)
    return (scaled - np.float32(dataset.mean)) / np.float32(dataset.std)


def targets(labels: NDArray[np.int32], trial: Trial, dataset: Dataset) -> NDArray[Any]:
    """Converts labels to what the loss takes."""
    if trial.training.labels == "one_hot":
        return np.eye(len(dataset.class_names), dtype=np.float32)[labels]
    return labels


def evaluate(
    trial: Trial, dataset: Dataset, weights: Sequence[NDArray[Any]]
) -> tuple[float, NDArray[np.int64]]:
    """Measures delivered weights on the test set, by Keras itself, for both engines alike.

    Nothing that tunes or stops a trial calls this.

    Args:
        trial: What was trained.
        dataset: Its data.
        weights: What it delivers, as `model.get_weights()`.

    Returns:
        The mean loss, and the class that each image is taken for, (images,).
    """
    model = build_model(trial, dataset)
    model.set_weights(weights)
    labels = targets(dataset.test_labels, trial, dataset)
    starts = range(0, len(labels), EVALUATION_BATCH)  # scaled pixels take four times the memory
    parts = (dataset.test_images[start : start + EVALUATION_BATCH] for start in starts)
    batches = [model.predict_on_batch(pixels(part, dataset)) for part in parts]
    probabilities = np.concatenate(batches)
    # As `model.evaluate` has it, penalties of weights included.
    loss = build_loss(trial)(labels, probabilities) + sum(model.losses)
    return float(loss), np.asarray(probabilities.argmax(axis=1))


def save(trial: Trial, dataset: Dataset, weights: Sequence[NDArray[Any]], path: Path) -> None:
    """Writes the model with delivered weights as a `.keras` file; its input is scaled images."""
    model = build_model(trial, dataset)
    model.set_weights(weights)
    model.save(path)


def count_parameters(trial: Trial, dataset: Dataset | None = None) -> int:
    """Counts the model's parameters, trainable or not; builds the optimizer, too, as a check.

    The arguments are those of `build_model`.

    Raises:
        RequestError: The architecture or the optimizer cannot be built as asked.
    """
    build_optimizer(trial)
    shape = dataset.image_shape if dataset else IMAGE_SHAPE
    classes = len(dataset.class_names) if dataset else CLASSES
    key = json.dumps([trial.architecture, shape, classes], sort_keys=True)
    if key not in _parameters:
        model = build_model(trial, dataset)
        _require_probabilities(model, shape)
        _parameters[key] = int(model.count_params())
    return _parameters[key]


def _require_probabilities(model: Any, shape: Sequence[int]) -> None:
    """Raises `RequestError` for logits, of which the losses would make nonsense."""
    images = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    try:
        rows = np.asarray(model(images, training=False), dtype=np.float64)
    except Exception as error:  # Keras raises many kinds
        rule, reason = f"take images of shape {tuple(shape)}", instantiate.explain(error)
        got = Phrase(getattr(model, "input_shape", model))
        raise RequestError("architecture._target_", rule, got, reason) from error
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1, atol=0.01)):
        rule = "return a model of class probabilities, each row of which sums to 1"
        got = Phrase(f"rows that sum to {', '.join(f'{total:.2g}' for total in rows.sum(axis=1))}")
        hint = "end it with activation='softmax'"
        raise RequestError("architecture._target_", rule, got, hint)


def _create(group: str, node: dict[str, Any], **extra: Any) -> Any:
    try:
        return instantiate.create(group, node, **extra)
    except RequestError:
        raise
    except Exception as error:  # Keras's own checks, or those of the user's code
        rule, reason = "be such that it can be built", instantiate.explain(error)
        raise RequestError(group, rule, node, reason) from error
