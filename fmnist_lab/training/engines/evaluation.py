"""The test set's verdict on delivered weights; nothing that tunes or stops a trial comes here."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.data import Dataset
from fmnist_lab.training.engines.building import build_loss, build_model
from fmnist_lab.trial import Trial

BATCH = 1000  # images at once; bounds the memory that a convolution's activations take


def evaluate(
    trial: Trial, dataset: Dataset, weights: Sequence[NDArray[Any]]
) -> tuple[float, NDArray[np.bool_]]:
    """Measures delivered weights on the test set, by Keras itself, for both engines alike.

    Args:
        trial: What was trained.
        dataset: Its data.
        weights: What it delivers, as `model.get_weights()`.

    Returns:
        The mean loss, and which images are classified correctly, (images,).
    """
    model = build_model(trial)
    model.set_weights(weights)
    model.compile(loss=build_loss(trial))
    images = (dataset.test_images.astype(np.float32) / 255 - dataset.mean) / dataset.std
    labels: NDArray[Any] = dataset.test_labels
    if trial.training.labels == "one_hot":
        labels = np.eye(len(dataset.class_names), dtype=np.float32)[labels]
    loss = model.evaluate(images, labels, batch_size=BATCH, verbose=0)
    probabilities = model.predict(images, batch_size=BATCH, verbose=0)
    return float(loss), np.asarray(probabilities.argmax(axis=1) == dataset.test_labels)
