"""The scheduler that follows the metrics: it cuts the rate on a plateau."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.foundation.validate import (
    require_choice,
    require_non_negative,
    require_number,
    require_positive,
    require_whole,
)
from fmnist_lab.metrics import Monitor
from fmnist_lab.schedules.formulas import constant
from fmnist_lab.schedules.scheduler import Update, positions, require_timing, warmed_up


@dataclass
class Performance:
    """Cuts the rate when the metric has not improved: `lr = max(lr * factor, min_lr)`.

    Source: Keras's `ReduceLROnPlateau`; decisions and single-precision rates are the same. With
    `threshold_mode` `rel`, `min_delta` is a share of the best value, as PyTorch's `threshold`. A
    new rate applies from the next epoch. The epochs of the warm-up are not observed. `update` says
    how often the warm-up rises; after it the rate changes between epochs only. `patience`,
    `cooldown` and `warmup_epochs` are in epochs.

    Raises:
        RequestError: A setting is not allowed, or the monitored metric is not measured.

    Example:
        >>> scheduler = Performance(0.01, factor=0.5, patience=1)
        >>> for epoch, loss in enumerate([0.9, 0.8, 0.8]):
        ...     scheduler.observe(epoch, {"val/loss": loss})
        >>> scheduler.learning_rates(epoch=3, steps=2)
        array([0.005, 0.005], dtype=float32)
    """

    initial_learning_rate: float
    monitor: str = "val/loss"
    mode: str = "auto"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    update: Update = "epoch"
    warmup_epochs: float = 0.0
    threshold_mode: str = "abs"
    learning_rate: np.float32 = field(init=False)

    def __post_init__(self) -> None:
        require_positive("scheduler", initial_learning_rate=self.initial_learning_rate)
        require_number(
            "scheduler", "above 0 and below 1", lambda value: 0 < value < 1, factor=self.factor
        )
        require_whole("scheduler", patience=self.patience, cooldown=self.cooldown)
        require_non_negative("scheduler", min_lr=self.min_lr)
        require_timing(self.update, self.warmup_epochs)
        with np.errstate(over="ignore"):  # validation refuses an infinite rate
            self.learning_rate = np.float32(self.initial_learning_rate)
        require_choice("scheduler", ("abs", "rel"), threshold_mode=self.threshold_mode)
        self._watched = Monitor(
            "scheduler", self.monitor, self.mode, self.min_delta, self.threshold_mode == "rel"
        )
        self._wait = 0
        self._cooldown_left = 0

    def learning_rates(self, epoch: int, steps: int) -> NDArray[np.float32]:
        """Returns the rate of each of the epoch's updates, (steps,)."""
        ramp = warmed_up(constant(1.0), self.update, self.warmup_epochs)
        shares = ramp(positions(epoch, steps, self.update))
        return np.asarray(shares * float(self.learning_rate)).astype(np.float32)

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Decides the next epoch's rate from the metrics at the end of this one."""
        value = self._watched.read(metrics)
        if epoch < self.warmup_epochs:
            return
        if self._cooldown_left > 0:
            self._cooldown_left -= 1
            self._wait = 0
        if self._watched.improved(value):
            self._wait = 0
        elif self._cooldown_left == 0:  # Keras: a cooldown of 1 is over at once, as is 0
            self._wait += 1
            if self._wait >= self.patience:
                self._cut()

    def _cut(self) -> None:
        """Multiplies the rate by the factor, unless it is at its minimum already."""
        if self.learning_rate > np.float32(self.min_lr):
            self.learning_rate = np.float32(
                max(float(self.learning_rate) * self.factor, self.min_lr)
            )
            self._cooldown_left = self.cooldown
            self._wait = 0
