"""What `model.fit` is fed with: the batches, and the order, of the other engine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.architectures import CLASSES
from fmnist_lab.data import Dataset
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.training.engines.base import batch_order, steps_per_epoch
from fmnist_lab.trial import Trial

import_tensorflow()
import keras  # noqa: E402  # only after the messages of its backend are silenced


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """The training images in the batches, and the order, of the other engine."""

    def __init__(self, trial: Trial, dataset: Dataset) -> None:
        super().__init__()
        self._trial, self._dataset = trial, dataset
        self.start(0)

    def __len__(self) -> int:
        return steps_per_epoch(len(self._order), self._trial.training.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        size = self._trial.training.batch_size
        chosen = self._order[index * size : (index + 1) * size]
        images = pixels(self._dataset.train_images[chosen], self._dataset)
        return images, targets(self._dataset.train_labels[chosen], self._trial)

    def start(self, epoch: int) -> None:
        """Draws the epoch's order. Not in `on_epoch_end`: `fit` calls that before epoch 0 too."""
        size = len(self._dataset.train_labels)
        self._order = batch_order(self._trial.seed, epoch, size)


def pixels(images: NDArray[np.uint8], dataset: Dataset) -> NDArray[np.float32]:
    """Images as the model takes them."""
    scaled = images.astype(np.float32) / np.float32(255.0)
    return (scaled - np.float32(dataset.mean)) / np.float32(dataset.std)


def targets(labels: NDArray[np.int32], trial: Trial) -> NDArray[Any]:
    """Labels as the loss takes them."""
    if trial.training.labels == "one_hot":
        return np.eye(CLASSES, dtype=np.float32)[labels]
    return labels
