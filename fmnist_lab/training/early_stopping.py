"""When a trial stops by its own curve: early stopping, exactly as Keras decides it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fmnist_lab.foundation.validate import require_choice, require_whole
from fmnist_lab.metrics import Monitor


@dataclass(frozen=True)
class StoppingConfig:
    """Schema of the group `stopping`, with Keras's meanings; durations in epochs.

    With the name `none` training runs its full length; the best epoch is still known.
    """

    name: str = "none"
    monitor: str = "val/loss"
    mode: str = "auto"
    min_delta: float = 0.0
    patience: int = 5
    restore_best: bool = False
    start_from_epoch: int = 0


class EarlyStopping:
    """Watches one trial, epoch by epoch (formula: `keras.callbacks.EarlyStopping`).

    Raises:
        RequestError: a setting is not allowed, or the monitored metric is not measured.
    """

    def __init__(self, config: StoppingConfig) -> None:
        require_choice("stopping", ("none", "patience"), name=config.name)
        require_whole(
            "stopping", patience=config.patience, start_from_epoch=config.start_from_epoch
        )
        self.config = config
        self.best_epoch: int | None = None
        self._monitor = Monitor("stopping", config.monitor, config.mode, config.min_delta)
        self._wait = 0

    @property
    def best(self) -> float:
        """The monitored metric in the best epoch; NaN before the first monitored epoch."""
        return math.nan if self._monitor.best is None else self._monitor.best

    @property
    def restores(self) -> bool:
        """Whether the best epoch's weights are delivered in the end."""
        return self.config.name == "patience" and self.config.restore_best

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Takes in the metrics of an epoch (from 0) and says whether to stop now."""
        value = self._monitor.read(metrics)
        if epoch < self.config.start_from_epoch:
            return False
        if self._monitor.improved(value):
            self.best_epoch = epoch
            self._wait = 0
            return False
        self._wait += 1
        # Keras never stops in epoch 0, which cannot come here: the first value improves.
        return self.config.name == "patience" and self._wait >= self.config.patience


def diverged(metrics: Mapping[str, float]) -> bool:
    """Whether a loss is no longer a finite number."""
    return any(
        not math.isfinite(metrics[name]) for name in ("train/loss", "val/loss") if name in metrics
    )
