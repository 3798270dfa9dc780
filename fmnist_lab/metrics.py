"""Names of metrics, which direction is better, and when a watched metric has improved."""

import re
from collections.abc import Mapping

import numpy as np

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_choice, require_non_negative

MODES = ("auto", "min", "max")
OBJECTIVES = ("val/accuracy", "val/loss")
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "opt/learning_rate",
          "opt/grad_norm", "opt/clipped_fraction", "time/epoch_seconds")  # fmt: skip
_IS_MAXIMISED = {"accuracy": True, "loss": False}


class Monitor:
    """The best value of one metric so far (formula: `keras.callbacks.MonitorCallback`).

    An improvement is strict and exceeds `min_delta`, an absolute difference. The first value
    always improves; NaN never does, but a first NaN is a best that nothing beats.

    Raises:
        RequestError: an unknown mode, a negative `min_delta`, or a metric whose name does
            not tell what is better while the mode is `auto`. `group` names the keys.
    """

    def __init__(self, group: str, monitor: str, mode: str, min_delta: float) -> None:
        require_choice(group, MODES, mode=mode)
        require_non_negative(group, min_delta=min_delta)
        self.group = group
        self.monitor = monitor
        self.mode = direction(group, monitor) if mode == "auto" else mode
        self.min_delta = min_delta
        self.best: float | None = None

    def read(self, metrics: Mapping[str, float]) -> float:
        """The watched metric's value."""
        if self.monitor not in metrics:
            raise RequestError(
                f"`{self.group}.monitor` must be one of {', '.join(sorted(metrics))}, "
                f"got {self.monitor!r}."
            )
        return metrics[self.monitor]

    def improved(self, value: float) -> bool:
        """Whether the value is the best so far; if so, it is the one to beat from now on."""
        improved = self.best is None or self._beats(value, self.best)
        if improved:
            self.best = value
        return improved

    def _beats(self, value: float, best: float) -> bool:
        # Keras adds in double precision and compares in TensorFlow's single precision.
        with np.errstate(over="ignore"):
            if self.mode == "min":
                return bool(np.float32(value + self.min_delta) < np.float32(best))
            return bool(np.float32(value - self.min_delta) > np.float32(best))


def is_maximised(metric: str, key: str = "objective.metric") -> bool:
    """Tells which direction is better: accuracies are maximised, losses are minimised.

    Args:
        metric: A name that ends in `accuracy` or `loss`, after a slash or an underscore if at all.
        key: What the metric is the value of, for the message.

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
    """What is better, by the metric's name: `min` of a loss, `max` of an accuracy.

    Raises:
        RequestError: The name does not tell.
    """
    try:
        return "max" if is_maximised(monitor) else "min"
    except RequestError:
        rule = f"be min or max when `{group}.monitor` is {monitor!r}"
        raise RequestError(f"{group}.mode", rule, "auto") from None
