"""Data, model, optimizer, trainer and callback, as small as they can be."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class Blobs:
    """Points of two clouds, and which cloud each is of."""

    def __init__(self, size: int, batch_size: int) -> None:
        generator = np.random.default_rng(0)
        self.labels = np.arange(size) % 2
        self.points = generator.normal(self.labels[:, None] * 1.5, 1.0, (size, 2))
        self.batch_size = batch_size

    def batches(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(self.labels), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            yield self.points[chosen], self.labels[chosen]


class Momentum:
    """Gradient descent that keeps going."""

    def __init__(self, weights: Any, lr: float, momentum: float) -> None:
        self.weights, self.lr, self.momentum = weights, lr, momentum
        self._velocity = np.zeros_like(weights)

    def step(self, gradient: Any) -> None:
        self._velocity = self.momentum * self._velocity - self.lr * gradient
        self.weights += self._velocity


class Perceptron:
    """Logistic regression on random features."""

    def __init__(self, net: Any, optimizer: Callable[..., Momentum]) -> None:
        self._features = np.random.default_rng(1).normal(size=(2, net.features))
        self.weights = np.zeros(net.features)
        self.optimizer = optimizer(weights=self.weights)

    def __call__(self, points: Any) -> Any:
        return 1 / (1 + np.exp(-np.tanh(points @ self._features) @ self.weights))

    def training_step(self, points: Any, labels: Any) -> None:
        self.optimizer.step(np.tanh(points @ self._features).T @ (self(points) - labels))


class Best:
    """Remembers the best value of a metric, and the weights that had it."""

    def __init__(self, monitor: str, mode: str, file: str) -> None:
        self.monitor, self._file = monitor, Path(file)
        self._better = max if mode == "max" else min

    def on_epoch_end(self, trainer: "Trainer", model: Perceptron) -> None:
        key, now = f"{self.monitor}_best", trainer.callback_metrics[self.monitor]
        trainer.callback_metrics[key] = self._better(trainer.callback_metrics.get(key, now), now)
        np.save(self._file, model.weights)


class Trainer:
    """A loop over epochs."""

    def __init__(self, max_epochs: int, default_root_dir: str, callbacks: Sequence[Best]) -> None:
        self._epochs, self._root, self._callbacks = max_epochs, default_root_dir, callbacks
        self.callback_metrics: dict[str, Any] = {}

    def fit(self, model: Perceptron, data: Blobs) -> None:
        for _ in range(self._epochs):
            for points, labels in data.batches():
                model.training_step(points, labels)
            accuracy = np.mean((model(data.points) > 0.5) == data.labels)
            self.callback_metrics["val/acc"] = accuracy
            for callback in self._callbacks:
                callback.on_epoch_end(self, model)
