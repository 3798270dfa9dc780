"""The metrics of an epoch: their names, which direction is better, and when one has improved."""

import re
from collections.abc import Mapping

import numpy as np

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_choice, require_non_negative

Metrics = Mapping[str, float]  # of one epoch, by the names in METRICS

METRICS = (
    "train/loss",
    "train/accuracy",
    "val/loss",
    "val/accuracy",
    "opt/learning_rate",  # at the epoch's last step
    "opt/grad_norm",  # mean global norm before clipping
    "opt/clipped_fraction",
    "time/epoch_seconds",
)
# Where weights are averaged, `val/...` are those of the average; these are of what trains.
RAW = ("raw/val_loss", "raw/val_accuracy")
# For images of the user's own, and where one of them is the objective.
BY_CLASS = ("val/balanced_accuracy", "val/macro_f1")
MONITORS = METRICS[:4]  # what schedulers and early stopping may watch
OBJECTIVES = ("val/accuracy", "val/loss", *BY_CLASS)
MODES = ("auto", "min", "max")
# Of what a job of another application returns nothing is known but the direction.
SCORE, COST = "score", "cost"
_IS_MAXIMISED = {"accuracy": True, "f1": True, "loss": False, SCORE: True, COST: False}


def is_maximised(metric: str, key: str = "objective.metric") -> bool:
    """Returns whether more is better: accuracies and F1 are maximised, losses are minimised.

    Args:
        metric: Its name: `accuracy`, `f1` or `loss`, with or without a prefix before `/` or `_`.
        key: The key that names the metric, for the message.

    Raises:
        RequestError: The name ends in neither.

    Example:
        >>> is_maximised("val/accuracy"), is_maximised("test_loss")
        (True, False)
    """
    kind = re.split("[/_]", str(metric))[-1]  # the file may say null
    if kind not in _IS_MAXIMISED:
        raise RequestError(key, "be an accuracy or a loss", metric)
    return _IS_MAXIMISED[kind]


def direction(group: str, monitor: str) -> str:
    """Returns what is better, by the metric's name: `min` of a loss, `max` of an accuracy.

    Raises:
        RequestError: The metric is neither a loss nor an accuracy.
    """
    try:
        return "max" if is_maximised(monitor) else "min"
    except RequestError:
        rule = f"be min or max when `{group}.monitor` is {monitor!r}"
        raise RequestError(f"{group}.mode", rule, "auto") from None


def by_class(confusion: np.ndarray) -> tuple[float, float]:
    """Returns balanced accuracy and macro F1, as scikit-learn defines them.

    With true positives TP, false negatives FN and false positives FP of a class, balanced accuracy
    is the mean of TP / (TP + FN) over the classes that have images, and macro F1 that of
    2 TP / (2 TP + FN + FP) over those that have images or predictions.

    Args:
        confusion: Images of each class (rows) that are taken for each class (columns), square.

    Returns:
        Both, from 0 to 1.

    Example:
        >>> by_class(np.array([[8, 0], [1, 1]]))
        (0.75, 0.803921568627451)
    """
    hits, actual, guessed = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    both = actual + guessed
    recall = hits[actual > 0] / actual[actual > 0]
    return float(recall.mean()), float((2 * hits[both > 0] / both[both > 0]).mean())


class Monitor:
    """The best value of one metric so far, judged as `keras.callbacks.MonitorCallback` does.

    An improvement is strict and exceeds `min_delta`, an absolute difference, or with `relative` a
    share of the best value, as PyTorch's `ReduceLROnPlateau` has it. The first value always
    improves; NaN never does, but a first NaN is a best that nothing beats.

    Raises:
        RequestError: An unknown mode, a negative `min_delta`, or mode `auto` with a metric that
            is neither a loss nor an accuracy. `group` names the keys.
    """

    def __init__(
        self, group: str, monitor: str, mode: str, min_delta: float, relative: bool = False
    ) -> None:
        require_choice(group, MODES, mode=mode)
        require_non_negative(group, min_delta=min_delta)
        self.group = group
        self.monitor = monitor
        self.mode = direction(group, monitor) if mode == "auto" else mode
        self.min_delta, self.relative = min_delta, relative
        self.best: float | None = None

    def read(self, metrics: Metrics) -> float:
        """Returns the watched metric's value."""
        if self.monitor not in metrics:
            rule = f"be one of {', '.join(sorted(metrics))}"
            raise RequestError(f"{self.group}.monitor", rule, self.monitor)
        return metrics[self.monitor]

    def improved(self, value: float) -> bool:
        """Returns whether the value is the best so far; if so, keeps it as the one to beat."""
        improved = self.best is None or self._beats(value, self.best)
        if improved:
            self.best = value
        return improved

    def _beats(self, value: float, best: float) -> bool:
        if self.relative:
            if self.mode == "min":
                return value < best * (1 - self.min_delta)
            return value > best * (1 + self.min_delta)
        # Keras adds in double precision and compares in TensorFlow's single precision.
        with np.errstate(over="ignore"):
            if self.mode == "min":
                return bool(np.float32(value + self.min_delta) < np.float32(best))
            return bool(np.float32(value - self.min_delta) > np.float32(best))
